internal import Synchronization

/// From a key's hash to its place in the arena: what a point read asks instead of the tree.
///
/// 256 tables by the hash's top byte, each open addressing with linear probing over slots of eight bytes (the hash's
/// low half and the key's place), so that a miss costs one cache line and touches no key. A table that is three
/// quarters full is replaced by one twice as large; readers in the old one see all that was there before. Growing one
/// of 256 stalls a write for microseconds. The slot is found by multiplying, not masking: growing keeps the order of
/// slots, so it reads and writes memory in sequence, and any size will do.
@safe
struct MemtableHashIndex {
    static let tableCount = 256
    /// Per table: place and capacity as one atomic u64, then the number of keys (the writer's own).
    static let directoryBytes = tableCount * 16
    private static let firstCapacity = 8

    let view: ArenaView

    /// Makes the first tables, sized for that many keys in all.
    init(in arena: MemtableArena, expectedKeys: Int) {
        view = arena.view
        let share = expectedKeys / MemtableHashIndex.tableCount
        // Tables differ by a few times the square root of their share; two thirds full leaves room for that.
        let capacity = max(MemtableHashIndex.firstCapacity, share + share / 2 + 8)
        for table in 0..<MemtableHashIndex.tableCount {
            let slots = arena.allocate(capacity * 8)
            unsafe directory(table).pointee.store(
                UInt64(capacity) << 32 | UInt64(slots.rawValue), ordering: .releasing)
        }
    }

    /// Bytes of the first tables.
    static func initialBytes(expectedKeys: Int) -> Int {
        let share = expectedKeys / tableCount
        return max(firstCapacity, share + share / 2 + 8) * 8 * tableCount
    }

    @inline(__always)
    private func directory(_ table: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe view.atomic64(at: ArenaView.Head.directory + table * 16)
    }
    @inline(__always)
    private func count(_ table: Int) -> UnsafeMutablePointer<UInt64> {
        unsafe (view.base + ArenaView.Head.directory + table * 16 + 8).assumingMemoryBound(to: UInt64.self)
    }

    /// Where a search ended: at the key, or at the empty slot where it belongs.
    struct Position {
        let found: ArenaRef
        let slot: Int
    }

    /// One table as a search sees it.
    @safe
    private struct Table {
        let slots: UnsafeMutablePointer<Atomic<UInt64>>
        let capacity: Int

        @inline(__always)
        init(_ view: ArenaView, _ description: UInt64) {
            unsafe slots = view.pointer(ArenaRef(rawValue: UInt32(truncatingIfNeeded: description)))
                .assumingMemoryBound(to: Atomic<UInt64>.self)
            capacity = Int(description >> 32)
        }
        @inline(__always)
        func home(_ hash: UInt64) -> Int { Int(((hash & 0xFFFF_FFFF) &* UInt64(capacity)) >> 32) }
        @inline(__always)
        func load(_ slot: Int) -> UInt64 { unsafe slots[slot].load(ordering: .acquiring) }
    }

    @inline(__always)
    private func table(_ hash: UInt64) -> Table {
        Table(view, unsafe directory(Int(hash >> 56)).pointee.load(ordering: .acquiring))
    }

    /// The key's place, or none.
    @inline(__always)
    func find(_ key: UnsafeRawBufferPointer, hash: UInt64) -> ArenaRef {
        unsafe search(key, hash: hash, in: table(hash)).found
    }

    /// The key's place, or the slot at which `insert` may put it. The writer's.
    @inline(__always)
    func position(of key: UnsafeRawBufferPointer, hash: UInt64) -> Position {
        unsafe search(key, hash: hash, in: table(hash))
    }

    @inline(__always)
    private func search(_ key: UnsafeRawBufferPointer, hash: UInt64, in table: Table) -> Position {
        let tag = UInt32(truncatingIfNeeded: hash)
        var slot = table.home(hash)
        while true {
            let content = table.load(slot)
            if content == 0 { return Position(found: .none, slot: slot) }
            if UInt32(truncatingIfNeeded: content) == tag {
                let ref = ArenaRef(rawValue: UInt32(truncatingIfNeeded: content >> 32))
                if unsafe FullKey.areEqual(MemtableKey(view, ref).bytes, key) {
                    return Position(found: ref, slot: slot)
                }
            }
            slot += 1
            if slot == table.capacity { slot = 0 }
        }
    }

    /// Publishes a key at the empty slot that `position` found, and makes a larger table when it is time.
    @inline(__always)
    func insert(_ key: ArenaRef, hash: UInt64, at position: Position, in arena: MemtableArena) {
        let number = Int(hash >> 56)
        let table = self.table(hash)
        let content = UInt64(key.rawValue) << 32 | hash & 0xFFFF_FFFF
        unsafe table.slots[position.slot].store(content, ordering: .releasing)
        unsafe count(number).pointee += 1
        if unsafe Int(count(number).pointee) * 4 >= table.capacity * 3 { grow(number, table, in: arena) }
    }

    /// Bytes that the next insertion under this hash may take for a larger table.
    @inline(__always)
    func growthBytes(hash: UInt64) -> Int { table(hash).capacity * 16 }

    /// Above all bytes that growing takes while that many keys are added to those present: tables three eighths full at
    /// worst, and as much again for the smaller ones before them.
    static func growthBound(keys: Int) -> Int { keys * 48 + tableCount * firstCapacity * 16 }

    @inline(never)
    private func grow(_ number: Int, _ old: Table, in arena: MemtableArena) {
        let capacity = old.capacity * 2
        let place = arena.allocate(capacity * 8)
        let description = UInt64(capacity) << 32 | UInt64(place.rawValue)
        let new = Table(view, description)
        for slot in 0..<old.capacity {
            let content = unsafe old.slots[slot].load(ordering: .relaxed)
            if content == 0 { continue }
            var target = new.home(content)
            while unsafe new.slots[target].load(ordering: .relaxed) != 0 {
                target += 1
                if target == capacity { target = 0 }
            }
            unsafe new.slots[target].store(content, ordering: .relaxed)
        }
        unsafe directory(number).pointee.store(description, ordering: .releasing)
    }
}
