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
        var room = NoteRoom()
        /// How many caches of the store had notes when they were last counted.
        var caches: Int?
        /// How often the store had come back to disk when something was last noted.
        var returns: UInt64 = 0
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
