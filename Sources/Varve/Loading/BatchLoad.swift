internal import Synchronization

/// Who wants the one call of the source that several loads share: it is cancelled when nobody does. Any thread.
final class BatchLoad: Sendable {
    private struct State {
        /// The loads, by number, that have neither ended nor been given up.
        var wanted: Set<Int>
        var task: Task<Void, Never>?
    }
    private let state: Mutex<State>

    init(loads: Int) { state = Mutex(State(wanted: Set(0..<loads))) }

    /// The task that carries them out.
    func begin(_ task: Task<Void, Never>) {
        let isOver = state.withLock { state in
            state.task = task
            return state.wanted.isEmpty
        }
        if isOver { task.cancel() }
    }

    /// A load was given up, or has ended.
    func leave(_ load: Int) {
        let task: Task<Void, Never>? = state.withLock { state in
            state.wanted.remove(load) != nil && state.wanted.isEmpty ? state.task : nil
        }
        task?.cancel()
    }
}
