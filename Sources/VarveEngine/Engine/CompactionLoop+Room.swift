internal import Synchronization

/// A budget in entries is kept by flushes that wait: one more table comes when sweeps have made room for it, so tables are
/// above their budget by one flush at most.
extension CompactionLoop {
    /// Whether tables are within their budget of entries, or above it with nothing to be done about that: what is pinned,
    /// or held by a snapshot, must not keep others from being written for ever. Nor must a compaction that somebody asked
    /// for, which may take its time, nor one that finds the disk full: what is flushed lets log go.
    var hasRoomForFlush: Bool {
        let version = store.versions.version
        if excessEntries(version) == 0 || store.health.passing != nil { return true }
        return state.withLock { $0.settledAt == version.flushed.lsn || !$0.requests.isEmpty }
    }

    /// There was nothing to carry out, as of what had been flushed.
    func noteSettled(at flushed: LSN) { state.withLock { $0.settledAt = flushed } }

    /// How far entries are above the budget for them, in permille of it, 1 at least; 0: within.
    func excessEntries(_ version: Version) -> UInt64 {
        guard let budget = store.options.diskBudgetEntries else { return 0 }
        let count = version.putCount
        guard count > budget else { return 0 }
        return max(1, UInt64(Double(count - budget) / Double(budget) * 1000))
    }
}
