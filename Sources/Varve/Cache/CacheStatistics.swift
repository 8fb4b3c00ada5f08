internal import Synchronization
internal import VarveEngine

/// What a cache did in a span of time: counts are of that span, the rest is as it is now.
public struct CacheStatistics: Sendable {
    /// The time that the counts are of.
    public var span: Duration = .zero
    /// Reads that memory answered.
    public var memoryHits: UInt64 = 0
    /// Reads that memory did not answer and the disk did.
    public var diskHits: UInt64 = 0
    /// Reads that neither answered, by the cause that is remembered.
    public var misses: [MissCause: UInt64] = [:]
    /// Calls to the source, for one key or many.
    public var loads: UInt64 = 0
    /// Those of them that failed, timed out ones included.
    public var loadFailures: UInt64 = 0
    /// Loads that back-off or circuit breaker did not let begin; refreshes that nobody would have waited for do not count.
    public var loadsRefused: UInt64 = 0
    /// Loads that took longer than the hard timeout.
    public var loadTimeouts: UInt64 = 0
    /// Callers that waited for a load which another had begun: stampedes avoided.
    public var loadsShared: UInt64 = 0
    /// Loads whose result was not stored, because the key was written, removed or invalidated meanwhile.
    public var loadsOutdated: UInt64 = 0
    /// Loads whose result could not be stored: their callers have it, and memory, where it may.
    public var loadsUnstored: UInt64 = 0
    /// Values, loaded or set, that were refused for the source versions of other keys, which share a place among what is
    /// remembered of entries that went: a miss each. Many of them say that the versions are not comparable between keys.
    public var refusedByFloor: UInt64 = 0
    /// Loads whose result a full disk was spared, because the key was seen for the first time.
    public var diskWritesAvoided: UInt64 = 0
    /// Loads whose result memory held alone and that were written to disk later, because they were used there.
    public var keptForUse: UInt64 = 0
    /// Values served that were stale, while a fresh one was loaded or because it could not be.
    public var staleServed: UInt64 = 0
    /// Entries on disk that the value's coding refused: misses.
    public var undecodable: UInt64 = 0
    /// Reads that threw because the disk could not be read or is damaged. Where the store goes on in memory damage is a miss
    /// instead (`DegradationUse.damagedReads`).
    public var readsFailed: UInt64 = 0
    /// Sets, removals, drops of tags and results of loads that the disk did not take: it is full, fails, or does not keep up.
    /// Where the store goes on in memory, those alone that it could not take there either.
    public var writesFailed: UInt64 = 0
    /// Entries that left memory for want of room.
    public var evictions: UInt64 = 0
    /// Entries that left memory because they had expired.
    public var expired: UInt64 = 0
    /// Entries in memory.
    public var memoryEntries = 0
    /// What they weigh together, in the unit of the limit: bytes, or entries.
    public var memoryWeight = 0
    /// What they may weigh, in the same unit.
    public var memoryLimit = 0
    /// How long it took to find entries on disk that memory did not hold. Memory's hits are not timed: two looks at the
    /// clock cost as much as a hit.
    public var diskReadLatency = LatencyHistogram()
    /// How long loads took, failed ones too.
    public var loadLatency = LatencyHistogram()
    /// How long writes to disk took, their sync included where they waited for it.
    public var writeLatency = LatencyHistogram()
    /// The store on disk, with the other caches in it; nil without a disk.
    public var disk: DiskUse?
    /// What of it is this cache's; nil without a disk.
    public var ownDisk: OwnDiskUse?
    /// What the store did for want of its disk; nil where it does not go on in memory.
    public var degradation: DegradationUse?
    /// Whether nobody need look after the store: `CacheHealth.isHealthy`.
    public var isHealthy = true
    /// Whether the store takes writes: `CacheHealth.isWritable`.
    public var isWritable = true
    /// What the warm-up did, since the cache was opened.
    public var warmUp: WarmUpStatistics?

    /// Nothing counted.
    public init() {}

    /// Reads that were answered, from memory or disk.
    public var hits: UInt64 { memoryHits &+ diskHits }
    /// Every read that was answered or not.
    public var requests: UInt64 { hits &+ misses.values.reduce(0, &+) }
    /// The share of reads that were answered, in 0...1; 0 where there was none.
    public var hitRatio: Double { requests == 0 ? 0 : Double(hits) / Double(requests) }
    /// The share of reads that memory answered.
    public var memoryHitRatio: Double { requests == 0 ? 0 : Double(memoryHits) / Double(requests) }
    /// How full memory is, in 0...1.
    public var memoryUse: Double { memoryLimit == 0 ? 0 : Double(memoryWeight) / Double(memoryLimit) }

    /// What one cache takes on disk, and what was written there for it since the store was opened. Entries that are still in
    /// the store's memory alone are not counted yet, entries that newer ones hide still are.
    public struct OwnDiskUse: Hashable, Sendable {
        /// In tables.
        public var entries: UInt64 = 0
        /// Of tables, as they lie on disk.
        public var bytes: UInt64 = 0
        /// Nil: as much as the store has.
        public var quota: CacheLimit?
        /// Entries written to the log.
        public var entriesLogged: UInt64 = 0
        /// Bytes written to the log, before compression.
        public var bytesLogged: UInt64 = 0
        /// Entries that compactions wrote again.
        public var entriesRewritten: UInt64 = 0
        /// Bytes that flushes and compactions wrote.
        public var bytesRewritten: UInt64 = 0
        /// Dropped for want of room, the store's or the cache's own.
        public var entriesEvicted: UInt64 = 0

        /// Nothing counted.
        public init() {}

        /// How much of the quota is taken: 1 is full; nil without one.
        public var use: Double? {
            quota.map { Double($0.unit == .bytes ? bytes : entries) / Double(max(1, $0.amount)) }
        }
    }

    /// What a store takes on disk, and what it wrote there, in bytes.
    public struct DiskUse: Hashable, Sendable {
        /// Of all tables.
        public var tableBytes: UInt64 = 0
        /// Of the log's segments.
        public var logBytes: UInt64 = 0
        /// Of bytes; nil: no bound, or one in entries.
        public var limit: UInt64?
        /// Entries in tables, those that newer ones hide and the store's own included.
        public var entries: UInt64 = 0
        /// How many of them there may be where the store's bound is in entries: a little less than the bound, which counts
        /// those as well that are not in tables yet. Nil: no bound, or one in bytes.
        public var entryLimit: UInt64?
        /// Written to the log.
        public var bytesLogged: UInt64 = 0
        /// Written by flushes and compactions.
        public var bytesRewritten: UInt64 = 0
        /// Entries appended to the log.
        public var entriesLogged: UInt64 = 0
        /// Entries that compactions wrote again.
        public var entriesRewritten: UInt64 = 0
        /// Entries that compactions dropped for want of room.
        public var entriesEvicted: UInt64 = 0
        /// How often writes were slowed down because the store's background work, or the log's sync, was behind: one write may
        /// count for both.
        public var writesDelayed: UInt64 = 0
        /// How often writes had to wait until it had caught up: each for `maximumStall` at most, then it throws.
        public var writesStalled: UInt64 = 0
        /// What writes waited so in all, in nanoseconds.
        public var nanosecondsWaited: UInt64 = 0

        /// Nothing counted.
        public init() {}

        /// Tables and log together.
        public var bytes: UInt64 { tableBytes &+ logBytes }
        /// How much of the bound is taken, in bytes or entries: 1 is full, and a moment's work may lie above. Nil without one.
        public var use: Double? {
            if let limit { return Double(bytes) / Double(max(1, limit)) }
            return entryLimit.map { Double(entries) / Double(max(1, $0)) }
        }
    }
}

extension Cache {
    /// What the cache did since it was opened. Takes each shard's lock for a moment.
    public var statistics: CacheStatistics {
        let memoryCounts = memory.counts
        var snapshot = CacheStatistics()
        snapshot.span = .nanoseconds(max(0, store.clock.now() &- windows.began))
        snapshot.memoryHits = memoryCounts.hits
        snapshot.diskHits = counts[.diskHit]
        for cause in MissCause.allCases { snapshot.misses[cause] = memoryCounts.causes[cause.rawValue] }
        snapshot.loads = counts[.load]
        snapshot.loadFailures = counts[.loadFailure]
        snapshot.loadsRefused = counts[.loadRefused]
        snapshot.loadTimeouts = counts[.loadTimeout]
        snapshot.loadsShared = counts[.joined]
        snapshot.loadsOutdated = counts[.loadOutdated]
        snapshot.loadsUnstored = counts[.loadUnstored]
        snapshot.refusedByFloor = counts[.refusedByFloor]
        snapshot.diskWritesAvoided = counts[.diskWriteAvoided]
        snapshot.keptForUse = counts[.keptForUse]
        snapshot.staleServed = counts[.staleServed]
        snapshot.undecodable = counts[.undecodable]
        snapshot.readsFailed = disk?.failedReads.load(ordering: .relaxed) ?? 0
        snapshot.writesFailed = counts[.writeFailure]
        snapshot.evictions = memoryCounts.evictions
        snapshot.expired = memoryCounts.expired
        snapshot.memoryEntries = memoryCounts.entries
        snapshot.memoryWeight = memoryCounts.weight
        snapshot.memoryLimit = memory.limit.amount
        snapshot.diskReadLatency = latencies.diskRead.histogram
        snapshot.loadLatency = latencies.load.histogram
        snapshot.writeLatency = latencies.write.histogram
        snapshot.addStore(store, disk)
        snapshot.warmUp = warm?.statistics(at: store.clock.now())
        return snapshot
    }
}

extension CacheStatistics {
    /// What the store counts, and has counted before the cache was opened.
    mutating func addStore(_ store: CacheStore, _ tier: DiskTier?) {
        disk = tier.map(\.engines.use)
        ownDisk = tier.map { OwnDiskUse($0.engine.statistics(of: $0.namespace)) }
        let degraded = store.degraded?.counts ?? store.outage?.counts
        degradation = degraded.map { DegradationUse($0) }
        let health = store.health
        (isHealthy, isWritable) = (health.isHealthy, health.isWritable)
    }
}

extension CacheStatistics.DiskUse {
    init(_ engine: EngineStatistics) {
        tableBytes = engine.tableBytes
        logBytes = engine.logBytes
        limit = engine.diskBudgetBytes
        entries = engine.tableEntries
        entryLimit = engine.diskBudgetEntries
        bytesLogged = engine.logBytesAppended
        bytesRewritten = engine.flushedBytes &+ engine.compactedBytesWritten
        entriesLogged = engine.records
        entriesRewritten = engine.entriesRewritten
        entriesEvicted = engine.entriesEvicted
        writesDelayed = engine.writesDelayed
        writesStalled = engine.writesStopped
        nanosecondsWaited = engine.writeWaitNanoseconds
    }
}

extension CacheStatistics.OwnDiskUse {
    init(_ use: EngineStatistics.NamespaceUse) {
        entries = use.entries
        bytes = use.bytes
        quota =
            use.limit?.bytes.map { CacheLimit.bytes(Int(clamping: $0)) }
            ?? use.limit?.entries.map { CacheLimit.entries(Int(clamping: $0)) }
        entriesLogged = use.recordsLogged
        bytesLogged = use.bytesLogged
        entriesRewritten = use.entriesRewritten
        bytesRewritten = use.bytesFlushed &+ use.bytesRewritten
        entriesEvicted = use.entriesEvicted
    }
}
