/// One change of a store, as its log tells it.
public struct Change: Sendable, Hashable {
    /// What changed.
    public enum Kind: Sendable, Hashable {
        case put(value: [UInt8], fields: EntryFields)
        case delete(fields: EntryFields)
        /// Every key from `key` up to this one went, or to the namespace's end.
        case deleteRange(to: [UInt8]?)
        /// A tag of the namespace was dropped, and with it every older entry that carries it. The number is the cache's.
        case tagDrop(UInt64)
        /// Below which source versions nothing of the namespace is shown any more was raised. The content is the cache's.
        case sourceFloors([UInt8])
        /// A namespace was made; `key` is its name.
        case namespaceMade
        /// The clock by which entries expire was shifted, stopped or set going.
        case clock(reading: Timestamp, offset: Int64, isFrozen: Bool)
        /// The log was given a named moment; `key` is the name.
        case mark
        /// Nothing of concern has changed up to the cursor.
        case progress
    }

    public let kind: Kind
    /// Nil for what concerns the store as a whole.
    public let namespace: Namespace?
    /// Of a range, its first key.
    public let key: [UInt8]
    public let lsn: LSN
    /// When its batch was committed, in nanoseconds since 1970.
    public let commitTime: Timestamp
    /// Where to go on once this change was dealt with. Changes of one batch belong together: all but the last carry the
    /// place before the batch.
    public let cursor: ChangeCursor
    /// Whether the batch ends here.
    public let endsBatch: Bool
}

/// Which changes a feed tells of.
public struct ChangeScope: Sendable, Hashable {
    /// Default: the default one.
    public var namespaces: [Namespace]
    /// Keys that begin so. Ranges are clipped to these; drops of tags and floors of source versions are told in any case.
    public var prefix: [UInt8]
    /// Whether the feed goes on as the store changes; else it ends with what was acknowledged when it began.
    public var follows: Bool
    /// Whether to be told where the feed begins, and how far it has come while nothing of concern changes.
    public var includesProgress = false
    /// Whether to be told of namespaces made, clock changes and marks.
    public var includesStoreRecords = false
    /// Whether values and fields come along.
    package var hasValues = true

    public init(namespaces: [Namespace] = [.default], prefix: [UInt8] = [], follows: Bool = true) {
        self.namespaces = namespaces
        self.prefix = prefix
        self.follows = follows
    }
}
