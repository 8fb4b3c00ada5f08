public import VarveEngine

extension Cache {
    /// Changes what this cache may take on disk (``CacheOptions/diskQuota``), until it is opened again; nil: as much as its
    /// store has. A lower one is reached in the background. Nothing happens without a disk.
    /// - Throws: `.invalidArgument` for a quota that is too small, or above what the store may take.
    public func setDiskQuota(_ quota: CacheLimit?) throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
        try quota?.validateAsQuota()
        try disk?.setQuota(quota)
    }
}

extension DiskTier {
    func setQuota(_ quota: CacheLimit?) throws(VarveError) {
        let store = engine.statistics
        switch quota?.unit {
        case .bytes?: try DiskTier.check(quota, isWithin: store.diskBudgetBytes)
        case .entries?: try DiskTier.check(quota, isWithin: store.diskBudgetEntries)
        case nil: break
        }
        try engine.setLimit(quota?.namespaceLimit, of: namespace)
    }

    private static func check(_ quota: CacheLimit?, isWithin limit: UInt64?) throws(VarveError) {
        guard let quota, let limit, UInt64(max(0, quota.amount)) > limit else { return }
        throw VarveError(
            .invalidArgument, "a cache's quota on disk of \(quota.amount) is above what its store may take, \(limit)")
    }
}
