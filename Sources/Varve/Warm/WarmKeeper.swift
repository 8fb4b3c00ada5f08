internal import Synchronization
internal import VarveIO

/// How far a cache's warm-up and its notes for the next start are. Any thread; the work is done by one (`WarmUp`).
final class WarmKeeper: Sendable {
    struct State: Sendable {
        var statistics = WarmUpStatistics()
        /// What is still to be brought back, hottest last.
        var keys: [[UInt8]] = []
        /// Which of them were in the hotter half begins here.
        var coolerKeys = 0
        var began: Int64 = 0
        /// Notes of an earlier process that are none of ours.
        var stale: [[UInt8]] = []
        var round = WarmRound()
    }

    let options: WarmRestart
    let notes: WarmNotes
    let state: Mutex<State>
    /// Raised when the warm-up has ended, and while it has not whenever the hit ratio is looked at.
    let changed = Signal()

    init(_ options: WarmRestart, _ notes: WarmNotes, _ found: WarmNotes.Found, now: Int64) {
        self.options = options
        self.notes = notes
        var state = State()
        state.keys = found.keys.reversed()
        state.coolerKeys = state.keys.count / 2
        state.began = now
        state.round.next = Deadlines.add(options.interval.clampedNanoseconds, to: now)
        state.statistics.keysNoted = state.keys.count
        state.statistics.notesDamaged = found.damaged
        state.statistics.hitRatioBefore = found.hitRatio
        // With nothing to bring back it has ended: notes may be taken at once.
        state.statistics.isDone = state.keys.isEmpty
        self.state = Mutex(state)
    }

    var statistics: WarmUpStatistics { state.withLock { $0.statistics } }

    /// The next keys to bring back, hottest first, and whether they are of the hotter half; nil when there are none, or
    /// the budget is used up: then it has ended.
    func nextBatch(_ count: Int, at now: Int64) -> (keys: [[UInt8]], isHot: Bool)? {
        let (batch, ended): ((keys: [[UInt8]], isHot: Bool)?, Bool) = state.withLock { state in
            if state.statistics.isDone { return (nil, false) }
            let isOver =
                state.statistics.bytesRead >= options.bytes
                || now &- state.began >= options.time.clampedNanoseconds
            if state.keys.isEmpty || isOver {
                state.statistics.keysLeft = state.keys.count
                state.keys = []
                state.statistics.isDone = true
                state.statistics.duration = .nanoseconds(max(0, now &- state.began))
                return (nil, true)
            }
            let isHot = state.keys.count > state.coolerKeys
            let batch = Array(state.keys.suffix(count).reversed())
            state.keys.removeLast(batch.count)
            return ((batch, isHot), false)
        }
        if ended { changed.raise() }
        return batch
    }

    /// Gives up what is still to be brought back: the cache is being closed.
    func end() {
        state.withLock { state in
            if state.statistics.isDone { return }
            state.statistics.keysLeft = state.keys.count
            state.keys = []
            state.statistics.isDone = true
        }
        changed.raise()
    }

    func note(_ change: (inout WarmUpStatistics) -> Void) { state.withLock { change(&$0.statistics) } }
}

/// Which note is written next, and when: one shard at a time, so that no note holds up others' writes for long.
struct WarmRound: Sendable {
    /// When the next round begins, or, within one, the next note may be written.
    var next: Int64 = 0
    /// The shard whose turn it is; nil: between rounds.
    var shard: Int?
    var began: Int64 = 0
    /// By shard, what had happened there when it was noted last.
    var activity: [Int: UInt64] = [:]
    /// By the note's name, the hash of what was written last.
    var written: [[UInt8]: UInt64] = [:]

    /// Notes write no more than this many bytes a second.
    static let bytesPerSecond: Int64 = 512 << 10

    /// The shard to note now; nil: none.
    mutating func turn(at now: Int64, shards: Int) -> Int? {
        guard now >= next else { return nil }
        guard let shard else {
            began = now
            self.shard = 0
            return 0
        }
        return shard < shards ? shard : nil
    }

    /// A shard's turn is over, for which so many bytes were written.
    mutating func end(_ shard: Int, bytes: Int, at now: Int64, shards: Int, interval: Int64) {
        let pause = Int64(bytes) * 1_000_000_000 / WarmRound.bytesPerSecond
        next = now &+ pause
        if shard + 1 < shards {
            self.shard = shard + 1
        } else {
            self.shard = nil
            next = max(next, Deadlines.add(interval, to: began))
        }
    }
}
