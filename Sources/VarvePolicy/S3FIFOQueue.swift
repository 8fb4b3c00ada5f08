/// S3-FIFO: a small queue of a tenth, a main queue that is a two-bit clock, and ghosts of what the small queue let go.
/// Yang et al., "FIFO Queues are All You Need for Cache Eviction" (SOSP 2023).
struct S3FIFOQueue: EvictionQueue {
    var slots = SlotQueues()
    var capacity: Int
    private var ghosts: GhostTable

    init(capacity: Int, expectedEntries: Int) {
        self.capacity = capacity
        ghosts = GhostTable(capacity: max(1, min(expectedEntries, 1 << 14) * 9 / 10))
    }

    mutating func hit(_ slot: UInt32) {
        // Most hits leave it as it is, and its line clean.
        if slots[mark: slot].hits < 3 { slots[mark: slot].hits += 1 }
        slots.use(slot)
    }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        let wasSeen = ghosts.take(hash) != nil
        slots.add(slot, mixed: hash, weight: weight, to: isPinned ? .pinned : wasSeen ? .main : .window)
        if slots.count * 9 / 10 > ghosts.capacity { ghosts.double() }
    }

    mutating func victim() -> UInt32? {
        guard slots.weight > capacity else { return nil }
        let room = slots.room(in: capacity)
        let mainTarget = room - max(1, room / 10)
        while true {
            let slot = slots.list(.window).last
            let isMainOver = slots.list(.main).weight > mainTarget
            if isMainOver || slot == SlotQueues.end, let slot = slots.turnClock(.main) {
                slots.discard(slot)
                return slot
            }
            if slot == SlotQueues.end { return nil }
            if slots[mark: slot].hits >= 2 {
                slots[mark: slot].hits = 0
                slots.move(slot, to: .main)
            } else {
                ghosts.insert(slots[slot].hash, tick: 0)
                slots.discard(slot)
                return slot
            }
        }
    }

    func frequency(hash: UInt64) -> Int { ghosts.tick(of: hash) == nil ? 0 : 1 }

    func forEachHottestFirst(_ body: (UInt32) -> Bool) {
        slots.forEachByHits(from: 3, body)
    }

    func encode(into writer: inout StateWriter) {
        ghosts.encode(into: &writer)
    }

    mutating func decode(from reader: inout StateReader) throws(StateError) {
        ghosts = try GhostTable(from: &reader, least: ghosts.capacity)
    }
}
