/// Chooses what a store over its disk budget forgets. Eviction happens while compaction rewrites the last level: it costs
/// no write of its own and no log record, each node decides for itself, and a miss is always a right answer.
///
/// Any thread may call `recordRead`, often; it must be cheap and never wait. Passes may run at the same time as reads.
public protocol EvictionPolicy: AnyObject, Sendable {
    /// A key was found by a get. `keyHash`: the 64-bit hash of its full key.
    func recordRead(keyHash: UInt64)
    /// Begins one rewrite of tables.
    func makePass(_ goal: EvictionGoal) -> any EvictionPass
    /// How much of the store's budget is taken, in 0...1 and above. Told after every change.
    func noteOccupancy(_ share: Double)
    /// So many puts are in the store's tables, those among them that newer ones hide. Told after every change of a store with a budget.
    func noteEntries(_ count: UInt64)
    /// So many entries went from memory into a table.
    func noteWritten(entries: Int)
    /// Whether what was never passed over yet should be gone through first, once it is a tenth of the store.
    var prefersFresh: Bool { get }
    /// How much is to be said for keeping a key, 0 to 3: 0 where it was not read lately. What goes by age otherwise is told
    /// apart by this where one namespace alone has to make room.
    func warmth(ofKeyHash hash: UInt64) -> Int
    /// A key was kept for its warmth, and has less of it from now on.
    func cool(keyHash: UInt64)
    /// An entry goes whose namespace alone had to make room: no pass of the policy's own has chosen it.
    func noteEvicted(keyHash: UInt64)
}

extension EvictionPolicy {
    public func noteOccupancy(_ share: Double) {}
    public func noteEntries(_ count: UInt64) {}
    public func noteWritten(entries: Int) {}
    public var prefersFresh: Bool { false }
    public func warmth(ofKeyHash hash: UInt64) -> Int { 0 }
    public func cool(keyHash: UInt64) {}
    public func noteEvicted(keyHash: UInt64) {}
}

/// One rewrite: asked once for each entry that would otherwise be kept, in key order, by one thread.
///
/// It is never asked of the store's own records and of pinned entries, which stay, nor of deletes and of what has expired
/// or is hidden, which go by rule.
public protocol EvictionPass: AnyObject {
    /// Whether entries of this kind may go at all; else they are kept, and nothing is asked. Default: true.
    func mayEvict(namespace: UInt32, isFromAbove: Bool) -> Bool
    /// True: the entry is forgotten, with every older version of its key.
    func shouldEvict(_ candidate: EvictionCandidate) -> Bool
}

extension EvictionPass {
    public func mayEvict(namespace: UInt32, isFromAbove: Bool) -> Bool { true }
}

/// What one pass should reach.
public struct EvictionGoal: Hashable, Sendable {
    /// Why the entries are gone through.
    public enum Kind: Hashable, Sendable {
        /// To make room, wherever they lie; `share` should go.
        case sweep
        /// To make room among those that were never gone through before.
        case fresh
        /// The store is full and a compaction carries entries into the last level: those from above may go, and the
        /// others stay.
        case entering
    }

    public var kind: Kind
    /// Key and entry bytes to come, about.
    public var inputBytes: UInt64
    /// The share of them, in 0...1, that should go.
    public var share: Double
    /// The span of LSNs of the entries to come.
    public var oldest: LSN
    public var newest: LSN
    /// Entries in all of the store's tables, those to come among them; 0: not known.
    public var storeEntries: UInt64

    public init(
        inputBytes: UInt64, share: Double, oldest: LSN, newest: LSN, kind: Kind = .sweep, storeEntries: UInt64 = 0
    ) {
        self.kind = kind
        self.storeEntries = storeEntries
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
    /// Whether a tier in front of the store has answered reads of it lately (`FrontTier`): the policy is to record one, and
    /// should not let it go.
    public var wasUsed = false
    /// Whether no reader sees a newer version of its key: an older one is only there for a snapshot.
    var isNewest = true

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
