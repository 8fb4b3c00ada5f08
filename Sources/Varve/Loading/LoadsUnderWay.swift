internal import Synchronization

/// The loads of a cache that have begun and not ended, those included that later callers no longer join: so that closing
/// can end them. Any thread.
final class LoadsUnderWay<Value: Sendable>: Sendable {
    private struct State {
        var loads: [ObjectIdentifier: Load<Value>] = [:]
        var isClosed = false
    }
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.loads.count } }

    /// False where the cache was closed: the load must not begin.
    func add(_ load: Load<Value>) -> Bool {
        state.withLock { state in
            if !state.isClosed { state.loads[ObjectIdentifier(load)] = load }
            return !state.isClosed
        }
    }

    func remove(_ load: Load<Value>) {
        _ = state.withLock { $0.loads.removeValue(forKey: ObjectIdentifier(load)) }
    }

    /// Ends all of them: who waits gets the error, the loaders are cancelled, and none begins any more.
    func close(_ error: any Error) {
        let loads = state.withLock { state in
            state.isClosed = true
            return Array(state.loads.values)
        }
        for load in loads { load.abort(error) }
    }
}
