extension CacheStore {
    /// `Cache.ready` of all caches that are open here now: returns when each of them is ready, or when `limit` has passed.
    /// What is worst is returned: `.timedOut` before `.budgetUsedUp`, that before `.hitRatioReached`, and `.done` where all are
    /// done.
    /// - Parameters:
    ///   - share: 0...1, of what memory answered before the restart, in each cache.
    ///   - limit: how long it waits at most.
    @discardableResult
    public func ready(share: Double = 0.95, atMost limit: Duration = .seconds(30)) async -> WarmUpOutcome {
        await withTaskGroup(of: WarmUpOutcome.self) { group in
            for cache in caches.all { group.addTask { await cache.ready(share, limit) } }
            let outcomes = await group.reduce(into: Set<WarmUpOutcome>()) { $0.insert($1) }
            return [.timedOut, .budgetUsedUp, .hitRatioReached].first { outcomes.contains($0) } ?? .done
        }
    }
}
