internal import Synchronization
internal import VarveEngine

/// The engine of a store, and where the store may go on in memory the one that took its place since: a log that failed
/// takes no more writes, so the store is opened anew beside the one that is still read.
///
/// Who asks gets the present one and may use it to the end of what he does: one that was replaced can be read, and shows
/// what was there when it was. What the new one must not show is hidden before it is here, and shown again only when
/// everybody gets it: `DiskTier.engine(showing:)`. Any thread.
final class EngineCell: Sendable {
    /// Where it is never replaced: then asking costs no lock.
    private let fixed: Engine?
    private struct State: Sendable {
        var engine: Engine
        /// What the engines before it had counted.
        var before = CacheStatistics.DiskUse()
    }
    private let state: Mutex<State>
    private let historyNumber: Atomic<UInt64>

    init(_ engine: Engine, mayBeReplaced: Bool) {
        fixed = mayBeReplaced ? nil : engine
        state = Mutex(State(engine: engine))
        // Numbers that an earlier process gave in memory may be given again by one that cannot begin a timeline yet.
        historyNumber = Atomic(engine.role == .readOnly ? .random(in: 1 ... .max) : engine.historyNumber)
    }

    var current: Engine { fixed ?? state.withLock { $0.engine } }

    /// Names the history in which the store's versions are places.
    var history: UInt64 { historyNumber.load(ordering: .relaxed) }

    /// Nobody changes anything meanwhile.
    func replace(by engine: Engine) {
        let old = state.withLock { state in
            defer { state.engine = engine }
            state.before.count(state.engine)
            return state.engine
        }
        if old.role == .readOnly || old.historyNumber != engine.historyNumber {
            historyNumber.store(engine.historyNumber, ordering: .relaxed)
        }
    }

    /// What the store takes and has written, since it was opened.
    var use: CacheStatistics.DiskUse {
        let (engine, before) = state.withLock { ($0.engine, $0.before) }
        var use = CacheStatistics.DiskUse(engine.statistics)
        use.add(before)
        return use
    }
}

extension Engine {
    /// Its timeline, as a number.
    fileprivate var historyNumber: UInt64 { position.timeline.unique.high ^ position.timeline.unique.low }
}

extension CacheStatistics.DiskUse {
    /// Adds what an engine has counted.
    fileprivate mutating func count(_ engine: Engine) { add(CacheStatistics.DiskUse(engine.statistics)) }

    /// Adds what was counted before; what lies on disk is no sum.
    fileprivate mutating func add(_ earlier: CacheStatistics.DiskUse) {
        bytesLogged &+= earlier.bytesLogged
        bytesRewritten &+= earlier.bytesRewritten
        entriesLogged &+= earlier.entriesLogged
        entriesRewritten &+= earlier.entriesRewritten
        entriesEvicted &+= earlier.entriesEvicted
        writesDelayed &+= earlier.writesDelayed
        writesStalled &+= earlier.writesStalled
        nanosecondsWaited &+= earlier.nanosecondsWaited
    }
}
