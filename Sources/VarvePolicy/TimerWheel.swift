/// When slots expire, so that the memory of what has expired is given back without a search: a hierarchical timer wheel.
/// Whether an entry may be served is for the reader to decide by the clock; the wheel may be late by the width of a bucket
/// (about a second for what is near) and is never early.
///
/// Levels of buckets, each a list of slots: 64 buckets of about a second, 64 of about a minute, 32 of an hour and a bit,
/// 32 of a day and a half, and one for all that is later. A slot goes down a level when its bucket's time comes.
/// Scheduling and cancelling are O(1); advancing takes whole buckets off the wheel at no cost a slot, and their slots find
/// new places one by one, as many at a time as the caller allows. Each slot comes down at most four times.
///
/// Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987); the widths are powers of two of nanoseconds so
/// that a bucket is found by shifting, as in Caffeine's.
///
/// Not thread-safe. Nothing is allocated once the array of slots has its size.
public struct TimerWheel: Sendable {
    /// Buckets are rings, so that one is put behind another in a few stores.
    private struct Node: Sendable {
        var deadline: Int64 = 0
        var previous: UInt32 = end
        var next: UInt32 = end
        /// `end`: it stands nowhere. Of a bucket's first slot the bucket; of the others one that it once stood in.
        var bucket: UInt32 = end
    }

    /// One level: a bucket is 2^shift nanoseconds wide.
    private struct Level: Sendable {
        let shift: Int64
        let buckets: Int
        /// Its first bucket among all.
        let base: Int
    }

    private static let end = UInt32.max
    private static let levels: [5 of Level] = [
        Level(shift: 30, buckets: 64, base: 0),
        Level(shift: 36, buckets: 64, base: 64),
        Level(shift: 42, buckets: 32, base: 128),
        Level(shift: 47, buckets: 32, base: 160),
        Level(shift: 52, buckets: 1, base: 192),
    ]
    /// What is due and was not asked for yet.
    private static let due = 193
    /// What has come off the wheel and has no new place yet.
    private static let moving = 194

    private var nodes: [Node] = []
    /// The first slot of each bucket.
    private var heads = [UInt32](repeating: end, count: moving + 1)
    /// The time of the last call.
    private var now: Int64
    /// How many slots are scheduled.
    public private(set) var count = 0

    /// - Parameter now: nanoseconds of any clock; all other times are of the same.
    public init(now: Int64) { self.now = now }

    /// Schedules a slot, or gives a scheduled one another deadline. `.max` is no deadline.
    public mutating func schedule(_ slot: UInt32, at deadline: Int64) {
        cancel(slot)
        guard deadline != .max else { return }
        if Int(slot) >= nodes.count { grow(Int(slot) + 1) }
        nodes[Int(slot)].deadline = deadline
        link(slot)
        count += 1
    }

    /// Takes a slot out; nothing happens if it is not scheduled.
    public mutating func cancel(_ slot: UInt32) {
        guard isScheduled(slot) else { return }
        unlink(slot)
        count -= 1
    }

    /// Another slot, which is not scheduled, takes the place of one; nothing happens where that is not scheduled.
    public mutating func renumber(_ slot: UInt32, to other: UInt32) {
        guard isScheduled(slot) else { return }
        precondition(!isScheduled(other), "the slot is scheduled already")
        if Int(other) >= nodes.count { grow(Int(other) + 1) }
        var node = nodes[Int(slot)]
        nodes[Int(slot)].bucket = TimerWheel.end
        if heads[Int(node.bucket)] == slot { heads[Int(node.bucket)] = other }
        if node.next == slot {
            (node.previous, node.next) = (other, other)
        } else {
            nodes[Int(node.previous)].next = other
            nodes[Int(node.next)].previous = other
        }
        nodes[Int(other)] = node
    }

    /// Gives back the room of the slots from this one on, none of which is scheduled.
    public mutating func giveBackRoom(from count: Int) {
        guard count < nodes.count else { return }
        assert(nodes[count...].allSatisfy { $0.bucket == TimerWheel.end }, "a slot beyond the room is scheduled")
        nodes = Array(nodes[..<count])
    }

    public func isScheduled(_ slot: UInt32) -> Bool {
        Int(slot) < nodes.count && nodes[Int(slot)].bucket != TimerWheel.end
    }

    /// A slot whose deadline is not after `time`, taken out of the wheel; nil when there is none (more). It comes up to a
    /// bucket's width late, never early.
    ///
    /// A clock that stepped back expires nothing that is not due by it; one that jumped ahead costs at most one round of
    /// each level. Between two calls the caller may schedule and cancel as it likes.
    public mutating func nextExpired(at time: Int64) -> UInt32? {
        var steps = Int.max
        return nextExpired(at: time, steps: &steps)
    }

    /// The same with a bound on the work: so many slots are looked at, at most, and their number is taken off `steps`. Nil
    /// with steps left: there is none. Without: there may be.
    public mutating func nextExpired(at time: Int64, steps: inout Int) -> UInt32? {
        if time < now {
            // Buckets now hold what is due farther ahead than they reach: it is swept too early and finds its place anew.
            now = time
        } else if time != now {
            advance(to: time)
        }
        while steps > 0 {
            let isDue = heads[TimerWheel.due] != TimerWheel.end
            let slot = heads[isDue ? TimerWheel.due : TimerWheel.moving]
            guard slot != TimerWheel.end else { return nil }
            steps -= 1
            unlink(slot)
            if nodes[Int(slot)].deadline <= now {
                count -= 1
                return slot
            }
            link(slot)
        }
        return nil
    }

    private mutating func advance(to time: Int64) {
        let before = now
        now = time
        guard count > 0 else { return }
        for index in TimerWheel.levels.indices {
            let level = TimerWheel.levels[index]
            let from = before >> level.shift
            let to = time >> level.shift
            // A later level has not moved when this one has not.
            if to == from { return }
            // The bucket that time left, those that it passed and the one that it has entered.
            for step in 0..<min(to &- from + 1, Int64(level.buckets)) {
                takeOff(level.base + Int((to &- step) & Int64(level.buckets - 1)))
            }
        }
    }

    /// Empties a bucket: its ring goes behind what is moving already.
    private mutating func takeOff(_ bucket: Int) {
        let first = heads[bucket]
        guard first != TimerWheel.end else { return }
        heads[bucket] = TimerWheel.end
        let front = heads[TimerWheel.moving]
        if front == TimerWheel.end {
            heads[TimerWheel.moving] = first
            nodes[Int(first)].bucket = UInt32(TimerWheel.moving)
            return
        }
        let last = nodes[Int(first)].previous
        let end = nodes[Int(front)].previous
        nodes[Int(end)].next = first
        nodes[Int(first)].previous = end
        nodes[Int(last)].next = front
        nodes[Int(front)].previous = last
    }

    /// The bucket for a deadline: of the first level that reaches so far.
    private func bucket(for deadline: Int64) -> Int {
        if deadline <= now { return TimerWheel.due }
        for index in TimerWheel.levels.indices {
            let level = TimerWheel.levels[index]
            let there = deadline >> level.shift
            if there &- now >> level.shift < Int64(level.buckets) {
                return level.base + Int(there & Int64(level.buckets - 1))
            }
        }
        return TimerWheel.levels[4].base
    }

    private mutating func link(_ slot: UInt32) {
        let bucket = bucket(for: nodes[Int(slot)].deadline)
        let first = heads[bucket]
        nodes[Int(slot)].bucket = UInt32(bucket)
        if first == TimerWheel.end {
            nodes[Int(slot)].previous = slot
            nodes[Int(slot)].next = slot
        } else {
            let last = nodes[Int(first)].previous
            nodes[Int(slot)].previous = last
            nodes[Int(slot)].next = first
            nodes[Int(last)].next = slot
            nodes[Int(first)].previous = slot
        }
        heads[bucket] = slot
    }

    private mutating func unlink(_ slot: UInt32) {
        let node = nodes[Int(slot)]
        nodes[Int(slot)].bucket = TimerWheel.end
        let isFirst = heads[Int(node.bucket)] == slot
        if node.next == slot {
            heads[Int(node.bucket)] = TimerWheel.end
            return
        }
        nodes[Int(node.previous)].next = node.next
        nodes[Int(node.next)].previous = node.previous
        guard isFirst else { return }
        heads[Int(node.bucket)] = node.next
        nodes[Int(node.next)].bucket = node.bucket
    }

    /// How many slots there is room for before their records are copied to a larger place.
    var slotCapacity: Int { nodes.capacity }

    private mutating func grow(_ count: Int) {
        nodes.append(contentsOf: repeatElement(Node(), count: count - nodes.count))
    }
}
