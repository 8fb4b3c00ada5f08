internal import Synchronization

/// One call for many keys, shared by their loads; cancelled when all of them are.
///
/// The call is made once each of the loads has arrived here or ended elsewhere: so every one of them has begun before the
/// source is asked, and finds out what changed since.
actor BatchLoad<Key: CacheKey, Value: Sendable> {
    /// Asks the source for some keys, and says how long that took.
    typealias Ask = @Sendable ([Key]) async throws -> (answer: [Key: Loaded<Value>], took: Int64)

    private final class Call: Sendable {
        let task: Task<(answer: [Key: Loaded<Value>], took: Int64), any Error>
        let places: Atomic<Int>
        init(_ keys: [Key], _ ask: @escaping Ask) {
            places = Atomic(keys.count)
            task = Task { try await ask(keys) }
        }

        /// One of the loads was cancelled; with the last one goes the call.
        func leave() {
            if places.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { task.cancel() }
        }
    }

    private let ask: Ask
    /// Keys whose loads have neither arrived nor ended.
    private var awaited: Set<Key>
    private var arrived: [Key] = []
    private var waiting: [CheckedContinuation<Call, Never>] = []
    private var call: Call?

    init(_ keys: [Key], _ ask: @escaping Ask) {
        awaited = Set(keys)
        self.ask = ask
    }

    /// The key's load ended, or it never was this batch's.
    func end(_ key: Key) {
        awaited.remove(key)
        beginIfReady()
    }

    /// What the call brings for a key, and how long it took. Nothing that comes after the key's load was given up.
    func answer(for key: Key) async throws -> (loaded: Loaded<Value>, took: Int64) {
        // One that nobody waits for any more is not asked for; it ends.
        try Task.checkCancellation()
        precondition(awaited.remove(key) != nil, "a key arrives once, and not after its end: the call waits for it")
        arrived.append(key)
        let call = await withCheckedContinuation {
            waiting.append($0)
            beginIfReady()
        }
        let (answer, took) = try await withTaskCancellationHandler {
            try await call.task.value
        } onCancel: {
            call.leave()
        }
        try Task.checkCancellation()
        return (answer[key] ?? Loaded(nil), took)
    }

    private func beginIfReady() {
        guard awaited.isEmpty, call == nil, !arrived.isEmpty else { return }
        let call = Call(arrived, ask)
        self.call = call
        for waiter in waiting { waiter.resume(returning: call) }
        waiting = []
    }
}
