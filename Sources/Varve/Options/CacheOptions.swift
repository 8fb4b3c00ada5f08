public import VarveEngine

/// How one cache behaves. Few, each with unit and default; checked once, when the cache is opened.
public struct CacheOptions: Sendable {
    /// What memory may hold. Default 64 MiB.
    public var memory: CacheLimit
    /// What the store may take on disk: log, tables and the room that compaction needs. Nil: no bound. Default 1 GiB; at
    /// least 16 MiB, or 32 entries. A property of the store: where several caches share one, `CacheStore.open` takes it, and
    /// `cache(named:)` refuses it.
    public var disk: CacheLimit?
    /// What this cache may take of it, beside the other caches of its store: bytes of tables as they lie on disk (at least 1
    /// MiB), or entries (at least 32). Nil (the default): as much as the store has. It is kept in the background, so writes
    /// of the last moments may exceed it; then what of this cache was not read lately is forgotten, the oldest first. It is
    /// not kept in the store: whoever opens the cache says it anew, and where nobody does there is none. Ignored without a
    /// disk. See ``Cache/setDiskQuota(_:)``.
    public var diskQuota: CacheLimit?
    /// When entries expire that say nothing else. Default: never.
    public var expiry: Expiry
    /// Which entries leave memory first. Default: the one with the best hit ratio on our traces.
    public var policy: EvictionPolicyKind
    /// What a write promises when it returns, unless it says otherwise. Default `.interval(100 ms)`; an interval is one of
    /// 1 ms to 1 hour.
    public var durability: Durability
    /// How values are loaded that are missing or due.
    public var loading = LoadOptions()
    /// How long a write through waits for its origin; then it throws ``OriginTimeout``, the origin's call is cancelled, and the
    /// next writer of the key has its turn. Nil (the default): for ever.
    public var originTimeout: Duration?
    /// How memory is warmed after a restart. Nil: not at all, and no notes are taken for the next one.
    public var warmRestart: WarmRestart? = WarmRestart()
    /// What happens while the disk is full, failing or damaged. Default: writes throw. A property of the store: where several
    /// caches share one, `CacheStore.open` takes it.
    public var degradation: Degradation = .throwing
    /// How long a write may wait for background work on disk before it throws `.stalled`, with nothing written; a load's
    /// result then stays in memory alone. Default 5 s; 10 ms to 1 hour. A property of the store.
    public var maximumStall: Duration = .seconds(5)
    /// Where the cache says what it does: log and metrics.
    public var observation = CacheObservation()

    /// Options with these values, and the defaults of the rest.
    public init(
        memory: CacheLimit = .megabytes(64), disk: CacheLimit? = .gigabytes(1), expiry: Expiry = .never,
        policy: EvictionPolicyKind = .adaptive, durability: Durability = .interval
    ) {
        self.memory = memory
        self.disk = disk
        self.expiry = expiry
        self.policy = policy
        self.durability = durability
    }

    func validate() throws(VarveError) {
        func refuse(_ what: String) throws(VarveError) { throw VarveError(.invalidArgument, what) }
        if memory.amount < 1 { try refuse("a cache's memory holds at least one byte or entry") }
        if let disk, disk.amount < 1 { try refuse("a cache's disk holds at least one byte or entry") }
        try diskQuota?.validateAsQuota()
        try expiry.validate()
        if let originTimeout, originTimeout <= .zero { try refuse("an origin's timeout is longer than nothing") }
        if maximumStall < .milliseconds(10) || maximumStall > .seconds(3600) {
            try refuse("a write's stall is bounded by 10 ms to 1 hour")
        }
        if let refusal = warmRestart?.refusal { try refuse(refusal) }
        try loading.validate()
    }

    /// Of a cache that shares its store. What is the store's would have no effect here, and nobody would notice.
    func validateAsShared() throws(VarveError) {
        let own = CacheOptions()
        let isSet = [
            ("disk", disk != own.disk), ("degradation", degradation != own.degradation),
            ("maximumStall", maximumStall != own.maximumStall),
        ]
        guard let (name, _) = isSet.first(where: { $0.1 }) else { return }
        throw VarveError(
            .invalidArgument,
            "`\(name)` is of the store that several caches share: give it to CacheStore.open"
                + (name == "disk" ? ", or bound this cache by `diskQuota`" : ""))
    }
}

/// How values are loaded.
public struct LoadOptions: Sendable {
    /// How long a caller waits for the fresh value while there is a stale one it may have: zero, not at all (stale while
    /// revalidate, the default); nil, until the load has ended, and the stale one is for when it fails (stale if error).
    /// The limit of both is the entry's usable deadline.
    public var softTimeout: Duration? = .zero
    /// After which time a load counts as failed, and is cancelled. Nil (the default): never.
    public var hardTimeout: Duration?
    /// How long it is remembered that the source has no value for a key (negative caching), with the jitter of the cache's
    /// expiry, where the loader names no expiry itself. Nil (the default): not at all, and the next caller asks again. What the
    /// cache had of the key is gone in either case.
    public var absence: Duration?
    /// How a key is left alone whose load has failed. Nil (the default): the next caller tries again.
    public var backOff: BackOff?
    /// When the source as a whole is left alone. Nil (the default): never.
    public var breaker: CircuitBreaker?
    /// How early, by chance, entries in memory are loaded anew before their deadline: about so many times as long before it
    /// as their load took, 0...100. Nobody waits for that. 0: never; 1, the default, is the optimum of Vattani, Chierichetti and
    /// Lowenstein (2015: XFetch, beta) where the next load takes as long as the last. Of loaded entries that come from disk
    /// it is taken for what loads of this cache took lately.
    public var earlyRefresh = 1.0

    /// Loads without limits or guards, stale values while one is under way.
    public init() {}

    /// Waits after a failed load of a key before it is tried again; meanwhile callers get the stale value, or the error
    /// anew. Each further failure doubles the wait, unless it comes later than twice the longest wait after the last wait's end.
    public struct BackOff: Hashable, Sendable {
        /// The wait after the first failure. Default 100 ms; above zero.
        public var initial: Duration
        /// The longest wait. Default 30 s; not below `initial`.
        public var maximum: Duration
        /// Waits from `initial`, doubled with each failure, up to `maximum`.
        public init(initial: Duration = .milliseconds(100), maximum: Duration = .seconds(30)) {
            self.initial = initial
            self.maximum = maximum
        }
    }

    /// After so many failures in a row no load is begun for a while; then one is let through, and its outcome decides. Where it
    /// takes longer than the pause, another one is let through beside it. One call for many keys is one load.
    public struct CircuitBreaker: Hashable, Sendable {
        /// How many failures in a row it takes. Default 10; at least 1.
        public var failures: Int
        /// How long no load is begun. Default 5 s; above zero.
        public var pause: Duration
        /// A pause after so many failures in a row.
        public init(failures: Int = 10, pause: Duration = .seconds(5)) {
            self.failures = failures
            self.pause = pause
        }
    }

    func validate() throws(VarveError) {
        func refuse(_ what: String) throws(VarveError) { throw VarveError(.invalidArgument, what) }
        if let softTimeout, softTimeout < .zero { try refuse("a soft timeout is not negative") }
        if let hardTimeout, hardTimeout <= .zero { try refuse("a hard timeout is longer than nothing") }
        if let absence, absence <= .zero { try refuse("an absence is remembered for longer than nothing") }
        if let backOff, backOff.initial <= .zero || backOff.maximum < backOff.initial {
            try refuse("a back-off begins above nothing and ends no lower")
        }
        if !(0...100).contains(earlyRefresh) { try refuse("early refresh is a factor in 0...100") }
        if let breaker, breaker.failures < 1 || breaker.pause <= .zero {
            try refuse("a circuit breaker opens after at least one failure, for longer than nothing")
        }
    }
}

/// What one write says of its entry; everything has the cache's default.
public struct EntryOptions: Sendable {
    /// Nil: the cache's. A write refuses spans that are not above zero; a loader's may be over at once (``Expiry``).
    public var expiry: Expiry?
    /// Names under which the entry can be dropped together with others, at most 4096.
    public var tags: [String]
    static var mostTags: Int { 4096 }
    /// The version that the source gives the value; what is older is refused from then on.
    public var sourceVersion: UInt64?
    /// Whether it is never evicted, neither from memory nor from disk.
    public var isPinned: Bool
    /// Nil: the cache's.
    public var durability: Durability?
    /// What an entry that another cache gave brings along.
    var carried: CarriedFields?

    /// All of its tags, as the numbers that stand for them.
    var tagNumbers: [UInt64] { tags.map { TagRegistry.id(of: $0) } + (carried?.tags ?? []) }

    /// Options with these values; what is left out is as the cache has it.
    public init(
        expiry: Expiry? = nil, tags: [String] = [], sourceVersion: UInt64? = nil, isPinned: Bool = false,
        durability: Durability? = nil
    ) {
        self.expiry = expiry
        self.tags = tags
        self.sourceVersion = sourceVersion
        self.isPinned = isPinned
        self.durability = durability
    }
}

/// What an entry has from the cache that it was read from, as names and spans cannot say it.
struct CarriedFields: Sendable {
    /// In nanoseconds of this machine's boot clock.
    var deadlines: Deadlines
    var tags: [UInt64]
}

/// What a loader brings home when it has more to say than a value.
public struct Loaded<Value: Sendable>: Sendable {
    /// Nil: the source has none.
    public var value: Value?
    /// What the source says of the entry, as a write would.
    public var options: EntryOptions

    /// A value, or nil where the source has none, with what is to be said of it.
    public init(_ value: Value?, _ options: EntryOptions = EntryOptions()) {
        self.value = value
        self.options = options
    }
}
