/// First in, first out: hits move nothing. The baseline, and the cheapest.
struct FIFOQueue: EvictionQueue {
    var slots = SlotQueues()
    var capacity: Int

    init(capacity: Int, expectedEntries: Int) { self.capacity = capacity }

    mutating func hit(_ slot: UInt32) { slots.use(slot) }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        slots.add(slot, mixed: hash, weight: weight, to: isPinned ? .pinned : .main)
    }

    mutating func victim() -> UInt32? {
        guard slots.weight > capacity else { return nil }
        let slot = slots.list(.main).last
        guard slot != SlotQueues.end else { return nil }
        slots.discard(slot)
        return slot
    }

    func forEachHottestFirst(_ body: (UInt32) -> Bool) {
        _ = slots.forEach(.pinned, body) && slots.forEach(.main, body)
    }
}

/// Least recently used leaves first. Good where what was read is soon read again; a loop longer than the cache defeats it.
struct LRUQueue: EvictionQueue {
    var slots = SlotQueues()
    var capacity: Int

    init(capacity: Int, expectedEntries: Int) { self.capacity = capacity }

    mutating func hit(_ slot: UInt32) {
        slots.use(slot)
        slots.move(slot, to: slots.region(slot))
    }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        slots.add(slot, mixed: hash, weight: weight, to: isPinned ? .pinned : .main)
    }

    mutating func victim() -> UInt32? {
        guard slots.weight > capacity else { return nil }
        let slot = slots.list(.main).last
        guard slot != SlotQueues.end else { return nil }
        slots.discard(slot)
        return slot
    }

    func forEachHottestFirst(_ body: (UInt32) -> Bool) {
        _ = slots.forEach(.pinned, body) && slots.forEach(.main, body)
    }
}
