internal import Synchronization

/// Lets feeds tell of changes as long as the log holds all of them. While a cache goes on in memory because the disk takes no
/// writes it does not: then every feed ends, and none begins.
///
/// A feed that lived before such a time ends even where it notices only afterwards: its reader may have acted meanwhile on
/// what was outdated. A new one, from the cursor of the old, misses nothing: what was changed in memory is told as
/// removed. Any thread.
final class FeedGate: Sendable {
    private struct State: Sendable {
        /// Why feeds may not tell; nil: they may.
        var cause: String?
        var lastCause = ""
    }

    private let state = Mutex(State())
    /// How often the gate was shut.
    private let shuts = Atomic<UInt64>(0)

    /// Ends every feed. Who waits for the log is to be woken after it.
    func shut(_ cause: String) {
        state.withLock { state in
            (state.cause, state.lastCause) = (cause, cause)
            shuts.add(1, ordering: .acquiringAndReleasing)
        }
    }

    /// Everything that was changed meanwhile is in the log, durably.
    func open() { state.withLock { $0.cause = nil } }

    /// Lets a feed in. To be asked before the feed looks at the log.
    /// - Throws: `.degraded` while the gate is shut.
    func admit() throws(VarveError) -> Admission {
        let (cause, shuts) = state.withLock { ($0.cause, self.shuts.load(ordering: .acquiring)) }
        if let cause { throw FeedGate.refusal(cause) }
        return Admission(gate: self, shuts: shuts)
    }

    private static func refusal(_ cause: String) -> VarveError {
        VarveError(
            .degraded,
            "the cache goes on, or went on, in memory alone (\(cause)): what changes then is told once it is back on disk, to "
                + "a feed that begins anew after the last cursor")
    }

    /// One feed's leave to tell.
    struct Admission: Sendable {
        fileprivate let gate: FeedGate
        fileprivate let shuts: UInt64

        /// Whether the gate was shut since.
        var isOver: Bool { gate.shuts.load(ordering: .acquiring) != shuts }

        /// To be asked after the log was looked at: what was read before may be told.
        func check() throws(VarveError) {
            if isOver { throw FeedGate.refusal(gate.state.withLock { $0.lastCause }) }
        }
    }
}
