extension Cache {
    /// The values of many keys; those that the cache has not are asked for in one call of `load` and stored. Keys that it
    /// brings no value for are left out. Keys whose load is under way already are waited for, not asked for again.
    public func values(
        for keys: [Key], load: @escaping @Sendable ([Key]) async throws -> [Key: Value]
    ) async throws -> [Key: Value] {
        var found: [Key: Value] = [:]
        var missing: [Key] = []
        for key in Set(keys) {
            if let value = try await value(for: key) { found[key] = value } else { missing.append(key) }
        }
        if missing.isEmpty { return found }
        let batch = BatchLoad(missing, load)
        try await withThrowingTaskGroup(of: (Key, Value?).self) { group in
            for key in missing {
                group.addTask {
                    (key, try await self.value(for: key, loading: { Loaded(try await batch.value(for: $0)) }))
                }
            }
            for try await (key, value) in group { found[key] = value }
        }
        return found
    }
}

/// One call for many keys, made when the first of them is asked for and shared by all; cancelled when all of them are.
private actor BatchLoad<Key: CacheKey, Value: Sendable> {
    private let keys: [Key]
    private let load: @Sendable ([Key]) async throws -> [Key: Value]
    private var call: Task<[Key: Value], any Error>?
    private var waiting = 0

    init(_ keys: [Key], _ load: @escaping @Sendable ([Key]) async throws -> [Key: Value]) {
        self.keys = keys
        self.load = load
    }

    func value(for key: Key) async throws -> Value? {
        let call = self.call ?? Task { [keys, load] in try await load(keys) }
        self.call = call
        waiting += 1
        return try await withTaskCancellationHandler {
            try await call.value[key]
        } onCancel: {
            Task { await self.leave() }
        }
    }

    private func leave() {
        waiting -= 1
        if waiting == 0 { call?.cancel() }
    }
}
