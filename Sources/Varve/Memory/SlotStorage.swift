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
    private var capacity = 0
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

    /// Begins where a line of the processor's cache does, so that an entry of half a line never lies in two.
    private static func allocate<Element>(_ type: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element> {
        let bytes = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Element>.stride, alignment: max(64, MemoryLayout<Element>.alignment))
        return unsafe bytes.bindMemory(to: type, capacity: count)
    }

    /// Room for one more slot.
    @usableFromInline
    func reserve() {
        guard count == capacity else { return }
        capacity = max(16, capacity * 2)
        let largerFronts = unsafe SlotStorage.allocate(Entry.Front.self, capacity)
        let largerBacks = unsafe SlotStorage.allocate(EntryRecord.self, capacity)
        for slot in isTaken.indices where isTaken[slot] {
            unsafe (largerFronts + slot).moveInitialize(from: fronts + slot, count: 1)
            unsafe (largerBacks + slot).moveInitialize(from: backs + slot, count: 1)
        }
        unsafe fronts.deallocate()
        unsafe backs.deallocate()
        unsafe fronts = largerFronts
        unsafe backs = largerBacks
    }
}

/// Unchecked: it has one owner, which a lock guards, and may move between threads with what it holds.
extension SlotStorage: @unchecked Sendable {}
