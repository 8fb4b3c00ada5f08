extension Cache {
    /// Brings home the values of many keys in one call. A key that is missing from what it returns is one that the source
    /// has not.
    public typealias BatchLoader = @Sendable ([Key]) async throws -> [Key: Loaded<Value>]

    /// The values of many keys; those that the cache has not are asked for in one call of `load` and stored. Keys that
    /// it brings no value for are left out. Keys whose load is under way already are waited for, not asked for again.
    /// Stale values are served as they are, whatever the soft timeout, and asked for in the same call, but not waited for.
    /// Each key is judged when it is found, though the others take their time.
    ///
    /// To the circuit breaker the call is one, and so is its failure; back-off goes by key: a key that is to be left
    /// alone is not asked for, the others are.
    /// - Throws: once every key's load has ended and what came is stored (at once where the task is cancelled): what
    ///   `load` threw, or another's load that was waited for; else `LoadRefused` where a key was left alone;
    ///   `LoadTimeout` and `LoadRefused` as the options say; `CancellationError` where the task is cancelled; `VarveError` of
    ///   the disk. `values(for:)` returns what is there none the less.
    public func values(
        for keys: [Key], load: @escaping @Sendable ([Key]) async throws -> [Key: Value]
    ) async throws -> [Key: Value] {
        try await values(for: keys, loading: { keys in try await load(keys).mapValues { Loaded<Value>($0) } })
    }

    /// The same for a loader that says more than values: their expiry, tags, source versions, or that there are none.
    /// - Throws: as `values(for:load:)`.
    public func values(for keys: [Key], loading load: @escaping BatchLoader) async throws -> [Key: Value] {
        var found: [Key: Value] = [:]
        var missing: [Key] = []
        var stale: [Key] = []
        // Fresh yet, and to be refreshed ahead of their deadlines.
        var early: [Key] = []
        for key in Set(keys) {
            switch memory.lookUp(key) {
            case .hit(let value): found[key] = value
            // That the source has none is known.
            case .absent: break
            case .due(let value):
                found[key] = value
                early.append(key)
            case .stale(let value):
                found[key] = value
                stale.append(key)
            case .miss:
                let (entry, fresh) = try foundAtOnce(key, .miss)
                if let entry {
                    found[key] = entry.value
                    if entry.value != nil, fresh == nil { stale.append(key) }
                } else {
                    missing.append(key)
                }
            }
        }
        if missing.isEmpty, stale.isEmpty, early.isEmpty { return found }
        var outcomes = try await outcomes(for: missing, behind: stale + early, load)
        let outdated = outcomes.compactMapValues(\.outdated)
        if !outdated.isEmpty {
            let again = try await self.outcomes(for: Array(outdated.keys), after: outdated, load)
            outcomes.merge(again) { _, second in second }
        }
        for (key, outcome) in outcomes { if case .success(let value) = outcome.result { found[key] = value } }
        // What was found stale where it had to be waited for is served so; somebody may have seen to it meanwhile.
        let late = outcomes.filter(\.value.isStale).map(\.key)
        let due = late.filter { outcomes[$0]?.isBeingRefreshed == false && !isFresh($0) }
        if !due.isEmpty, !Task.isCancelled { _ = try await self.outcomes(for: [], behind: due, load) }
        if let error = worst(keys.compactMap { outcomes[$0]?.result }) { throw error }
        for _ in 0..<stale.count + late.count { counts.add(.staleServed) }
        return found
    }

    /// Whether memory has a value that is due for no refresh.
    private func isFresh(_ key: Key) -> Bool {
        let hash = memory.hash(key)
        guard let held = memory.withShard(hash, { $0.peek(key, hash) }), isLive(held) else { return false }
        return held.deadlines.freshUntil > store.clock.now()
    }

    /// How the load of one of many keys ended.
    private struct Outcome: Sendable {
        var result: Result<Value?, any Error>
        /// Where the next load stands, if this one's result was outdated before this caller came: the key must be loaded
        /// again.
        var outdated: Successor<Value>?
        /// Whether it is due for a refresh.
        var isStale = false
        /// It was found beside one.
        var isBeingRefreshed = false
    }

    /// How the loads of many keys ended, once all of them have. `after`: those whose results were outdated. `behind`: keys
    /// that are asked for in the same call, and that nobody waits for: those of them that are not to be left alone.
    private func outcomes(
        for keys: [Key], after outdated: [Key: Successor<Value>] = [:], behind due: [Key] = [],
        _ load: @escaping BatchLoader
    ) async throws -> [Key: Outcome] {
        let now = store.clock.now()
        let stale = due.filter { !loadGuard.refuses($0, at: now) }
        if keys.isEmpty, stale.isEmpty { return [:] }
        let batch = BatchLoad<Key, Value>(keys + stale) { keys in
            try await self.ask(for: keys) { try await load(keys) }
        }
        for key in stale {
            // Where the cache is just being closed there is none.
            let seat = try? place(key, memory.hash(key), isBackground: true, skipsDisk: true, from: .batch(batch))
            if seat?.isNew != true { await batch.end(key) }
        }
        return try await withThrowingTaskGroup(of: (Key, Outcome).self) { group in
            for (index, key) in keys.enumerated() {
                let seat: Seat
                do {
                    seat = try place(
                        key, memory.hash(key), skipsDisk: false, after: outdated[key], from: .batch(batch))
                } catch {
                    // The cache was closed: what has begun must not wait for what will not.
                    for key in keys[index...] { await batch.end(key) }
                    throw error
                }
                // Another's load may wait for a batch of its own, which may wait for a key of this one.
                if !seat.isNew { await batch.end(key) }
                let isFirst = outdated[key] == nil
                group.addTask { (key, await self.ending(of: key, in: seat, isFirst: isFirst)) }
            }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    private func ending(of key: Key, in seat: Seat, isFirst: Bool) async -> Outcome {
        defer { seat.load.leave() }
        do {
            let looked = try await look(key, memory.hash(key), in: seat)
            let found: Load<Value>.Found
            if let looked { found = looked } else { found = try await seat.load.wait() }
            let isBeingRefreshed = looked != nil && found.isStale
            if isBeingRefreshed { seat.load.goOn() }
            return Outcome(
                result: .success(found.value),
                outdated: looked == nil && isFirst && isOutdated(found, for: seat) ? seat.successor : nil,
                isStale: found.isStale, isBeingRefreshed: isBeingRefreshed)
        } catch {
            return Outcome(result: .failure(error))
        }
    }

    /// The first failure of a call, else the first refusal.
    private func worst(_ outcomes: [Result<Value?, any Error>]) -> (any Error)? {
        let errors = outcomes.compactMap { outcome in
            if case .failure(let error) = outcome { error } else { (any Error)?.none }
        }
        return errors.first { !($0 is LoadRefused) } ?? errors.first
    }
}
