/// The entries of a shard by their slots. An array of optionals would be simpler, but reading one field of an optional
/// element copies all of it, with its references; here a field is read where it lies.
///
/// Who names a slot as taken knows it from the table, which holds taken slots only. Not thread-safe: its one owner, a
/// shard that cannot be copied, stands behind a lock.
@usableFromInline
@safe
final class SlotStorage<Element> {
    /// Initialised where `isTaken` says so. Nothing here calls out while it changes, so accesses cannot overlap.
    @exclusivity(unchecked) @usableFromInline private(set) var elements: UnsafeMutablePointer<Element>
    private var capacity = 0
    @usableFromInline private(set) var isTaken: [Bool] = []

    init() { unsafe elements = .allocate(capacity: 0) }

    deinit {
        for slot in isTaken.indices where isTaken[slot] { unsafe (elements + slot).deinitialize(count: 1) }
        unsafe elements.deallocate()
    }

    /// All slots that were ever taken.
    var indices: Range<Int> { isTaken.indices }
    var count: Int { isTaken.count }

    /// The element of a slot that is known to be taken; debug builds look.
    @inlinable
    subscript(taken slot: Int) -> Element {
        @inline(__always) _read {
            assert(isTaken[slot], "the slot is free")
            yield unsafe elements[slot]
        }
        @inline(__always) _modify {
            assert(isTaken[slot], "the slot is free")
            yield unsafe &elements[slot]
        }
    }

    /// The element of any slot; nil where it is free.
    subscript(slot: Int) -> Element? {
        get { isTaken[slot] ? unsafe elements[slot] : nil }
        set {
            if isTaken[slot] { unsafe (elements + slot).deinitialize(count: 1) }
            isTaken[slot] = newValue != nil
            if let newValue { unsafe (elements + slot).initialize(to: newValue) }
        }
    }

    func append(_ element: Element) {
        if count == capacity { grow() }
        unsafe (elements + count).initialize(to: element)
        isTaken.append(true)
    }

    private func grow() {
        capacity = max(16, capacity * 2)
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        for slot in isTaken.indices where isTaken[slot] {
            unsafe (larger + slot).moveInitialize(from: elements + slot, count: 1)
        }
        unsafe elements.deallocate()
        unsafe elements = larger
    }
}

/// Unchecked: it has one owner, which a lock guards, and may move between threads with what it holds.
extension SlotStorage: @unchecked Sendable where Element: Sendable {}
