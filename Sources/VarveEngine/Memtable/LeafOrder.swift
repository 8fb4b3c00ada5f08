/// A leaf's keys in order, in memory of its own: what a split works on, and what a cursor walks through.
@safe
final class LeafOrder {
    private(set) var count = 0
    private(set) var skip = 0
    let slots: UnsafeMutablePointer<KeySlot>
    /// The part of a leaf that had arrived out of order, while it is merged.
    private let tail: UnsafeMutablePointer<KeySlot>

    init() {
        unsafe slots = .allocate(capacity: MemtableNode.leafCapacity)
        unsafe tail = .allocate(capacity: MemtableNode.leafCapacity)
    }

    deinit {
        unsafe slots.deallocate()
        unsafe tail.deallocate()
    }

    /// Copies a leaf and puts it in order: the keys that were in order when the leaf was made need no sorting.
    func load(_ leaf: MemtableNode) {
        let count = leaf.count
        self.count = count
        skip = leaf.skip
        guard count > 0 else { return }
        for index in 0..<count { unsafe slots[index] = leaf.leafSlot(index) }
        let order = KeyOrder(view: leaf.view, skip: skip)
        var head = max(1, leaf.sorted)
        while head < count, unsafe order.isBefore(slots[head - 1], slots[head]) { head += 1 }
        if head < count { mergeTail(from: head, order) }
    }

    private func mergeTail(from head: Int, _ order: KeyOrder) {
        let length = count - head
        // Sorted by insertion into memory of its own.
        for index in 0..<length {
            let slot = unsafe slots[head + index]
            var place = index
            while place > 0, unsafe order.isBefore(slot, tail[place - 1]) {
                unsafe tail[place] = tail[place - 1]
                place -= 1
            }
            unsafe tail[place] = slot
        }
        var left = head - 1
        var right = length - 1
        var target = count - 1
        while right >= 0 {
            if left >= 0, unsafe order.isBefore(tail[right], slots[left]) {
                unsafe slots[target] = slots[left]
                left -= 1
            } else {
                unsafe slots[target] = tail[right]
                right -= 1
            }
            target -= 1
        }
    }

    /// How many neighbours cannot be told apart by their chunks.
    var ties: Int {
        guard count > 1 else { return 0 }
        return (1..<count).count { unsafe slots[$0].chunk == slots[$0 - 1].chunk }
    }

    /// How many keys sort before `key`, which may lack the prefix only where the leaf says so.
    func lowerBound(_ key: UnsafeRawBufferPointer, _ leaf: MemtableNode) -> Int {
        guard count > 0 else { return 0 }
        if leaf.isChecked {
            let order = unsafe leaf.comparePrefix(key)
            if order != 0 { return order < 0 ? 0 : count }
        }
        let chunk = unsafe KeyChunk.make(key, skipping: skip)
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            let slot = unsafe slots[middle]
            let isBefore =
                slot.chunk != chunk
                ? slot.chunk < chunk : unsafe FullKey.compare(MemtableKey(leaf.view, slot.key).bytes, key) < 0
            if isBefore { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// The order of keys that share their first `skip` bytes.
@safe
struct KeyOrder {
    let view: ArenaView
    let skip: Int

    @inline(__always)
    func isBefore(_ a: KeySlot, _ b: KeySlot) -> Bool {
        a.chunk != b.chunk ? a.chunk < b.chunk : compareKeys(a.key, b.key) < 0
    }

    @inline(never)
    private func compareKeys(_ a: ArenaRef, _ b: ArenaRef) -> Int {
        unsafe FullKey.compare(MemtableKey(view, a).bytes, MemtableKey(view, b).bytes)
    }
}
