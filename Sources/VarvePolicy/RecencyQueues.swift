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
    /// A tick passes with each few hits, so many that those of which a mark has room span several times as many hits as there
    /// are entries.
    private var ticks: UInt64 = 0
    private var hitsToTick = 0
    private static var ticksOfEntries: Int { 1 << 13 }

    init(capacity: Int, expectedEntries: Int) { self.capacity = capacity }

    mutating func hit(_ slot: UInt32) {
        slots.move(slot, to: slots.region(slot))
        if hitsToTick == 0 {
            hitsToTick = slots.count / LRUQueue.ticksOfEntries
            ticks += 1
        } else {
            hitsToTick -= 1
        }
        slots.use(slot, at: UInt16(truncatingIfNeeded: ticks))
    }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        let tick = UInt16(truncatingIfNeeded: ticks)
        slots.add(slot, mixed: hash, weight: weight, tick: tick, to: isPinned ? .pinned : .main)
    }

    /// When it was hit last, as far as its place in the list would tell.
    func worth(_ slot: UInt32) -> UInt64 {
        let age = UInt16(truncatingIfNeeded: ticks) &- slots[mark: slot].tick
        return ticks - UInt64(age)
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
