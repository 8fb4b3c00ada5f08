internal import Synchronization

extension Cache {
    /// The values of many keys; those that the cache has not are asked for in one call of `load` and stored. Keys that it
    /// brings no value for are left out. Keys whose load is under way already are waited for, not asked for again.
    public func values(
        for keys: [Key], load: @escaping @Sendable ([Key]) async throws -> [Key: Value]
    ) async throws -> [Key: Value] {
        var found: [Key: Value] = [:]
        var missing: [Key] = []
        for key in Set(keys) {
            switch memory.lookUp(key) {
            case .hit(let value): found[key] = value
            // That the source has none is known.
            case .absent: break
            case .stale(let value): found[key] = value
            case .miss:
                if let entry = try foundAtOnce(key, .miss).entry {
                    found[key] = entry.value
                } else {
                    missing.append(key)
                }
            }
        }
        if missing.isEmpty { return found }
        let batch = BatchLoad(missing, load)
        try await withThrowingTaskGroup(of: (Key, Value?).self) { group in
            for key in missing {
                let shared: Load<Value>
                let isNew: Bool
                do {
                    (shared, isNew) = try place(key, memory.hash(key), skipsDisk: false) { key in
                        Loaded(try await batch.value(for: key))
                    }
                } catch {
                    // The cache was closed: what has begun must not wait for what will not.
                    for key in missing { await batch.end(key) }
                    throw error
                }
                // Another's load may wait for a batch of its own, which may wait for a key of this one.
                if !isNew { await batch.end(key) }
                group.addTask {
                    defer { shared.leave() }
                    let outcome: Result<Value?, any Error>
                    do { outcome = .success(try await shared.wait().value) } catch { outcome = .failure(error) }
                    await batch.end(key)
                    return (key, try outcome.get())
                }
            }
            for try await (key, value) in group { found[key] = value }
        }
        return found
    }
}

/// One call for many keys, shared by their loads; cancelled when all of them are.
///
/// The call is made once each of the loads has arrived here or ended elsewhere: so every one of them has begun before the
/// source is asked, and finds out what changed since.
private actor BatchLoad<Key: CacheKey, Value: Sendable> {
    private final class Call: Sendable {
        let task: Task<[Key: Value], any Error>
        let places: Atomic<Int>
        init(_ keys: [Key], _ load: @escaping @Sendable ([Key]) async throws -> [Key: Value]) {
            places = Atomic(keys.count)
            task = Task { try await load(keys) }
        }

        /// One of the loads was cancelled; with the last one goes the call.
        func leave() {
            if places.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { task.cancel() }
        }
    }

    private let load: @Sendable ([Key]) async throws -> [Key: Value]
    /// Keys whose loads have neither arrived nor ended.
    private var awaited: Set<Key>
    private var arrived: [Key] = []
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var call: Call?

    init(_ keys: [Key], _ load: @escaping @Sendable ([Key]) async throws -> [Key: Value]) {
        awaited = Set(keys)
        self.load = load
    }

    /// The key's load ended, or it never was this batch's.
    func end(_ key: Key) {
        awaited.remove(key)
        beginIfReady()
    }

    func value(for key: Key) async throws -> Value? {
        awaited.remove(key)
        // Where the call was made without it, because its first caller had gone, it gets one of its own.
        let isLate = call != nil
        if !isLate {
            arrived.append(key)
            beginIfReady()
            if call == nil { await withCheckedContinuation { waiting.append($0) } }
        }
        let call = isLate ? Call([key], load) : self.call ?? Call([key], load)
        return try await withTaskCancellationHandler {
            try await call.task.value[key]
        } onCancel: {
            call.leave()
        }
    }

    private func beginIfReady() {
        guard awaited.isEmpty, call == nil, !arrived.isEmpty else { return }
        call = Call(arrived, load)
        for waiter in waiting { waiter.resume() }
        waiting = []
    }
}
