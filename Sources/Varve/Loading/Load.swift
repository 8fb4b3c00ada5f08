internal import Synchronization

/// One load that any number of callers wait for. A caller that is cancelled leaves; the last one to leave cancels it.
///
/// State machine: waiting -> finished (with a result), or waiting -> abandoned (nobody waits any more). A refresh in the
/// background holds a place of its own, so that it is not abandoned.
final class Load<Value: Sendable>: Sendable {
    typealias Outcome = Result<Value?, any Error>

    private struct State {
        /// Places taken: callers that wait or are about to, and the refresh in the background.
        var places = 1
        var waiters: [UInt64: CheckedContinuation<Value?, any Error>] = [:]
        var timers: [UInt64: Task<Void, any Error>] = [:]
        var nextID: UInt64 = 0
        var outcome: Outcome?
        var isAbandoned = false
        var task: Task<Void, Never>?
    }

    private let state = Mutex(State())

    /// The creator has the first place.
    init() {}

    /// Takes a place; false where the load was abandoned, and another must be begun.
    func join() -> Bool {
        state.withLock { state in
            if state.isAbandoned { return false }
            state.places += 1
            return true
        }
    }

    /// Gives the load the task that carries it out.
    func begin(_ task: Task<Void, Never>) {
        let isAbandoned = state.withLock { state in
            state.task = task
            return state.isAbandoned
        }
        if isAbandoned { task.cancel() }
    }

    func finish(_ outcome: Outcome) {
        let (waiters, timers) = state.withLock { state in
            state.outcome = outcome
            state.task = nil
            defer { (state.waiters, state.timers) = ([:], [:]) }
            return (state.waiters, state.timers)
        }
        for timer in timers.values { timer.cancel() }
        for waiter in waiters.values { waiter.resume(with: outcome) }
    }

    /// Gives a place back without waiting; the last one that goes cancels the load.
    func leave() {
        let task: Task<Void, Never>? = state.withLock { state in
            state.places -= 1
            guard state.places == 0, state.outcome == nil else { return nil }
            state.isAbandoned = true
            return state.task
        }
        task?.cancel()
    }

    /// Waits for the outcome in the place that the caller has taken, and gives it back.
    /// - Parameter timeout: after which to stop waiting, with `LoadTimeout`; the load goes on for the others.
    func wait(atMost timeout: Duration? = nil) async throws -> Value? {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        defer { leave() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome: Outcome? = state.withLock { state in
                    if let outcome = state.outcome { return outcome }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.waiters[id] = continuation
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) } else { startTimer(id, timeout) }
            }
        } onCancel: {
            stopWaiting(id, CancellationError())
        }
    }

    /// After the waiter stands in its place, so that it cannot miss it.
    private func startTimer(_ id: UInt64, _ timeout: Duration?) {
        guard let timeout else { return }
        let timer = Task {
            try await Task.sleep(for: timeout)
            stopWaiting(id, LoadTimeout(isSoft: true))
        }
        let isWaiting = state.withLock { state in
            guard state.waiters[id] != nil else { return false }
            state.timers[id] = timer
            return true
        }
        if !isWaiting { timer.cancel() }
    }

    private func stopWaiting(_ id: UInt64, _ error: any Error) {
        let (waiter, timer) = state.withLock { state in
            (state.waiters.removeValue(forKey: id), state.timers.removeValue(forKey: id))
        }
        timer?.cancel()
        waiter?.resume(throwing: error)
    }
}

/// A load took longer than its caller would wait.
public struct LoadTimeout: Error, Sendable, CustomStringConvertible {
    /// Whether only the caller stopped waiting; else the load itself was given up.
    public let isSoft: Bool
    public var description: String {
        isSoft ? "the load goes on, but took longer than its caller would wait" : "the load took too long"
    }
}
