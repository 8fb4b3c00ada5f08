/// One entry of the memory tier: the live value, and what decides whether it may be served.
@usableFromInline
struct MemoryEntry<Key: CacheKey, Value: Sendable>: Sendable {
    @usableFromInline let key: Key
    /// Nil: the source is known to have none (negative caching).
    @usableFromInline var value: Value?
    @usableFromInline let hash: UInt64
    /// The write that made it: an LSN of the store, or of this process where there is no disk.
    @usableFromInline var version: UInt64
    /// Before this time of the store clock a read may serve the value without looking at anything else; `.max`: always,
    /// so that not even the clock is read; `.min`: never. Follows from the rest (`settle`).
    @usableFromInline private(set) var carefreeUntil: Int64 = .min
    var deadlines: Deadlines
    /// How reads move the deadline.
    var idle: IdleRule
    /// The deadline that the disk knows, where reads move the entry's own.
    var storedUntil: Int64
    /// How long the source took to load it, in nanoseconds; 0: it was not loaded. What early refresh goes by.
    var loadNanoseconds: Int64
    var tags: [UInt64]
    /// The generation of tag drops up to which `tags` were found alive.
    var checkedGeneration: UInt64 = 0
    /// The version that the source gave it; 0: none.
    let sourceVersion: UInt64
    var weight: Int
    var traits: EntryTraits

    init(
        key: Key, value: Value?, hash: UInt64, version: UInt64, deadlines: Deadlines, idle: IdleRule = .none,
        loadNanoseconds: Int64 = 0, tags: [UInt64] = [], sourceVersion: UInt64 = 0, weight: Int, traits: EntryTraits
    ) {
        self.key = key
        self.value = value
        self.hash = hash
        self.version = version
        self.deadlines = deadlines
        self.idle = idle
        storedUntil = deadlines.usableUntil
        self.loadNanoseconds = loadNanoseconds
        self.tags = tags
        self.sourceVersion = sourceVersion
        self.weight = weight
        self.traits = traits
        settle()
    }

    /// Early refresh looks at the last stretch of a loaded entry's freshness: about as many load times as the chance of
    /// refreshing still matters in (e^-20).
    var earlyStretch: Int64 {
        deadlines.freshUntil == .max ? 0 : min(loadNanoseconds, .max / 32) * 20
    }

    /// A read moves the deadline. True where the disk should be told.
    mutating func noteRead(at now: Int64) -> Bool {
        guard idle.span > 0 else { return false }
        deadlines.usableUntil = max(deadlines.usableUntil, idle.deadline(readAt: now))
        return traits.contains(.onDisk) && !traits.contains(.isTouched) && isAhead
    }

    /// Whether its deadline is ahead of what the disk knows by more than the disk should miss.
    var isAhead: Bool { idle.span > 0 && deadlines.usableUntil &- storedUntil > idle.slack }

    /// To be called whenever what it follows from has changed.
    mutating func settle() {
        if value == nil || !tags.isEmpty || idle.span > 0 {
            carefreeUntil = .min
        } else {
            let early = deadlines.freshUntil == .max ? Int64.max : deadlines.freshUntil &- earlyStretch
            carefreeUntil = min(deadlines.usableUntil, early)
        }
    }
}

/// What an entry is beside its value.
struct EntryTraits: OptionSet, Sendable {
    let rawValue: UInt8
    /// Never evicted.
    static let pinned = EntryTraits(rawValue: 1 << 0)
    /// The disk holds it too, or held it when it was read from there.
    static let onDisk = EntryTraits(rawValue: 1 << 1)
    /// Its moved deadline is on its way to the disk.
    static let isTouched = EntryTraits(rawValue: 1 << 2)
}

/// What memory says of a key.
@usableFromInline
enum MemoryAnswer<Value: Sendable>: Sendable {
    case hit(Value)
    /// Usable, but due for a refresh.
    case stale(Value)
    /// The source has none, as was found before.
    case absent
    case miss
}

/// Why a read found nothing in memory or on disk.
public enum MissCause: Int, Sendable, CaseIterable {
    /// Never seen, as far as anybody remembers.
    case cold
    case expired
    case evicted
    /// Deleted, or invalidated by prefix, namespace, version or tag.
    case invalidated
}

/// Entries that left a shard, kept alive until its lock is free: the end of a value may run code of its owner's.
struct Discarded<Key: CacheKey, Value: Sendable> {
    var entries: [MemoryEntry<Key, Value>] = []
    /// Which of them were evicted, for want of room.
    var evicted: Int = 0

    mutating func add(_ entry: MemoryEntry<Key, Value>?) {
        if let entry { entries.append(entry) }
    }
}
