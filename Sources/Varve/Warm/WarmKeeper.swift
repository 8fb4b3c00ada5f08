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
        var rounds: [WarmPart: WarmRound] = [:]
        /// What was last written whole.
        var written: [WarmState.Subject: Written] = [:]
        var room = NoteRoom()
        /// How many caches of the store had notes when they were last counted.
        var caches: Int?
        /// How often the store had come back to disk when something was last noted.
        var returns: UInt64 = 0
        /// How the warm-up ended.
        var outcome: WarmUpOutcome?

        subscript(part: WarmPart) -> WarmRound {
            get { rounds[part] ?? WarmRound(part) }
            set { rounds[part] = newValue }
        }

        mutating func end(_ outcome: WarmUpOutcome) {
            statistics.keysLeft = keys.count
            keys = []
            statistics.isDone = true
            self.outcome = outcome
        }
    }

    /// A state as it was last written whole.
    struct Written: Sendable {
        var number: UInt64
        /// Nil: it is not what this cache would write.
        var whole: UInt64?
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
        for part in WarmPart.allCases {
            state[part] = WarmRound(part, next: Deadlines.add(options.interval.clampedNanoseconds, to: now))
        }
        state.statistics.keysNoted = state.keys.count
        state.statistics.notesDamaged = found.damaged
        state.statistics.hitRatioBefore = found.hitRatio
        // With nothing to bring back it has ended: notes may be taken at once.
        if state.keys.isEmpty { state.end(.done) }
        self.state = Mutex(state)
    }

    var statistics: WarmUpStatistics { state.withLock { $0.statistics } }
    var outcome: WarmUpOutcome? { state.withLock { $0.outcome } }

    /// With how old the notes are by now.
    func statistics(at now: Int64) -> WarmUpStatistics {
        state.withLock { state in
            func age(_ part: WarmPart) -> Duration? { state[part].noted.map { .nanoseconds(max(0, now &- $0)) } }
            var statistics = state.statistics
            (statistics.keysAge, statistics.frequenciesAge) = (age(.keys), age(.frequencies))
            return statistics
        }
    }

    /// The next key to bring back, hottest first, and whether it is of the hotter half; nil when there is none, or the budget
    /// is used up: then the warm-up has ended. What one entry is beyond the budget nobody can know before it is read.
    func nextKey(at now: Int64) -> (bytes: [UInt8], isHot: Bool)? {
        let (key, hasEnded): ((bytes: [UInt8], isHot: Bool)?, Bool) = state.withLock { state in
            if state.statistics.isDone { return (nil, false) }
            let isOver =
                state.statistics.bytesRead >= options.bytes
                || now &- state.began >= options.time.clampedNanoseconds
            let isHot = state.keys.count > state.coolerKeys
            if !isOver, let bytes = state.keys.popLast() { return ((bytes, isHot), false) }
            state.end(state.keys.isEmpty ? .done : .budgetUsedUp)
            state.statistics.duration = .nanoseconds(max(0, now &- state.began))
            return (nil, true)
        }
        if hasEnded { changed.raise() }
        return key
    }

    /// Gives up what is still to be brought back: the cache is being closed.
    func end() {
        state.withLock { state in if !state.statistics.isDone { state.end(.timedOut) } }
        changed.raise()
    }

    func note(_ change: (inout WarmUpStatistics) -> Void) { state.withLock { change(&$0.statistics) } }
}
