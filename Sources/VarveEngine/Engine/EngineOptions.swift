public import VarveIO

/// How a store is laid out and what it may use. Few, each with unit, default and range; validated once, at open.
public struct EngineOptions: Sendable {
    /// What a write promises where it does not say. Default: `.interval(100 ms)`; an interval is 1 ms to 1 hour.
    public var durability: Durability = .interval
    /// Bytes a memtable may hold before it is sealed and flushed. Default 64 MiB; 64 KiB to 2 GiB.
    public var memtableBytes: Int = 64 << 20
    /// Sealed memtables that may wait for their flush before writes stop. Default 2; 1 to 16.
    public var sealedMemtables: Int = 2
    /// Bytes of one log segment. Default 16 MiB; 64 KiB to 1 GiB. A larger batch gets a larger segment. Two or three lie
    /// ready beside those in use, so the size is also what an idle store takes.
    public var logSegmentBytes: Int = 16 << 20
    /// Whether the log is compressed (LZ4). Default true.
    public var compressLog = true
    /// Bytes of log that registered readers (slots) may hold back before the oldest is dropped from under them.
    /// Default 8 GiB; at least two segments.
    public var logRetentionBytes: UInt64 = 8 << 30
    /// Bytes of decompressed blocks kept in memory. Default 64 MiB; 0 to 1 TiB.
    public var blockCacheBytes: Int = 64 << 20
    /// Blocks, filters and compression of new tables.
    public var table = TableOptions()
    /// Level sizes and compaction triggers.
    public var compaction = CompactionOptions()
    /// Bytes that the store may take on disk: tables, log and the space that compactions need. Nil: no budget.
    /// At least 16 MiB where given, and room for four log segments and two memtables.
    public var diskBudgetBytes: UInt64?
    /// Entries that the tables may hold: an entry of whatever size counts as one. Nil: no such budget. At least 16.
    public var diskBudgetEntries: UInt64?
    /// Records that a memtable may hold before it is sealed, however few bytes they are. Nil: as many as fit.
    public var memtableEntries: Int?
    /// Bytes a second that flush and compaction may write together. Nil: no limit. At least 1 MiB/s.
    public var backgroundBytesPerSecond: UInt64?
    /// Chooses what the store forgets when it is over its budget. One policy serves one store.
    public var eviction: any EvictionPolicy = S3FIFOEviction(mostEntries: 1 << 21)
    /// Says which entries nobody is shown any more, for their tags or keys, so that compaction lets them go. Nil: they stay
    /// until they expire, are evicted or overwritten.
    public var judge: (any InvalidationJudge)?
    /// Says which keys are read in front of the store, where it does not see it: eviction spares them. Nil: all reads come
    /// here.
    public var front: (any FrontTier)?
    /// How long a write may wait for background work before it fails with `.stalled`. Default 60 s; nil: for ever.
    public var stallLimit: Duration? = .seconds(60)
    /// Whether the owner's socket is offered, so that commands work while this process has the store open.
    public var offersSocket = true
    /// What clients of the socket may take.
    var ownerBounds = OwnerServer.Bounds()
    /// Threads of the engine's own. False for tests that must not depend on scheduling: flushes and compactions then run
    /// only when they are asked for.
    package var usesThreads = true
    /// After which time without a write the store gives back what it keeps for writes to come; nil: it never does. Tests that
    /// fill a disk exactly want none.
    package var idleSpan: Duration? = .seconds(10)
    /// Whether a degraded mark is kept ready in the store's folder, for a cache that goes on in memory when the disk takes no
    /// writes. A mark that is set counts in any case.
    package var keepsDegradedMark = false
    /// Whether a store is created where there is none. Default true.
    public var createIfMissing = true
    /// Whether a copy (a checkpoint, or a store that follows) may be opened to write: it then begins a timeline of its own
    /// and can follow no longer. Without it the opening is refused (`.readOnly`) and nothing has changed. Default true.
    public var promotesCopies = true
    /// Time, for tests and for replays of recorded time; nil: the kernel's clocks.
    public var clock: (any SystemClock)?

    public init() {}
}
