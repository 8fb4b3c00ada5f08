internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// Makes floors of source versions durable in the degraded mark, for many writers with one sync: what comes while one is
/// under way shares the next.
final class FloorRaises: Sendable {
    private struct Waiting: Sendable {
        let raise: DegradedMark.Raise
        let continuation: CheckedContinuation<VarveError?, Never>
    }
    private struct State: Sendable {
        var waiting: [Waiting] = []
        /// Whether a thread serves who waits.
        var isServed = false
    }

    private let mark: DegradedMark
    private let state = Mutex(State())

    init(_ mark: DegradedMark) { self.mark = mark }

    /// How many wait for the next sync.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Returns once it is durable.
    func raise(_ raise: DegradedMark.Raise) async throws(VarveError) {
        let refusal: VarveError? = await withCheckedContinuation { continuation in
            let isFirst = state.withLock { state in
                state.waiting.append(Waiting(raise: raise, continuation: continuation))
                defer { state.isServed = true }
                return !state.isServed
            }
            if isFirst { Task { await IOThread.run(name: "varve-mark") { self.serve() } } }
        }
        if let refusal { throw refusal }
    }

    private func serve() {
        while let group = take() {
            var refusal: VarveError?
            do throws(VarveError) { try mark.raise(group.map(\.raise)) } catch { refusal = error }
            for waiting in group { waiting.continuation.resume(returning: refusal) }
        }
    }

    /// Who waits now; nil, and the thread ends, where nobody does.
    private func take() -> [Waiting]? {
        state.withLock { state in
            defer { state.waiting = [] }
            if state.waiting.isEmpty { state.isServed = false }
            return state.waiting.isEmpty ? nil : state.waiting
        }
    }
}
