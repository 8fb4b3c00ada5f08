/// FIFO queues like S3-FIFO's with the admission rule of LIRS: the queues of the adaptive policy, at a given width of the
/// window.
///
/// - A newcomer waits in the *window*. At its end it moves to *main* if it was hit twice, else it leaves and its ghost
///   stays behind, with the time of its last use.
/// - Who comes back while its ghost is there has shown the distance of its reuse. It goes straight to main if that
///   distance is clearly shorter than the time since main's next victim was used (so it will be used again before that one
///   would have been), else it waits in the window like any newcomer.
/// - Main is a clock: a hit counts up to three, and each turn of the hand takes one away.
/// - While main has room the window's end flows over into it, so the first entries of a loop stay.
/// - What a slower tier has comes in where its reuse is no longer than what the window's end waits, else by trial
///   (`ReadAdmission`).
///
/// Time is counted in weight that was admitted, or refused as a read, in steps of a 64th of the capacity: a hit sets it and
/// does not move it, so hits write two bytes of the slot's own, and mostly the same two as before.
///
/// Queues and quick demotion: Yang et al., "FIFO Queues are All You Need for Cache Eviction" (SOSP 2023). Reuse distance
/// against the recency of the victim: Jiang and Zhang, "LIRS" (SIGMETRICS 2002). Why a deep ghost is safe here: the rule
/// refuses what comes back too late, which S3-FIFO would admit.
struct ReuseQueue: Sendable {
    var slots = SlotQueues()
    private(set) var ghosts: GhostTable
    var capacity: Int { didSet { settle() } }
    /// The window's part of the capacity, in 1/1024.
    var windowShare: Int
    private(set) var tick: UInt16 = 0
    private var tickWeight = 1
    /// Admitted and refused since the last tick.
    private var pending = 0
    private var reads = ReadAdmission()
    /// The read that was let in last, until it comes.
    private var expected: (mixed: UInt64, trial: ReadAdmission.Trial) = (0, .none)

    /// Hits that lift an entry from the window to main, and how many main counts.
    static let promotionHits: UInt8 = 2
    static let mostHits: UInt8 = 3
    /// Ghosts for each entry: what is reused later than that is not worth a place.
    static let ghostsPerEntry = 4
    private static let ticksPerCapacity = 64

    init(capacity: Int, expectedEntries: Int, windowShare: Int) {
        self.capacity = capacity
        self.windowShare = windowShare
        ghosts = GhostTable(capacity: min(max(expectedEntries, 1), 1 << 14) * ReuseQueue.ghostsPerEntry)
        settle()
    }

    private mutating func settle() { tickWeight = max(1, capacity / ReuseQueue.ticksPerCapacity) }

    /// What pinned slots leave is shared by window and main.
    @inline(__always)
    private var targets: (window: Int, main: Int) {
        let room = slots.room(in: capacity)
        let share = max(1, room / 1024 * windowShare + room % 1024 * windowShare / 1024)
        let window = room >= 2 ? min(share, room - 1) : share
        return (window, room - window)
    }

    @inline(__always)
    mutating func hit(_ slot: UInt32) {
        var mark = slots[mark: slot]
        if mark.tick != tick || mark.hits < ReuseQueue.mostHits || !mark.isUsed {
            mark.hits = min(mark.hits + 1, ReuseQueue.mostHits)
            mark.tick = tick
            mark.use()
            slots[mark: slot] = mark
        }
    }

    mutating func admit(_ slot: UInt32, mixed: UInt64, weight: Int, isPinned: Bool = false) {
        advance(weight)
        let seen = ghosts.take(mixed)
        flowOver()
        var region = Region.window
        if isPinned { region = .pinned } else if let seen, deservesMain(seen, weight) { region = .main }
        slots.add(slot, mixed: mixed, weight: weight, tick: tick, to: region)
        if expected.mixed == mixed, region == .window { slots[slot].trial = expected.trial }
        expected.trial = .none
        if slots.count * ReuseQueue.ghostsPerEntry > ghosts.capacity { ghosts.double() }
    }

    /// Whether a key that is not in, and that a slower tier has, should come in: where it comes back before what is in would
    /// have left, and else by trial. No is a sighting of the key; after yes it is admitted.
    mutating func admitsRead(_ mixed: UInt64, weight: Int) -> Bool {
        let trial = trial(of: ghosts.tick(of: mixed), weight)
        if reads.admits(trial) {
            expected = (mixed, trial)
            return true
        }
        advance(weight)
        _ = ghosts.take(mixed)
        ghosts.insert(mixed, tick: tick)
        return false
    }

    /// `seen`: the key's last use. Like an admission, this turns main's clock to its next victim.
    private mutating func trial(of seen: UInt16?, _ weight: Int) -> ReadAdmission.Trial {
        guard let seen else { return .new }
        if deservesMain(seen, weight) { return .none }
        let oldest = slots.list(.window).last
        if oldest == SlotQueues.end { return .none }
        return tick &- seen <= tick &- slots[mark: oldest].tick ? .none : .late
    }

    /// Takes out what is worth least.
    mutating func victim() -> UInt32? {
        guard slots.weight > capacity else { return nil }
        let mainTarget = targets.main
        while true {
            let slot = slots.list(.window).last
            let isMainOver = slots.list(.main).weight > mainTarget
            if isMainOver || slot == SlotQueues.end, let slot = slots.turnClock(.main) {
                slots.discard(slot)
                return slot
            }
            if slot == SlotQueues.end { return nil }
            reads.note(slots[slot].trial, wasHit: slots[mark: slot].hits > 0)
            if slots[mark: slot].hits >= ReuseQueue.promotionHits {
                slots[mark: slot].hits = 0
                slots.move(slot, to: .main)
            } else {
                ghosts.insert(slots[slot].hash, tick: slots[mark: slot].tick)
                slots.discard(slot)
                return slot
            }
        }
    }

    /// What leaves next if nothing happens to it, as far as can be told without looking at it.
    @inline(__always)
    var nextVictim: UInt32? {
        let list = slots.list(slots.list(.main).weight > targets.main ? .main : .window)
        return list.last == SlotQueues.end ? nil : list.last
    }

    private mutating func advance(_ weight: Int) {
        pending += min(max(weight, 0), capacity)
        if pending >= tickWeight {
            tick &+= UInt16(truncatingIfNeeded: pending / tickWeight)
            pending %= tickWeight
        }
    }

    /// While main has room nothing needs to leave at the window's end.
    private mutating func flowOver() {
        let targets = targets
        while slots.list(.window).weight > targets.window {
            let slot = slots.list(.window).last
            guard slots.list(.main).weight + Int(slots[slot].weight) <= targets.main else { return }
            slots.move(slot, to: .main)
        }
    }

    /// Whether the distance of a reuse is at most four fifths of the age of main's next victim.
    private mutating func deservesMain(_ seen: UInt16, _ weight: Int) -> Bool {
        if slots.list(.main).weight + weight <= targets.main { return true }
        guard let victim = slots.turnClock(.main) else { return false }
        return Int(tick &- seen) * 5 <= Int(tick &- slots[mark: victim].tick) * 4
    }

    /// The ghosts, and everything that is in as a ghost too: to a process that begins with nothing both have left.
    func encode(into writer: inout StateWriter) {
        var all = ghosts
        for region in [Region.main, .window, .pinned] {
            _ = slots.forEach(region, reversed: true) { slot in
                all.insert(slots[slot].hash, tick: slots[mark: slot].tick)
                return true
            }
        }
        writer.append(tick)
        all.encode(into: &writer)
    }

    mutating func decode(from reader: inout StateReader) throws(StateError) {
        let tick: UInt16 = try reader.next()
        ghosts = try GhostTable(from: &reader, least: ghosts.capacity)
        self.tick = tick
    }
}
