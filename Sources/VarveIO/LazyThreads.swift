/// A pool of threads that begins with the first work: for what few programs ask for, and must not wait behind something else.
public final class LazyThreads: Sendable {
    private enum State: Sendable {
        case idle
        case running(IOThreads)
        case stopped
    }

    private let name: String
    private let count: Int
    private let state = Monitor(State.idle)

    public init(name: String, count: Int) {
        self.name = name
        self.count = count
    }

    /// Runs `work` on the pool and returns what it returns. Does not block the caller's thread, but where the kernel gives
    /// no thread, or after `shutdown`: then the caller's has to do.
    public func run<Result: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        guard let threads = started() else { return try work() }
        return try await threads.run(work)
    }

    private func started() -> IOThreads? {
        state.withLock { state in
            switch state {
            case .running(let threads): return threads
            case .stopped: return nil
            case .idle:
                guard let threads = try? IOThreads(name: name, count: count) else { return nil }
                state = .running(threads)
                return threads
            }
        }
    }

    /// Finishes what is queued, then ends the threads. Calling twice is fine; not from one of the threads.
    public func shutdown() {
        let running: IOThreads? = state.withLock { state in
            defer { state = .stopped }
            if case .running(let threads) = state { return threads }
            return nil
        }
        running?.shutdown()
    }
}
