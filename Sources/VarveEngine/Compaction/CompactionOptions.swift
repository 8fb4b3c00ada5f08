/// What the picker aims at. Sizes are bytes as they lie on disk.
public struct CompactionOptions: Hashable, Sendable {
    /// Tables in level 0 from which they are merged into the base level. 2...
    public var levelZeroTrigger = 4
    /// Tables in level 0 from which they are merged whatever it costs. From `levelZeroTrigger`.
    public var levelZeroLimit = 8
    /// The base level's least target; about what one merge of level 0 brings down.
    public var baseBytes: UInt64 = 128 << 20
    /// How much larger each level is than the one above it. Space taken by overwritten data is about 1 in this many.
    public var levelMultiplier: UInt64 = 10
    /// A compaction closes an output table at about this size.
    public var tableBytes: UInt64 = 32 << 20
    /// A compaction takes further tables along only up to this sum of inputs.
    public var compactionBytes: UInt64 = 256 << 20
    /// Levels from 0 that are written without compression. A table never moves from these to the others unread.
    public var uncompressedLevels = 0
    /// The bound on bytes in tables that are expired, or invalidated by tags or keys, as a share of all table bytes.
    public var expiredShare = 0.20
    /// Tables with range tombstones, or with as many deletes as puts, are pushed down once they are this old
    /// (nanoseconds of commit time), so that what they hide gives its space back.
    public var tombstoneAge: Timestamp = 60_000_000_000

    /// Above 0: tables stay in level 0 as runs in the order of their age, about this many; 4 to 256. Nothing is rewritten
    /// to bring it into order, only to make room, so a cache that is full writes each entry little more than once; what
    /// it costs is a filter to ask for each run. Memtables should hold about this share of the budget. 0: levels.
    public var runs = 0

    public init() {}

    /// The same shape for a store with memtables of another size: the defaults belong to 64 MiB, which compress to
    /// about half.
    public static func scaled(toMemtable bytes: UInt64) -> CompactionOptions {
        var options = CompactionOptions()
        options.baseBytes = max(1, 2 * bytes)
        options.tableBytes = max(1, bytes / 2)
        options.compactionBytes = max(1, 4 * bytes)
        return options
    }

    /// Work on expired tables begins at this share of the bound, so that the bound holds while it runs.
    static let expiredSlack = 0.75
    /// Level 0 is merged early when it weighs this share of the base level: the two may hold the same keys twice.
    static let spaceShare = 0.75
    /// At the trigger, level 0 waits for more tables until it weighs this share of the base level, which the merge
    /// rewrites.
    static let costShare = 0.5
    /// The same for a store that is idle, once: nobody waits for it, and the space is given back.
    static let idleShare = 0.2
    /// A pass of eviction rewrites a table only to drop at least this share of it.
    static let evictionShare = 0.25
    /// After so many sweeps in a row that let less than a twentieth go, the next drops at least this share, however much
    /// was read: a store of which all is read must make room as well, and not by rewriting itself.
    static let poorSweeps = 4
    static let sweepShare = 0.1
    /// Tables that were never swept are swept first once they are this share of the store, where the policy says so.
    static let freshShare = 0.1
    /// Runs that lie together are merged, four at a time, once there are this many times as many as there should be.
    static let runSlack = 2
}
