/// What is noted at a pace of its own.
enum WarmPart: CaseIterable, Sendable {
    /// The hottest keys, and the hit ratio: without them nothing comes back.
    case keys
    /// What policies know. It is large, and may be older.
    case frequencies

    var kinds: [WarmNote.Kind] { self == .keys ? [.keys, .ratio] : [.policy] }

    /// After a round it rests for so many times as long as writing took at the rate of notes.
    fileprivate var rest: Int64 { self == .keys ? 1 : 9 }
}

/// Which note of a part is written next, and when: one shard at a time, and of what it knows a piece at a time, so that no
/// note holds up others' writes for long.
struct WarmRound: Sendable {
    let part: WarmPart
    /// When the next round begins, or, within one, the next note may be written.
    var next: Int64 = 0
    /// The shard whose turn it is; nil: between rounds.
    var shard: Int?
    var began: Int64 = 0
    /// Written in this round.
    var bytes: Int64 = 0
    /// By shard, what had happened there when it was noted last.
    var activity: [Int: UInt64] = [:]
    /// When the last round began of which all is noted; nil: there was none yet.
    var noted: Int64?
    /// Whether something of this round could not be written.
    private var isLacking = false
    /// What is still to be written of the shard whose turn it is.
    var pending = PendingNotes()

    /// Notes of a part write no more than this many bytes a second.
    static let bytesPerSecond: Int64 = 512 << 10

    init(_ part: WarmPart, next: Int64 = 0) {
        self.part = part
        self.next = next
    }

    /// The shard to note now; nil: none.
    func turn(at now: Int64, shards: Int) -> Int? {
        let shard = shard ?? 0
        return now >= next && shard < shards ? shard : nil
    }

    /// So many bytes were written of a shard. Its turn is over where that was all.
    mutating func end(_ shard: Int, bytes: Int, at now: Int64, shards: Int, interval: Int64) {
        if self.shard == nil { (began, self.bytes, self.shard) = (now, 0, shard) }
        self.bytes += Int64(bytes)
        next = now &+ WarmRound.time(for: Int64(bytes))
        if !pending.isEmpty { return }
        if shard + 1 < shards {
            self.shard = shard + 1
        } else {
            self.shard = nil
            if !isLacking { noted = began }
            isLacking = false
            let rested = next &+ part.rest * WarmRound.time(for: self.bytes)
            next = max(rested, Deadlines.add(interval, to: began))
        }
    }

    /// A note could not be written.
    mutating func fail(_ note: WarmNote) {
        pending.fail(note)
        isLacking = true
    }

    /// Nothing that was noted is known to be there any more: all of it is noted anew.
    mutating func forget() {
        activity = [:]
        pending = PendingNotes()
        noted = nil
        // What a round has noted by now.
        isLacking = shard != nil
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
