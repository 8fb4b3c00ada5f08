/// What a table says of itself: enough for picking, dropping and serving it without opening it. The manifest keeps one
/// for each table; the table's own properties block holds the same, but for size and content hash, which are known only
/// once the file is complete.
struct TableProperties: Hashable, Sendable {
    /// The file number under which the table was written. It seeds the checksums of its blocks and never changes, though
    /// a checkpoint or a restore may give the file another number.
    var fileID: UInt64 = 0
    /// Length of the file. 0 in the table's own block.
    var fileBytes: UInt64 = 0
    /// XXH3-128 of the whole file. Nil in the table's own block.
    var contentHash: ContentHash?

    /// The smallest full key of an entry or begin of a range tombstone.
    var smallestKey: [UInt8] = []
    /// The largest full key of an entry or end of a range tombstone.
    var largestKey: [UInt8] = []
    /// Whether `largestKey` itself is outside: it is the end of a range tombstone, and no entry has it.
    var largestKeyIsExclusive = false

    var putCount: UInt64 = 0
    var deleteCount: UInt64 = 0
    var rangeTombstoneCount: UInt64 = 0

    /// Over entries and range tombstones.
    var smallestLSN = LSN.max
    var largestLSN = LSN.zero
    /// Given by the caller: the commit times of the changes within.
    var smallestCommitTime = Timestamp.max
    var largestCommitTime = Timestamp.min

    /// The earliest `usableUntil` of a put; Timestamp.max where none has one.
    var earliestUsableUntil = Timestamp.max
    /// The latest `usableUntil` of a put; Timestamp.max as soon as one never expires, Timestamp.min without puts.
    var latestUsableUntil = Timestamp.min
    /// Sixteen times in ascending order: by the one at i, about (i + 1) / 16 of the bytes of the puts are expired.
    /// Timestamp.max stands for never. Empty without puts.
    var expiryQuantiles: [Timestamp] = []
    /// Empty where no put that was sampled has tags, and in tables from before this was taken.
    var tagSample = TagSample()
    /// Puts that carry a source version, and the highest of them (of deletes too).
    var sourceVersionCount: UInt64 = 0
    var highestSourceVersion: UInt64 = 0

    /// Full keys and entries before prefix stripping and compression.
    var rawKeyBytes: UInt64 = 0
    var rawEntryBytes: UInt64 = 0
    /// Data blocks as they lie in the file.
    var storedDataBytes: UInt64 = 0
    var dataBlockCount: UInt64 = 0

    /// What each namespace has, by id. Empty where one has all (see `namespaceShares`), and in tables from before this was
    /// counted.
    var namespaces: [NamespaceShare] = []

    static let quantileCount = 16

    var entryCount: UInt64 { putCount &+ deleteCount }
    var isEmpty: Bool { entryCount == 0 && rangeTombstoneCount == 0 }
}

extension TableProperties {
    /// Whether some key of this table may lie in [begin, end); nil: no end.
    func overlaps(_ begin: [UInt8], _ end: [UInt8]?) -> Bool {
        if isEntirely(before: begin) { return false }
        guard let end else { return true }
        return smallestKey.lexicographicallyPrecedes(end)
    }

    /// Whether every key of this table sorts before `key`.
    func isEntirely(before key: [UInt8]) -> Bool {
        if largestKey.lexicographicallyPrecedes(key) { return true }
        return largestKeyIsExclusive && largestKey == key
    }

    /// Whether the key ranges of both touch.
    func overlaps(_ other: TableProperties) -> Bool {
        !isEntirely(before: other.smallestKey) && !other.isEntirely(before: smallestKey)
    }

    /// The share of the bytes of the puts, in 0...1, that is expired at `now`, as the quantiles know it.
    func expiredShare(at now: Timestamp) -> Double {
        guard !expiryQuantiles.isEmpty else { return 0 }
        let passed = expiryQuantiles.count { $0 <= now }
        return Double(passed) / Double(expiryQuantiles.count)
    }
}
