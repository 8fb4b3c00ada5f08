public import VarveEngine

extension Cache {
    /// Where a feed begins that is to tell of every change from now on, for a `changes(since:)` to come: take it, then read
    /// what there is, then follow.
    /// - Throws: `.invalidArgument` for a cache in memory alone, which has no log; `.closed`.
    public var changeCursor: ChangeCursor {
        get throws(VarveError) { try withLog("has no place in a log").engine.changeCursor }
    }

    /// Where a feed begins that is to tell of every change that the log still holds.
    /// - Throws: as `changeCursor`.
    public var oldestChangeCursor: ChangeCursor {
        get throws(VarveError) { try withLog("has no place in a log").engine.oldestChangeCursor }
    }

    /// Where a feed begins that is to tell of every change after a write: of the version that `set` and its like return.
    /// - Throws: `.notContinuing` for a version of another store, or of a history that this one has left; else as `changeCursor`.
    public func changeCursor(after version: EntryVersion) throws(VarveError) -> ChangeCursor {
        let disk = try withLog("has no place in a log")
        let cursor = try changeCursor(after: LSN(version.number))
        guard cursor.history == version.history || disk.engines.history == version.history else {
            throw VarveError(
                .notContinuing, "version \(version) is not of the history that the store is in; begin anew")
        }
        return cursor
    }

    /// The same for a place in the log as such, in the store's present history. Whether the log still reaches back to it
    /// `changes` says.
    /// - Throws: as `changeCursor`.
    public func changeCursor(after lsn: LSN) throws(VarveError) -> ChangeCursor {
        try withLog("has no place in a log").engine.cursor(at: lsn)
    }

    /// The changes of this cache after a place, in the order in which they happened; nil: from now on.
    ///
    ///     for try await change in try quotes.changes(since: cursor) {
    ///         switch change.event {
    ///         case .set(let symbol, let quote): await index.update(symbol, quote)
    ///         case .removed(let symbol): await index.remove(symbol)
    ///         default: await index.rebuild()
    ///         }
    ///         cursor = change.cursor
    ///     }
    ///
    /// Told are writes, loads that were stored, removals of every kind, and drops of tags, once they would survive a power
    /// cut; not what this process alone does to its copies: evictions and expiries. A deadline that reads have moved may
    /// show as a value that is set again.
    /// - Parameters:
    ///   - prefix: keys whose bytes begin so. Drops of tags, and removals of what is older than a source version, are told in
    ///     any case.
    ///   - includingProgress: whether to be told how far the feed has come (`.caughtUp`).
    /// - Throws: `.logGap` where the log no longer reaches back to the place, which a slot prevents (`changeSlot`);
    ///   `.notContinuing` for a place that is not in the store's history; `.degraded` while the store goes on in memory, after
    ///   which a feed from the last cursor goes on without a gap; `.invalidArgument` for a cache in memory alone. The sequence
    ///   throws the same, `.cancelled` with its task, `.closed` with the store, and `.corruption` or `.unsupportedFormat` for a
    ///   change that it cannot read.
    public func changes(
        since cursor: ChangeCursor? = nil, withKeyPrefix prefix: [UInt8] = [], includingProgress: Bool = false
    ) throws(VarveError) -> CacheChanges<Key, Value> {
        let disk = try withLog("has no changes to tell of")
        var scope = ChangeScope(namespaces: [disk.namespace], prefix: prefix)
        scope.includesProgress = includingProgress
        return CacheChanges(
            try disk.engine.changes(scope, since: cursor), ChangeDecoder(coding: coding, prefix: prefix))
    }

    /// A named place in the log, after which it is kept for a feed that comes back, up to a cap in bytes; made where there is
    /// none of that name, at `cursor` or at the present. The name is the store's: one for all its caches. All slots together
    /// keep at most a quarter of what the store may take on disk, 8 GiB where it has no bound.
    /// - Throws: `.invalidArgument` for a cache in memory alone, and for a name that cannot be; `.logGap` and `.notContinuing`
    ///   as `changes` for the place; as `Cache.remove(_:durability:)` where it cannot be written.
    public func changeSlot(
        named name: String, since cursor: ChangeCursor? = nil, capBytes: UInt64? = nil
    ) async throws(VarveError) -> ChangeSlot {
        let engines = try withLog("has no log to keep").engines
        _ = try await engines.current.changeSlot(named: name, since: cursor, capBytes: capBytes)
        // It stands in the store, and goes on where the store goes on with another engine.
        return ChangeSlot(name: name) { engines.current }
    }

    private func withLog(_ lack: String) throws(VarveError) -> DiskTier {
        if let outage = store.outage { throw outage.refusal(of: "it \(lack)") }
        guard let disk else { throw VarveError(.invalidArgument, "a cache in memory alone \(lack)") }
        return disk
    }
}

extension Cache where Key == String {
    /// The changes of keys that begin with this, as `changes(since:withKeyPrefix:includingProgress:)`.
    public func changes(
        since cursor: ChangeCursor? = nil, withPrefix prefix: String, includingProgress: Bool = false
    ) throws(VarveError) -> CacheChanges<Key, Value> {
        try changes(since: cursor, withKeyPrefix: Array(prefix.utf8), includingProgress: includingProgress)
    }
}
