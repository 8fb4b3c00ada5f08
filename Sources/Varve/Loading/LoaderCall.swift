internal import Synchronization
internal import VarveIO

/// One call of a user's loader or origin, for one key or many, in a task of its own: whoever waits for it goes when it is cancelled
/// or out of time, whether or not the loader takes notice. What the loader brings after that is dropped.
final class LoaderCall<Value: Sendable>: Sendable {
    typealias Outcome = Result<Value, any Error>

    private struct State {
        var outcome: Outcome?
        var waiter: CheckedContinuation<Value, any Error>?
    }
    private let state = Mutex(State())

    /// The first end counts.
    private func end(_ outcome: Outcome) {
        let waiter = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            if state.outcome != nil { return nil }
            state.outcome = outcome
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(with: outcome)
    }

    private var value: Value {
        get async throws {
            try await withCheckedThrowingContinuation { continuation in
                let outcome: Outcome? = state.withLock { state in
                    if let outcome = state.outcome { return outcome }
                    state.waiter = continuation
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        }
    }

    /// What `load` returns or throws; `timeout` after the limit; where the caller's task is cancelled and that ends it,
    /// `CancellationError` at once. In either case the loader's task is cancelled.
    static func run(
        atMost limit: Duration, or timeout: any Error, endsWhenCancelled: Bool = true,
        _ load: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let call = LoaderCall()
        let task = Task {
            let outcome: Outcome
            do { outcome = .success(try await load()) } catch { outcome = .failure(error) }
            call.end(outcome)
        }
        let timer = Task {
            try await Task.sleep(for: limit.clampedForTimers)
            call.end(.failure(timeout))
            task.cancel()
        }
        defer { timer.cancel() }
        return try await withTaskCancellationHandler {
            try await call.value
        } onCancel: {
            if endsWhenCancelled { call.end(.failure(CancellationError())) }
            task.cancel()
        }
    }
}
