extension EngineOptions {
    /// Refuses options that cannot be, with the one that is wrong and its range.
    func validate() throws(VarveError) {
        if case .interval(let interval) = durability {
            try EngineOptions.check("durability", interval >= .milliseconds(1) && interval <= .seconds(3600)) {
                "an interval is 1 ms to 1 hour"
            }
        }
        try within("memtableBytes", memtableBytes, 64 << 10, 2 << 30)
        try within("sealedMemtables", sealedMemtables, 1, 16)
        try within("logSegmentBytes", logSegmentBytes, 64 << 10, Limits.logSegmentBytes)
        try within("blockCacheBytes", blockCacheBytes, 0, 1 << 40)
        try EngineOptions.check("logRetentionBytes", logRetentionBytes >= 2 * UInt64(logSegmentBytes)) {
            "it must hold at least two segments (\(2 * logSegmentBytes) bytes)"
        }
        if let budget = diskBudgetBytes {
            let least = max(16 << 20, 4 * UInt64(logSegmentBytes) + 2 * UInt64(memtableBytes))
            try EngineOptions.check("diskBudgetBytes", budget >= least) {
                "it must be at least \(least) bytes: 16 MiB, and room for four log segments and two memtables"
            }
        }
        if let budget = diskBudgetEntries {
            try EngineOptions.check("diskBudgetEntries", budget >= 16) { "it must be at least 16" }
        }
        if let entries = memtableEntries { try within("memtableEntries", entries, 1, 1 << 30) }
        if let rate = backgroundBytesPerSecond {
            try EngineOptions.check("backgroundBytesPerSecond", rate >= 1 << 20) { "it must be at least 1 MiB/s" }
        }
        try validateTables()
        if let limit = stallLimit {
            try EngineOptions.check("stallLimit", limit > .zero) { "it must be above zero" }
        }
    }

    private func validateTables() throws(VarveError) {
        try within("table.blockBytes", table.blockBytes, TableOptions.blockByteRange)
        try within("table.filterBitsPerKey", table.filterBitsPerKey, TableOptions.filterBitRange)
        try within("table.writeBufferBytes", table.writeBufferBytes, 4096...(64 << 20))
        try within("compaction.levelZeroTrigger", compaction.levelZeroTrigger, 2...64)
        try within("compaction.levelZeroLimit", compaction.levelZeroLimit, compaction.levelZeroTrigger...1024)
        if compaction.runs != 0 { try within("compaction.runs", compaction.runs, 4, 256) }
        try within("compaction.levelMultiplier", Int(clamping: compaction.levelMultiplier), 2...100)
        try within("compaction.uncompressedLevels", compaction.uncompressedLevels, 0...Limits.levels)
        try within("compaction.baseBytes", Int(clamping: compaction.baseBytes), 4096...(1 << 40))
        try within("compaction.tableBytes", Int(clamping: compaction.tableBytes), 4096...(1 << 40))
        try within("compaction.compactionBytes", Int(clamping: compaction.compactionBytes), 4096...(1 << 50))
        try EngineOptions.check("compaction.expiredShare", (0...1).contains(compaction.expiredShare)) {
            "it is a share, 0 to 1"
        }
    }

    private func within(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(VarveError) {
        try within(name, value, range.lowerBound, range.upperBound)
    }

    private func within(_ name: String, _ value: Int, _ low: Int, _ high: Int) throws(VarveError) {
        try EngineOptions.check(name, value >= low && value <= high) { "\(value) is outside of \(low) to \(high)" }
    }

    private static func check(_ name: String, _ holds: Bool, _ why: () -> String) throws(VarveError) {
        if !holds { throw VarveError(.invalidArgument, "option \(name): \(why())") }
    }

    /// Whether the store ever has to forget.
    var hasBudget: Bool { diskBudgetBytes != nil || diskBudgetEntries != nil }

    /// Nanoseconds at most between a write and its sync.
    var syncInterval: Duration {
        if case .interval(let interval) = durability { return interval }
        return .milliseconds(100)
    }
}
