internal import VarveIO

extension Engine {
    /// What the store holds, does and waits for now.
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
        result.failure = health.failure?.description
        result.backgroundFailure = health.passing?.description
        result.writePressure = gate.current.text
        for (cause, wait) in gate.statistics {
            result.waits[cause.rawValue] = (wait.count, wait.nanoseconds)
        }
        let reading = writing?.pipeline.reading
        let position = reading?.position ?? openedAt
        result.timeline = position.timeline.description
        result.appendedLSN = position.lsn
        result.runningHash = position.runningHash
        result.lastCommitTime = reading?.lastCommitTime ?? openedCommitTime
        if let writing, let reading { addWriting(writing, reading, to: &result) }
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
            result.waits["slowSync"] = (log.sync.laggedWrites, UInt64(max(0, log.sync.laggedNanoseconds)))
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
        result.entriesRewritten = compactions.rewritten
        if options.hasBudget { result.budgetShare = writing.compaction.occupancy }
        result.tableBudgetBytes = writing.compaction.tableBudget
    }
}
