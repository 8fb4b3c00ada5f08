internal import VarveIO

/// The change feed: the log as others may read it.
extension Engine {
    /// Where a feed begins that is to tell of everything written from now on: what a reader that starts now does not see.
    public var changeCursor: ChangeCursor { cursor(at: visibleLSN) }

    /// Where a feed begins that is to tell of everything that the log still holds.
    public var oldestChangeCursor: ChangeCursor {
        guard let oldest = catalog.oldestLSN else { return changeCursor }
        return cursor(at: LSN(oldest.rawValue &- 1))
    }

    /// The place after an LSN in this store's history, which may lie ahead of its end.
    package func cursor(at lsn: LSN) -> ChangeCursor {
        ChangeCursor(timeline: versions.state.timelines.timeline(at: lsn), lsn: lsn)
    }

    /// The store's changes after a place, in the order of the log; nil: after now.
    ///
    /// The log goes when tables hold it. To find it again after a while, keep it by a slot (`changeSlot`).
    /// - Throws: `.logGap`, naming what is held, where the log no longer reaches back; `.notContinuing` for a place that is
    ///   not in this store's history; `.degraded` while a cache goes on in memory alone. The sequence throws the same, and
    ///   `.closed`, `.cancelled`, `.corruption`.
    public func changes(
        _ scope: ChangeScope = ChangeScope(), since start: ChangeCursor? = nil
    ) throws(VarveError) -> ChangeFeed {
        _ = try admitFeed()
        let start = start ?? changeCursor
        try check(scope, start)
        return ChangeFeed(scope) { [weak self] () async throws(VarveError) -> any ChangeSource in
            guard let self, !self.isClosed else { throw VarveError(.closed, "the store was closed") }
            let threads = self.context.feedThreads
            let reader = try await threads.run { () throws(VarveError) in
                try self.makeChangeReader(scope, after: start, try self.admitFeed())
            }
            return LocalChangeSource(reader, scope.namespaces, threads: threads)
        }
    }

    /// Ends every feed, and lets none begin: from now on changes are made that the log does not hold.
    package func shutFeeds(_ cause: VarveError) {
        feedGate.shut(cause.message)
        writing?.log.groupSync.wakeFollowers()
    }

    /// Lets feeds begin again: the log holds everything, durably.
    package func openFeeds() { feedGate.open() }

    /// Lets a feed in, unless what the log tells may be outdated, or is to be dropped by who opens the store to write.
    private func admitFeed() throws(VarveError) -> FeedGate.Admission {
        if hidesEntries, let cause = marked?.cause {
            throw VarveError(
                .degraded,
                "the degraded mark is set (\(cause)): what the log tells was changed in memory alone since, and is dropped by "
                    + "who opens the store to write",
                path: FileName.degraded.path(in: directory))
        }
        return try feedGate.admit()
    }

    private func check(_ scope: ChangeScope, _ start: ChangeCursor) throws(VarveError) {
        try checkHistory(of: start)
        try checkHeld(start)
        guard scope.namespaces.count <= Limits.feedNamespaces, scope.prefix.count <= Limits.keyBytes else {
            throw VarveError(
                .limitExceeded,
                "a feed is of at most \(Limits.feedNamespaces) namespaces, and its prefix has at most \(Limits.keyBytes) bytes"
            )
        }
    }

    func checkHistory(of cursor: ChangeCursor) throws(VarveError) {
        guard versions.state.timelines.contains(cursor.timeline, at: cursor.lsn) else {
            throw VarveError(
                .notContinuing,
                "the cursor \(cursor) is not in this store's history, which took another course; begin anew")
        }
        let end = position.lsn
        guard cursor.lsn <= end else {
            throw VarveError(
                .notContinuing, "the cursor \(cursor) lies ahead of this store, which ends at LSN \(end); begin anew")
        }
    }

    func checkHeld(_ cursor: ChangeCursor) throws(VarveError) {
        guard let oldest = catalog.oldestLSN, oldest > cursor.lsn.next else { return }
        throw VarveError(
            .logGap,
            "the log no longer holds LSN \(cursor.lsn.next): the oldest held is \(oldest); begin anew, and keep log by a slot",
            path: directory)
    }

    /// Reads the log for a feed. Blocks for a sync where the feed ends at what is acknowledged now.
    private func makeChangeReader(
        _ scope: ChangeScope, after start: ChangeCursor, _ admission: FeedGate.Admission
    ) throws(VarveError) -> ChangeReader {
        let filter = ChangeFilter(scope)
        guard let log = writing?.log else {
            let end = openedAt.lsn
            try makeLogDurable()
            return ChangeReader(filter, after: start, through: end, sync: nil, admission: nil) {
                [catalog] (after) throws(VarveError) in
                try LogReader(catalog, through: end, after: after)
            }
        }
        var end = LSN.max
        if !scope.follows {
            end = position.lsn
            try log.groupSync.wait(upTo: end)
        }
        return ChangeReader(filter, after: start, through: end, sync: log.groupSync, admission: admission) {
            (after) throws(VarveError) in
            try LogReader(log, after: after)
        }
    }

    /// The same for a beginning that is yet to be looked up.
    func makeChangeReader(_ scope: ChangeScope, from start: ChangeStart) throws(VarveError) -> ChangeReader {
        let admission = try admitFeed()
        let cursor =
            switch start {
            case .now: changeCursor
            case .oldest: oldestChangeCursor
            case .after(let cursor): cursor
            }
        try check(scope, cursor)
        return try makeChangeReader(scope, after: cursor, admission)
    }

    /// Every change after a place, on this thread, until `visit` returns false or the feed ends; it does not follow.
    package func forEachChange(
        _ scope: ChangeScope, from start: ChangeStart, _ visit: (Change) throws(VarveError) -> Bool
    ) throws(VarveError) {
        var scope = scope
        scope.follows = false
        let reader = try makeChangeReader(scope, from: start)
        while case .chunk(let chunk) = try reader.fill() {
            var changes = try ChangeFeed.reader(chunk, scope.namespaces)
            while let change = try ChangeFeed.next(of: &changes) {
                if case .progress = change.kind, !scope.includesProgress { continue }
                guard try visit(change) else { return }
            }
        }
    }
}
