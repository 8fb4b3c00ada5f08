internal import Synchronization
internal import VarveIO

/// Whether the store still takes writes, and what went wrong last. Any thread.
///
/// Three kinds of trouble, never mixed: a failure after which the state on disk is unknown stops writes until the store is
/// opened anew; one that passes by itself (a full disk) is told, and the work is tried again; a damaged table is told, and
/// the work goes round it.
final class Health: Sendable {
    private struct State {
        var failure: VarveError?
        var passing: VarveError?
        var damage: VarveError?
    }
    private let state = Mutex(State())
    private let hasFailed = Atomic<Bool>(false)
    /// Raised when any of them changes.
    let changed = Signal()

    /// Throws what stopped the store, if something did: to be asked before anything of a write is done. One load where
    /// nothing has.
    @inline(__always)
    func checkWrites() throws(VarveError) {
        if hasFailed.load(ordering: .relaxed) { throw stopped() }
    }

    @inline(never)
    private func stopped() -> VarveError {
        let cause = state.withLock { $0.failure }
        return VarveError(
            .failedStop,
            "the store stopped taking writes after a failure; reads go on; open it anew"
                + (cause.map { " (\($0.message))" } ?? ""),
            path: cause?.path, underlying: cause
        ).at(.admission)
    }

    /// Stops writes for good. The first failure stays.
    func stop(_ error: VarveError) {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        hasFailed.store(true, ordering: .relaxed)
        changed.raise()
    }

    /// A failure that will be tried again; nil: it has passed.
    func setPassing(_ error: VarveError?) {
        let differs = state.withLock { state in
            let differs = (state.passing == nil) != (error == nil)
            state.passing = error
            return differs
        }
        if differs { changed.raise() }
    }

    /// A table that cannot be read, round which compactions go; nil: there is none.
    func setDamage(_ error: VarveError?) {
        let differs = state.withLock { state in
            let differs = (state.damage == nil) != (error == nil)
            state.damage = error
            return differs
        }
        if differs { changed.raise() }
    }

    var failure: VarveError? { state.withLock { $0.failure } }
    var passing: VarveError? { state.withLock { $0.passing } }
    var damage: VarveError? { state.withLock { $0.damage } }

    /// Sorts an error of background work: a full disk passes, work that ends because the store closes has not failed, all
    /// else stops writes.
    func note(_ error: VarveError) {
        switch error.code {
        case .diskFull: setPassing(error)
        case .cancelled, .closed: break
        default: stop(error)
        }
    }
}
