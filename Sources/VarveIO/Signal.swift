/// Something happened: a counter that threads and tasks wait on without polling.
///
/// Read `generation`, look whether what you wait for is already so, and if not wait for a later generation: what happens
/// in between is not missed. Any thread or task.
public final class Signal: Sendable {
    private struct State: Sendable {
        var generation: UInt64 = 0
        var nextTask: UInt64 = 0
        var tasks: [UInt64: CheckedContinuation<Void, Never>] = [:]
        /// Tasks that were cancelled before they had begun to wait.
        var cancelled: Set<UInt64> = []
    }

    private let state = Monitor(State())

    public init() {}

    /// How often `raise` was called.
    public var generation: UInt64 { state.withLock { $0.generation } }

    /// Wakes everybody who waits.
    public func raise() {
        let tasks = state.withLock { state in
            state.generation &+= 1
            defer { state.tasks = [:] }
            return state.tasks
        }
        state.notifyAll()
        for task in tasks.values { task.resume() }
    }

    /// Blocks this thread until `look` answers. It is asked at once and after every `raise`, and none is missed, also one
    /// that comes while it looks.
    public func wait<Answer>(for look: () -> Answer?) -> Answer {
        while true {
            // Before the look: what is raised from here on ends the wait.
            let seen = generation
            if let answer = look() { return answer }
            wait(after: seen)
        }
    }

    /// Blocks this thread until a generation after `seen`.
    public func wait(after seen: UInt64) {
        state.wait { $0.generation != seen ? () : nil }
    }

    /// The same, giving up after `timeout`: then false.
    @discardableResult
    public func wait(after seen: UInt64, atMost timeout: Duration) -> Bool {
        state.wait(atMost: timeout) { $0.generation != seen ? () : nil } != nil
    }

    /// Suspends this task until a generation after `seen`, or until the task is cancelled.
    public func wait(after seen: UInt64) async {
        let id = state.withLock { state in
            state.nextTask &+= 1
            return state.nextTask
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let waits = state.withLock { state in
                    if state.generation != seen || state.cancelled.contains(id) { return false }
                    state.tasks[id] = continuation
                    return true
                }
                if !waits { continuation.resume() }
            }
        } onCancel: {
            let task: CheckedContinuation<Void, Never>? = state.withLock { state in
                if let task = state.tasks.removeValue(forKey: id) { return task }
                state.cancelled.insert(id)
                return nil
            }
            task?.resume()
        }
        state.withLock { _ = $0.cancelled.remove(id) }
    }
}
