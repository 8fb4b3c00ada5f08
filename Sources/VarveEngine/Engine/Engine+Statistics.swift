internal import VarveIO

extension Engine {
    /// What the store holds, does and waits for now, as a whole: `statisticsByNamespace` says more.
    public var statistics: EngineStatistics {
        var result = EngineStatistics()
        let state = versions.state
        let version = versions.version
        result.storeID = state.identity.storeID.description
        result.nodeID = state.identity.nodeID.description
        result.role = role.rawValue
        result.visibleLSN = visibleLSN
        result.flushedLSN = version.flushed.lsn
        result.storeClock = clock.now()
        result.levels = version.levels.map { level in
            EngineStatistics.Level(
                tables: level.tables.count, bytes: level.bytes,
                entries: level.tables.reduce(0) { $0 &+ $1.properties.entryCount })
        }
        result.tableBytes = version.tableBytes
        result.tableEntries = version.putCount
        result.expiredBytes = CompactionPicker.expiredBytes(version, at: result.storeClock)
        result.diskBudgetBytes = options.diskBudgetBytes
        result.diskBudgetEntries = options.diskBudgetEntries
        result.sealedMemtables = keeper.sealedCount
        result.snapshots = snapshots.count
        result.slots = state.slots.values.sorted { $0.name < $1.name }.map {
            EngineStatistics.Slot(name: $0.name, lsn: $0.lsn, capBytes: $0.capBytes)
        }
        result.logSegments = catalog.segments.count
        result.oldestLSN = catalog.oldestLSN ?? .zero
        let cache = tables.cache.statistics
        result.blockCacheHits = cache.hits
        result.blockCacheMisses = cache.misses
        result.blockCacheBytes = UInt64(cache.bytes)
        result.degradedMark = degradedMark
        result.failure = troubles.failure?.description
        result.backgroundFailure = (health.passing ?? health.damage)?.description
        result.writePressure = gate.current.text
        let waits = gate.statistics
        (result.writesDelayed, result.writesStopped) = (waits.delayed, waits.stopped)
        for (cause, wait) in waits.byCause { result.addWaits(cause.rawValue, wait.count, wait.nanoseconds) }
        let reading = writing?.pipeline.reading
        let position = reading?.position ?? openedAt
        result.timeline = position.timeline.description
        result.appendedLSN = position.lsn
        result.runningHash = position.runningHash
        result.lastCommitTime = reading?.lastCommitTime ?? openedCommitTime
        if let writing, let reading { addWriting(writing, reading, to: &result) }
        return result
    }

    /// What the store holds, does and waits for now, and each namespace of it. Blocks where their names have to be read.
    public func statisticsByNamespace() throws(VarveError) -> EngineStatistics {
        _ = try namespaces()
        var result = statistics
        result.namespaces = namespaceUse(writing?.pipeline.reading)
        return result
    }

    /// What one namespace has in tables, and what was done for it since the store was opened.
    public func statistics(of namespace: Namespace) -> EngineStatistics.NamespaceUse {
        use(of: namespace.id, accounts[namespace.id], versions.version.namespaceUse, writing?.pipeline.reading)
    }

    private func namespaceUse(_ reading: CommitPipeline.Reading?) -> [EngineStatistics.NamespaceUse] {
        let present = versions.version.namespaceUse
        let known = Set(accounts.all.keys).union(present.of.keys).union([.default])
        return known.filter { $0 >= .firstUser }.sorted().map { use(of: $0, accounts[$0], present, reading) }
    }

    private func use(
        of id: NamespaceID, _ account: NamespaceAccount, _ present: NamespaceUse, _ reading: CommitPipeline.Reading?
    ) -> EngineStatistics.NamespaceUse {
        var result = EngineStatistics.NamespaceUse()
        let state = account.state
        result.name = id == .default ? Namespace.default.name : state.name
        result.id = id.rawValue
        result.limit = state.limit
        (result.entries, result.bytes) = (present[id].entries, present[id].bytes)
        result.entriesEvicted = state.counts.evicted
        result.bytesFlushed = state.counts.bytesFlushed
        result.entriesRewritten = state.counts.entriesRewritten
        result.bytesRewritten = state.counts.bytesRewritten
        // What an engine has carried over to the account counts there.
        let logged = state.carried >= opening ? nil : reading?.counts.traffic[id]
        result.recordsLogged = state.logged.records &+ (logged?.records ?? 0)
        result.bytesLogged = state.logged.bytes &+ (logged?.bytes ?? 0)
        return result
    }

    private func addWriting(
        _ writing: WritingParts, _ reading: CommitPipeline.Reading, to result: inout EngineStatistics
    ) {
        result.visibleLSN = reading.visible
        result.syncedLSN = reading.synced
        result.batches = reading.counts.batches
        result.records = reading.counts.records
        result.payloadBytes = reading.counts.payloadBytes
        result.commitTimesHeldBack = reading.heldBack
        result.memtableBytes = UInt64(
            reading.activeBytes + keeper.sealed.reduce(0) { $0 + $1.memtable.approximateBytes })
        let log = writing.log.statistics
        result.logBytesAppended = log.frameBytes
        result.logBytes = writing.compaction.logBytes
        result.syncs = log.sync.syncs
        result.longestSyncNanoseconds = log.sync.longestNanoseconds
        if log.sync.laggedWrites > 0 {
            result.writesDelayed &+= log.sync.laggedWrites
            result.addWaits("slowSync", log.sync.laggedWrites, UInt64(max(0, log.sync.laggedNanoseconds)))
        }
        let flushes = writing.flushing.statistics
        result.flushes = flushes.flushes
        result.flushedBytes = flushes.bytes
        let compactions = writing.compaction.statistics
        result.compactions = compactions.compactions
        result.compactedBytesRead = compactions.bytesRead
        result.compactedBytesWritten = compactions.bytesWritten
        result.tablesDroppedExpired = compactions.tablesDropped
        result.entriesEvicted = compactions.evicted
        result.entriesExpired = compactions.expired
        result.entriesInvalidated = compactions.invalidated
        result.entriesRewritten = compactions.rewritten
        if options.hasBudget { result.budgetShare = writing.compaction.occupancy }
        result.tableBudgetBytes = writing.compaction.tableBudget
    }
}

extension EngineStatistics {
    fileprivate mutating func addWaits(_ cause: String, _ count: UInt64, _ nanoseconds: UInt64) {
        waits[cause] = (count, nanoseconds)
        writeWaitNanoseconds &+= nanoseconds
    }
}
