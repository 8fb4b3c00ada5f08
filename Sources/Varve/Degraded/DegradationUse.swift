extension CacheStatistics {
    /// What a store did for want of its disk.
    public struct DegradationUse: Hashable, Sendable {
        /// Whether it goes on in memory now.
        public var isDegraded = false
        /// How often it went over to memory.
        public var episodes: UInt64 = 0
        /// How long it was there in all.
        public var time: Duration = .zero
        /// Sets and removals that threw because not even the degraded mark could be made durable.
        public var writesRefused: UInt64 = 0
        /// Reads that met damage and counted as misses.
        public var damagedReads: UInt64 = 0

        /// Nothing counted.
        public init() {}

        init(_ counts: DegradedCounts) {
            isDegraded = counts.isDegraded
            episodes = counts.episodes
            time = .nanoseconds(counts.nanoseconds)
            writesRefused = counts.refusals
            damagedReads = counts.damagedReads
        }

        mutating func subtract(_ earlier: DegradationUse) {
            episodes.lessen(by: earlier.episodes)
            time = max(.zero, time - earlier.time)
            writesRefused.lessen(by: earlier.writesRefused)
            damagedReads.lessen(by: earlier.damagedReads)
        }
    }
}
