/// Chooses what a store over its disk budget forgets. Eviction happens while compaction rewrites the last level: it costs
/// no write of its own and no log record, each node decides for itself, and a miss is always a right answer.
///
/// Any thread may call `recordRead`, often; it must be cheap and never wait. Passes may run at the same time as reads.
public protocol EvictionPolicy: AnyObject, Sendable {
    /// A key was found by a get. `keyHash`: the 64-bit hash of its full key.
    func recordRead(keyHash: UInt64)
    /// Begins one rewrite of a part of the last level.
    func makePass(_ goal: EvictionGoal) -> any EvictionPass
}

/// One rewrite: asked once for each entry that would otherwise be kept, in key order, by one thread.
///
/// It is never asked of the store's own records, of deletes, and of what has expired or is hidden: those go by rule.
public protocol EvictionPass: AnyObject {
    /// True: the entry is forgotten, with every older version of its key.
    func shouldEvict(_ candidate: EvictionCandidate) -> Bool
}

/// What one pass should reach.
public struct EvictionGoal: Hashable, Sendable {
    /// Key and entry bytes to come, about.
    public var inputBytes: UInt64
    /// The share of them, in 0...1, that should go.
    public var share: Double
    /// The span of LSNs of the entries to come.
    public var oldest: LSN
    public var newest: LSN

    public init(inputBytes: UInt64, share: Double, oldest: LSN, newest: LSN) {
        self.inputBytes = inputBytes
        self.share = share
        self.oldest = oldest
        self.newest = newest
    }
}

/// An entry that may go.
public struct EvictionCandidate: Hashable, Sendable {
    /// The hash under which reads of it were recorded.
    public var keyHash: UInt64
    public var namespace: UInt32
    /// Key and entry, before compression.
    public var bytes: Int
    /// The LSN that wrote it.
    public var version: LSN
    /// By the store clock; nil: never expires.
    public var usableUntil: Timestamp?
    /// Whether it would enter the last level now, or lies there already.
    public var isFromAbove: Bool

    public init(
        keyHash: UInt64, namespace: UInt32, bytes: Int, version: LSN, usableUntil: Timestamp? = nil,
        isFromAbove: Bool = false
    ) {
        self.keyHash = keyHash
        self.namespace = namespace
        self.bytes = bytes
        self.version = version
        self.usableUntil = usableUntil
        self.isFromAbove = isFromAbove
    }
}
