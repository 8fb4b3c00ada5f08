/// Which note is written next, and when: one shard at a time, and of what it knows a piece at a time, so that no note
/// holds up others' writes for long.
struct WarmRound: Sendable {
    /// What was last written whole.
    struct Written: Sendable {
        var number: UInt64
        /// Nil: it is not what this cache would write.
        var whole: UInt64?
    }

    /// When the next round begins, or, within one, the next note may be written.
    var next: Int64 = 0
    /// The shard whose turn it is; nil: between rounds.
    var shard: Int?
    var began: Int64 = 0
    /// Written in this round.
    var bytes: Int64 = 0
    /// By shard, what had happened there when it was noted last.
    var activity: [Int: UInt64] = [:]
    var written: [WarmState.Subject: Written] = [:]
    /// What is still to be written of the shard whose turn it is.
    var pending = PendingNotes()

    /// Notes write no more than this many bytes a second.
    static let bytesPerSecond: Int64 = 512 << 10
    /// After a round it rests for so many times as long as writing took at that rate.
    static let rest: Int64 = 9

    /// The shard to note now; nil: none.
    mutating func turn(at now: Int64, shards: Int) -> Int? {
        guard now >= next else { return nil }
        guard let shard else {
            began = now
            bytes = 0
            self.shard = 0
            return 0
        }
        return shard < shards ? shard : nil
    }

    /// So many bytes were written of a shard. Its turn is over where that was all.
    mutating func end(_ shard: Int, bytes: Int, at now: Int64, shards: Int, interval: Int64) {
        self.bytes += Int64(bytes)
        next = now &+ WarmRound.time(for: Int64(bytes))
        if !pending.isEmpty { return }
        if shard + 1 < shards {
            self.shard = shard + 1
        } else {
            self.shard = nil
            let rested = next &+ WarmRound.rest * WarmRound.time(for: self.bytes)
            next = max(rested, Deadlines.add(interval, to: began))
        }
    }

    /// Nothing that was noted is known to be there any more: all of it is noted anew.
    mutating func forget() {
        activity = [:]
        pending = PendingNotes()
        for subject in written.keys { written[subject]?.whole = nil }
    }

    /// By what is written, not by the clock, which may jump.
    private static func time(for bytes: Int64) -> Int64 {
        let (seconds, rest) = bytes.quotientAndRemainder(dividingBy: bytesPerSecond)
        return seconds * 1_000_000_000 + rest * 1_000_000_000 / bytesPerSecond
    }
}

/// The notes of a shard that are to be written, one after the other.
struct PendingNotes: Sendable {
    /// The last is the first to be written.
    private var notes: [WarmNote] = []
    /// What will have been noted when all are written; nil: nothing new.
    private(set) var activity: UInt64?

    init() {}

    /// - Parameter states: with the number that each gets.
    init(_ states: [(WarmState, number: UInt64)], activity: UInt64?) {
        notes = states.flatMap { $0.notes(number: $1, atMost: WarmUp.noteBytes) }.reversed()
        self.activity = activity
    }

    var isEmpty: Bool { notes.isEmpty }

    mutating func next() -> WarmNote? { notes.popLast() }

    /// One of them could not be written: the shard counts as not noted. The other states are written all the same.
    mutating func fail(_ note: WarmNote) {
        activity = nil
        notes.removeAll { $0.kind == note.kind }
    }
}
