/// What the store holds, does and waits for, at one moment. Bytes are bytes, times are nanoseconds.
public struct EngineStatistics: Sendable {
    /// One level of the tree.
    public struct Level: Sendable, Hashable {
        public var tables = 0
        public var bytes: UInt64 = 0
        public var entries: UInt64 = 0
    }

    /// Something that holds back the removal of log.
    public struct Slot: Sendable, Hashable {
        public var name: String
        /// What the reader has taken.
        public var lsn: LSN
        /// Log that is kept for it at most.
        public var capBytes: UInt64
    }

    /// What one namespace has in tables, and what was done for it since the store was opened.
    public struct NamespaceUse: Sendable, Hashable {
        /// Nil where nobody has asked for it by name since the store was opened.
        public var name: String?
        public var id: UInt32 = 0
        /// In tables, versions that newer ones hide included; what is still in memory is not.
        public var entries: UInt64 = 0
        /// As they lie on disk.
        public var bytes: UInt64 = 0
        public var limit: NamespaceLimit?
        /// Let go for want of room, the store's or its own.
        public var entriesEvicted: UInt64 = 0
        /// Records that went to the log, and their keys and entries in bytes before compression.
        public var recordsLogged: UInt64 = 0
        public var bytesLogged: UInt64 = 0
        public var bytesFlushed: UInt64 = 0
        /// By compactions.
        public var entriesRewritten: UInt64 = 0
        public var bytesRewritten: UInt64 = 0

        public init() {}

        /// How much of its limit is taken; nil without one.
        public var use: Double? {
            limit.map { $0.occupancy(VarveEngine.NamespaceUse.Use(entries: entries, bytes: bytes)) }
        }
    }

    // Position
    public var storeID = ""
    public var nodeID = ""
    public var timeline = ""
    public var role = ""
    public var visibleLSN = LSN.zero
    public var appendedLSN = LSN.zero
    public var syncedLSN = LSN.zero
    public var flushedLSN = LSN.zero
    /// The oldest LSN that the log still holds.
    public var oldestLSN = LSN.zero
    public var runningHash: UInt64 = 0
    public var lastCommitTime: Timestamp = 0
    public var storeClock: Timestamp = 0
    public var commitTimesHeldBack: UInt64 = 0

    // Space
    public var levels: [Level] = []
    public var tableBytes: UInt64 = 0
    /// Puts in tables, versions that newer ones hide included.
    public var tableEntries: UInt64 = 0
    /// About how much of it has expired.
    public var expiredBytes: UInt64 = 0
    public var logBytes: UInt64 = 0
    public var logSegments = 0
    public var diskBudgetBytes: UInt64?
    /// What the budget leaves for tables now, besides log and working space.
    public var tableBudgetBytes: UInt64?
    public var diskBudgetEntries: UInt64?
    /// How much of the budget that is nearest is taken: 1 is full. 0 without a budget.
    public var budgetShare = 0.0
    public var memtableBytes: UInt64 = 0
    public var sealedMemtables = 0
    /// By id, where they were asked for; the store's own are not told.
    public var namespaces: [NamespaceUse] = []
    public var snapshots = 0
    public var slots: [Slot] = []

    // Work
    public var batches: UInt64 = 0
    public var records: UInt64 = 0
    public var payloadBytes: UInt64 = 0
    public var syncs: UInt64 = 0
    public var longestSyncNanoseconds: Int64 = 0
    /// Bytes of frames since the store was opened.
    public var logBytesAppended: UInt64 = 0
    public var flushes: UInt64 = 0
    public var flushedBytes: UInt64 = 0
    public var compactions: UInt64 = 0
    public var compactedBytesRead: UInt64 = 0
    public var compactedBytesWritten: UInt64 = 0
    public var tablesDroppedExpired: UInt64 = 0
    public var entriesEvicted: UInt64 = 0
    public var entriesExpired: UInt64 = 0
    /// Entries that compactions let go because a tag of theirs was dropped, or what is older removed from where they lie.
    public var entriesInvalidated: UInt64 = 0
    /// Entries that compactions wrote again.
    public var entriesRewritten: UInt64 = 0
    public var blockCacheHits: UInt64 = 0
    public var blockCacheMisses: UInt64 = 0
    public var blockCacheBytes: UInt64 = 0

    // Waiting
    /// Why writes are slowed or stopped now; "none" where they are not.
    public var writePressure = "none"
    /// How many writes waited and how long, by cause.
    public var waits: [String: (count: UInt64, nanoseconds: UInt64)] = [:]
    /// How often writes were slowed down because background work, or the log's sync, was behind, and how often they had to stop
    /// until it had caught up. One write may count for each of these.
    public var writesDelayed: UInt64 = 0
    public var writesStopped: UInt64 = 0
    /// What they waited in all.
    public var writeWaitNanoseconds: UInt64 = 0
    /// Why the degraded mark is set; nil: it is not. A reader shows no entries of a store whose mark is set.
    public var degradedMark: String?
    /// The failure that stopped writes for good, if one did.
    public var failure: String?
    /// The failure that background work met last and will try again (a full disk), or else a damaged table that it goes round.
    public var backgroundFailure: String?

    public init() {}
}

extension EngineStatistics {
    /// One JSON object.
    public var json: String {
        var text = JSONText()
        text.add("storeID", storeID)
        text.add("nodeID", nodeID)
        text.add("timeline", timeline)
        text.add("role", role)
        text.add("visibleLSN", visibleLSN.rawValue)
        text.add("appendedLSN", appendedLSN.rawValue)
        text.add("syncedLSN", syncedLSN.rawValue)
        text.add("flushedLSN", flushedLSN.rawValue)
        text.add("oldestLSN", oldestLSN.rawValue)
        text.add("runningHash", hexadecimal(runningHash))
        text.add("lastCommitTime", lastCommitTime)
        text.add("storeClock", storeClock)
        text.add("commitTimesHeldBack", commitTimesHeldBack)
        text.add(
            "levels",
            levels.enumerated().map { level, value in
                var object = JSONText()
                object.add("level", level)
                object.add("tables", value.tables)
                object.add("bytes", value.bytes)
                object.add("entries", value.entries)
                return object
            })
        text.add("tableBytes", tableBytes)
        text.add("tableEntries", tableEntries)
        text.add("expiredBytes", expiredBytes)
        text.add("logBytes", logBytes)
        text.add("logSegments", logSegments)
        if let diskBudgetBytes { text.add("diskBudgetBytes", diskBudgetBytes) }
        if let tableBudgetBytes { text.add("tableBudgetBytes", tableBudgetBytes) }
        if let diskBudgetEntries { text.add("diskBudgetEntries", diskBudgetEntries) }
        text.add("budgetPermille", UInt64(max(0, min(1e9, budgetShare * 1000))))
        text.add("memtableBytes", memtableBytes)
        text.add("sealedMemtables", sealedMemtables)
        text.add("snapshots", snapshots)
        text.add(
            "slots",
            slots.map { slot in
                var object = JSONText()
                object.add("name", slot.name)
                object.add("lsn", slot.lsn.rawValue)
                object.add("capBytes", slot.capBytes)
                return object
            })
        text.add("namespaces", namespaces.map(\.json))
        addWork(to: &text)
        return text.finished()
    }

    private func addWork(to text: inout JSONText) {
        text.add("batches", batches)
        text.add("records", records)
        text.add("payloadBytes", payloadBytes)
        text.add("syncs", syncs)
        text.add("longestSyncNanoseconds", longestSyncNanoseconds)
        text.add("logBytesAppended", logBytesAppended)
        text.add("flushes", flushes)
        text.add("flushedBytes", flushedBytes)
        text.add("compactions", compactions)
        text.add("compactedBytesRead", compactedBytesRead)
        text.add("compactedBytesWritten", compactedBytesWritten)
        text.add("tablesDroppedExpired", tablesDroppedExpired)
        text.add("entriesEvicted", entriesEvicted)
        text.add("entriesExpired", entriesExpired)
        text.add("entriesInvalidated", entriesInvalidated)
        text.add("entriesRewritten", entriesRewritten)
        text.add("blockCacheHits", blockCacheHits)
        text.add("blockCacheMisses", blockCacheMisses)
        text.add("blockCacheBytes", blockCacheBytes)
        text.add("writePressure", writePressure)
        var waited = JSONText()
        for (cause, wait) in waits.sorted(by: { $0.key < $1.key }) {
            var object = JSONText()
            object.add("count", wait.count)
            object.add("nanoseconds", wait.nanoseconds)
            waited.add(cause, object)
        }
        text.add("waits", waited)
        text.add("writesDelayed", writesDelayed)
        text.add("writesStopped", writesStopped)
        text.add("writeWaitNanoseconds", writeWaitNanoseconds)
        text.add("degradedMark", degradedMark)
        text.add("failure", failure)
        text.add("backgroundFailure", backgroundFailure)
    }
}

extension EngineStatistics.NamespaceUse {
    fileprivate var json: JSONText {
        var object = JSONText()
        object.add("name", name)
        object.add("id", UInt64(id))
        object.add("entries", entries)
        object.add("bytes", bytes)
        if let bytes = limit?.bytes { object.add("limitBytes", bytes) }
        if let entries = limit?.entries { object.add("limitEntries", entries) }
        object.add("entriesEvicted", entriesEvicted)
        object.add("recordsLogged", recordsLogged)
        object.add("bytesLogged", bytesLogged)
        object.add("bytesFlushed", bytesFlushed)
        object.add("entriesRewritten", entriesRewritten)
        object.add("bytesRewritten", bytesRewritten)
        return object
    }
}
