/// The default: `ReuseQueue` with the width of the window chosen by `WindowTuner`. See docs/design-decisions.md for what it
/// reaches on the traces beside the other policies.
struct AdaptiveQueue: EvictionQueue {
    private var queue: ReuseQueue
    private var tuner: WindowTuner

    init(capacity: Int, expectedEntries: Int) {
        tuner = WindowTuner(capacity: capacity, expectedEntries: expectedEntries)
        queue = ReuseQueue(capacity: capacity, expectedEntries: expectedEntries, windowShare: tuner.share)
    }

    var slots: SlotQueues {
        @inline(__always) _read { yield queue.slots }
        @inline(__always) _modify { yield &queue.slots }
    }

    var capacity: Int {
        get { queue.capacity }
        set {
            guard newValue != queue.capacity else { return }
            queue.capacity = newValue
            tuner.setCapacity(newValue)
        }
    }

    /// The window's present part of the capacity, in 1/1024.
    var windowShare: Int { queue.windowShare }

    @inline(__always)
    mutating func hit(_ slot: UInt32) {
        queue.hit(slot)
        if tuner.takesHits { offer(queue.slots[slot]) }
    }

    /// A hit may be one of the sample.
    private mutating func offer(_ node: SlotNode) {
        if tuner.samples(node.hash), tuner.noteHit(node.hash, weight: Int(node.weight)) {
            queue.windowShare = tuner.share
        }
    }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        if tuner.noteMiss(hash, weight: weight) { queue.windowShare = tuner.share }
        queue.admit(slot, mixed: hash, weight: weight, isPinned: isPinned)
    }

    /// Whether a key that is not in, and that a slower tier has, should come in. No is a sighting of the key.
    mutating func admitsRead(hash: UInt64, weight: Int) -> Bool {
        if queue.admitsRead(hash, weight: weight) { return true }
        if tuner.noteMiss(hash, weight: weight) { queue.windowShare = tuner.share }
        return false
    }

    mutating func victim() -> UInt32? { queue.victim() }

    @inline(__always)
    var nextVictim: UInt32? { queue.nextVictim }

    /// Has the processor fetch what a miss of this key will look at.
    @inline(__always)
    func prefetch(hash: UInt64) { queue.ghosts.prefetch(hash) }

    /// A key that left lately and was not promoted counts as seen once.
    func frequency(hash: UInt64) -> Int { queue.ghosts.tick(of: hash) == nil ? 0 : 1 }

    func forEachHottestFirst(_ body: (UInt32) -> Bool) {
        slots.forEachByHits(from: ReuseQueue.mostHits, body)
    }

    func encode(into writer: inout StateWriter) {
        tuner.encode(into: &writer)
        queue.encode(into: &writer)
    }

    mutating func decode(from reader: inout StateReader) throws(StateError) {
        var tuner = tuner
        try tuner.decode(from: &reader)
        try queue.decode(from: &reader)
        self.tuner = tuner
        queue.windowShare = tuner.share
    }
}
