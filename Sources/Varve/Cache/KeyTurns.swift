internal import Synchronization

/// Gives each key to one task at a time, in the order in which they came. Any task; nothing is kept of a key that nobody
/// has.
final class KeyTurns<Key: CacheKey>: Sendable {
    private struct Waiter {
        let id: UInt64
        let continuation: CheckedContinuation<Bool, Never>
    }
    private struct State {
        /// By key that a task has, who waits for it.
        var queues: [Key: [Waiter]] = [:]
        var nextID: UInt64 = 0
        /// Waiters that were cancelled before they stood in a queue.
        var cancelled: Set<UInt64> = []
    }
    private let state = Mutex(State())

    /// How many keys somebody has.
    var count: Int { state.withLock { $0.queues.count } }

    /// Runs `body` when it is this task's turn with the key.
    /// - Throws: `CancellationError` where the task is cancelled before its turn has come; what `body` throws.
    func withTurn<R: Sendable>(_ key: Key, _ body: () async throws -> R) async throws -> R {
        guard await begin(key) else { throw CancellationError() }
        defer { end(key) }
        return try await body()
    }

    private func begin(_ key: Key) async -> Bool {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let isMine = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if state.cancelled.contains(id) { return false }
                    if state.queues[key] == nil {
                        state.queues[key] = []
                        return true
                    }
                    state.queues[key]?.append(Waiter(id: id, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter: Waiter? = state.withLock { state in
                guard let place = state.queues[key]?.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return nil
                }
                return state.queues[key]?.remove(at: place)
            }
            waiter?.continuation.resume(returning: false)
        }
        state.withLock { _ = $0.cancelled.remove(id) }
        return isMine
    }

    private func end(_ key: Key) {
        let next: Waiter? = state.withLock { state in
            guard state.queues[key]?.isEmpty == false else {
                state.queues[key] = nil
                return nil
            }
            return state.queues[key]?.removeFirst()
        }
        next?.continuation.resume(returning: true)
    }
}
