/// The entries of a shard by their slots, in two arrays: what plain hits read, and the rest. An array of optionals would be
/// simpler, but reading one field of an optional element copies all of it, with its references; here a field is read where
/// it lies.
///
/// Who names a slot as taken knows it from the table, which holds taken slots only. Not thread-safe: its one owner, a
/// shard that cannot be copied, stands behind a lock.
@usableFromInline
@safe
final class SlotStorage<Key: CacheKey, Value: Sendable> {
    @usableFromInline typealias Entry = MemoryEntry<Key, Value>

    /// Both initialised where `isTaken` says so. Nothing here calls out while they change, so accesses cannot overlap.
    @exclusivity(unchecked) @usableFromInline private(set) var fronts: UnsafeMutablePointer<Entry.Front>
    @exclusivity(unchecked) @usableFromInline private(set) var backs: UnsafeMutablePointer<EntryRecord>
    private(set) var capacity = 0
    @usableFromInline var isTaken: [Bool] = []

    init() {
        unsafe fronts = .allocate(capacity: 0)
        unsafe backs = .allocate(capacity: 0)
    }

    deinit {
        for slot in isTaken.indices where isTaken[slot] {
            unsafe (fronts + slot).deinitialize(count: 1)
            unsafe (backs + slot).deinitialize(count: 1)
        }
        unsafe fronts.deallocate()
        unsafe backs.deallocate()
    }

    /// All slots that were ever taken.
    var indices: Range<Int> { isTaken.indices }
    @inlinable var count: Int { isTaken.count }

    /// Whether there is an entry in a slot, which may be one that was given back.
    @inlinable
    func holds(_ slot: Int) -> Bool { slot < isTaken.count && isTaken[slot] }

    /// A step of a pass through all slots, under one hold of the lock: so many of those below `end` (nil: of all), and where
    /// the next step goes on; nil at the end.
    ///
    /// From the last one down: an entry that moves between two steps moves to a lower slot, so a pass meets each one that is
    /// held from its first step to its last. What takes a slot behind it meanwhile came meanwhile.
    func pass(below end: Int?, slots: Int) -> (slots: ReversedCollection<Range<Int>>, next: Int?) {
        let end = min(end ?? count, count)
        let start = max(0, end - slots)
        return ((start..<end).reversed(), start > 0 ? start : nil)
    }

    /// The front of a slot that is known to be taken; debug builds look.
    @inlinable
    subscript(taken slot: Int) -> Entry.Front {
        @inline(__always) _read {
            assert(isTaken[slot], "the slot is free")
            yield unsafe fronts[slot]
        }
    }

    /// The back of a slot that is known to be taken; debug builds look.
    @inlinable
    subscript(backOfTaken slot: Int) -> EntryRecord {
        @inline(__always) _read {
            assert(isTaken[slot], "the slot is free")
            yield unsafe backs[slot]
        }
        @inline(__always) _modify {
            assert(isTaken[slot], "the slot is free")
            yield unsafe &backs[slot]
        }
    }

    /// The entry of any slot; nil where it is free.
    @inlinable
    subscript(slot: Int) -> Entry? {
        get { isTaken[slot] ? unsafe Entry(front: fronts[slot], back: backs[slot]) : nil }
        set {
            if isTaken[slot] {
                isTaken[slot] = false
                unsafe (fronts + slot).deinitialize(count: 1)
                unsafe (backs + slot).deinitialize(count: 1)
            }
            guard let newValue else { return }
            fill(slot, newValue)
            isTaken[slot] = true
        }
    }

    /// Has the processor fetch an entry.
    @inlinable
    func prefetch(_ slot: Int) {
        unsafe Prefetch.line(fronts + slot)
        unsafe Prefetch.line(backs + slot)
    }

    /// The same for what a plain hit does not read.
    @inlinable
    func prefetchBack(_ slot: Int) { unsafe Prefetch.line(backs + slot) }

    /// The address of what holds a value, as of an array or an object; 0 where the value is not one reference.
    @usableFromInline
    func object(_ slot: Int) -> UInt {
        assert(isTaken[slot], "the slot is free")
        guard MemoryLayout<Value?>.size == MemoryLayout<UInt>.size, !_isPOD(Value.self) else { return 0 }
        return unsafe withUnsafePointer(to: &fronts[slot].value) { place in
            unsafe UnsafeRawPointer(place).load(as: UInt.self)
        }
    }

    /// Takes an entry out of a slot that is known to be taken.
    @inlinable
    func take(_ slot: Int) -> Entry {
        precondition(isTaken[slot], "the slot is free")
        isTaken[slot] = false
        return unsafe Entry(front: (fronts + slot).move(), back: (backs + slot).move())
    }

    /// The same, of which only the front is wanted.
    @inlinable
    func takeFront(_ slot: Int) -> Entry.Front {
        precondition(isTaken[slot], "the slot is free")
        isTaken[slot] = false
        unsafe (backs + slot).deinitialize(count: 1)
        return unsafe (fronts + slot).move()
    }

    @inlinable
    func append(_ element: Entry) {
        reserve()
        fill(count, element)
        isTaken.append(true)
    }

    /// Of a slot that holds nothing, within the capacity.
    @inlinable
    func fill(_ slot: Int, _ entry: Entry) {
        unsafe (fronts + slot).initialize(to: entry.front)
        unsafe (backs + slot).initialize(to: entry.back)
    }

    /// Moves an entry to a slot that is free.
    func move(_ slot: Int, to other: Int) {
        precondition(isTaken[slot] && !isTaken[other], "an entry moves to a free slot")
        unsafe (fronts + other).moveInitialize(from: fronts + slot, count: 1)
        unsafe (backs + other).moveInitialize(from: backs + slot, count: 1)
        isTaken[slot] = false
        isTaken[other] = true
    }

    /// Takes the last slot away, which is free.
    func removeLast() {
        precondition(isTaken.last == false, "the slot is taken")
        isTaken.removeLast()
    }

    /// Gives back the room beyond the last slot.
    func giveBackRoom() {
        guard count < capacity else { return }
        // A slice of all of it would keep its room.
        isTaken = isTaken.map(\.self)
        resize(to: count)
    }

    /// Begins where a line of the processor's cache does, so that an entry of half a line never lies in two.
    private static func allocate<Element>(_ type: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element> {
        let bytes = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Element>.stride, alignment: max(64, MemoryLayout<Element>.alignment))
        return unsafe bytes.bindMemory(to: type, capacity: count)
    }

    /// Room for one more slot.
    @usableFromInline
    func reserve() {
        if count == capacity { resize(to: max(16, capacity * 2)) }
    }

    /// Room for so many slots, no fewer than there are.
    private func resize(to room: Int) {
        capacity = room
        let newFronts = unsafe SlotStorage.allocate(Entry.Front.self, room)
        let newBacks = unsafe SlotStorage.allocate(EntryRecord.self, room)
        for slot in isTaken.indices where isTaken[slot] {
            unsafe (newFronts + slot).moveInitialize(from: fronts + slot, count: 1)
            unsafe (newBacks + slot).moveInitialize(from: backs + slot, count: 1)
        }
        unsafe fronts.deallocate()
        unsafe backs.deallocate()
        unsafe fronts = newFronts
        unsafe backs = newBacks
    }
}

/// Unchecked: it has one owner, which a lock guards, and may move between threads with what it holds.
extension SlotStorage: @unchecked Sendable {}
