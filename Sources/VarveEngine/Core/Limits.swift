/// Every limit of the engine, in one place. Each is checked where data enters; sizes are bytes.
enum Limits {
    static let keyBytes = 64 << 10
    static let fullKeyBytes = keyBytes + FullKey.namespaceBytes
    static let valueBytes = 64 << 20
    /// All of an entry's fields but its value.
    static let entryFieldBytes = 64 << 10
    static let entryBytes = valueBytes + entryFieldBytes
    static let tagsPerEntry = 4096
    /// One batch as decoded records. A frame holds exactly one batch.
    static let batchBytes = 128 << 20
    /// Records of one batch: its memtable's worst case, some 800 bytes each, must fit an arena with room to spare.
    static let batchRecords = 16_000_000
    /// A frame as it lies in the log: a stored (uncompressed) batch and its header.
    static let frameBytes = batchBytes + 256
    /// What `EngineOptions.logSegmentBytes` may be.
    static let logSegmentBytes = 1 << 30
    /// A segment's file: what its writer makes it, by half longer where a follower's grew to take what its source's
    /// holds, and a frame, which may be more than a segment is to take.
    static let segmentFileBytes = logSegmentBytes + logSegmentBytes / 2 + frameBytes
    static let levels = 7
    /// A memtable's arena: 32 bits of eight-byte units.
    static let memtableBytes = 32 << 30
    static let conditionsPerBatch = 65_536
    static let namespaceNameBytes = 1024
    static let manifestEditBytes = 64 << 20
    static let manifestBytes = 1 << 30
    /// A data block of a table before compression; a larger entry gets a block of its own.
    static let blockBytes = entryBytes + fullKeyBytes + 64
    /// A table's index, filter or properties.
    static let metaBlockBytes = 1 << 30
    /// The owner's socket: how many may be connected, what one may ask in one message, and what may come back.
    static let ownerConnections = 32
    static let ownerRequestBytes = 256 << 10
    static let ownerReplyBytes = frameBytes + (1 << 20)
    static let ownerPageBytes = 1 << 20
    static let ownerScansPerConnection = 4
    static let ownerTextBytes = 16 << 20
    /// Namespaces that one feed of changes tells of.
    static let feedNamespaces = 256
    /// A LOCK file's text.
    static let lockRecordBytes = 4096
}
