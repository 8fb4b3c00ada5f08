/// One entry of the memory tier: the live value, and what decides whether it may be served. In two parts, which are stored
/// apart: a plain hit reads the first, and a processor's cache then holds several times as many of them.
@usableFromInline
struct MemoryEntry<Key: CacheKey, Value: Sendable>: Sendable {
    /// What a plain hit reads.
    @usableFromInline
    struct Front: Sendable {
        @usableFromInline let key: Key
        @usableFromInline var value: Value?
        @usableFromInline var carefreeUntil: Int64

        @inlinable
        init(key: Key, value: Value?, carefreeUntil: Int64) {
            self.key = key
            self.value = value
            self.carefreeUntil = carefreeUntil
        }
    }

    /// The rest, in which no type of the application's stands.
    @usableFromInline var front: Front
    @usableFromInline var back: EntryRecord

    @inlinable
    init(front: Front, back: EntryRecord) {
        self.front = front
        self.back = back
    }

    init(
        key: Key, value: Value?, hash: UInt64, version: UInt64, deadlines: Deadlines, idle: IdleRule = .none,
        loadNanoseconds: Int64 = 0, tags: [UInt64] = [], sourceVersion: UInt64 = 0, weight: Int, traits: EntryTraits
    ) {
        front = Front(key: key, value: value, carefreeUntil: .min)
        back = EntryRecord(
            hash: hash, version: version, deadlines: deadlines, idle: idle, loadNanoseconds: loadNanoseconds,
            tags: tags, sourceVersion: sourceVersion, weight: weight, traits: traits)
        settle()
    }

    var key: Key { front.key }
    /// Nil: the source is known to have none (negative caching).
    var value: Value? {
        get { front.value }
        set { front.value = newValue }
    }
    /// Before this time of the store clock a read may serve the value without looking at anything else; `.max`: always,
    /// so that not even the clock is read; `.min`: never. Follows from the rest (`settle`).
    var carefreeUntil: Int64 { front.carefreeUntil }
    var hash: UInt64 { back.hash }
    var version: UInt64 {
        get { back.version }
        set { back.version = newValue }
    }
    var deadlines: Deadlines {
        get { back.deadlines }
        set { back.deadlines = newValue }
    }
    var idle: IdleRule { back.idle }
    var storedUntil: Int64 {
        get { back.storedUntil }
        set { back.storedUntil = newValue }
    }
    var loadNanoseconds: Int64 { back.loadNanoseconds }
    var tags: [UInt64] { back.tags }
    var sourceVersion: UInt64 { back.sourceVersion }
    var weight: Int { back.weight }
    var traits: EntryTraits {
        get { back.traits }
        set { back.traits = newValue }
    }

    /// What a load brought the disk has got by now, written at `version` and with this deadline.
    mutating func endLoad(version: UInt64, storedUntil: Int64) {
        traits.remove(.isLoadAlone)
        traits.insert(.onDisk)
        self.version = version
        back.settleStored(until: storedUntil)
    }

    var load: UInt64 { back.load }

    /// To be called whenever what it follows from has changed.
    @inlinable
    mutating func settle() { front.carefreeUntil = front.value == nil ? .min : back.carefreeUntil }
}

/// What an entry is beside its value.
@usableFromInline
struct EntryTraits: OptionSet, Sendable {
    @usableFromInline let rawValue: UInt8
    @usableFromInline init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Never evicted.
    static let pinned = EntryTraits(rawValue: 1 << 0)
    /// The disk holds it too, or held it when it was read from there.
    static let onDisk = EntryTraits(rawValue: 1 << 1)
    /// Its moved deadline is on its way to the disk.
    static let isTouched = EntryTraits(rawValue: 1 << 2)
    /// It was made while the disk took no writes, which shall have it when it takes them again.
    static let unsaved = EntryTraits(rawValue: 1 << 3)
    /// A load's result that the disk does not hold. Its version is the place that it is good from, which two may share.
    static let isLoadAlone = EntryTraits(rawValue: 1 << 4)
    /// It carries a dropped tag, and is about to leave.
    static let isDropped = EntryTraits(rawValue: 1 << 5)
    /// A load's result that the disk cannot take, whatever room it has: it has no bytes, or too many.
    static let staysInMemory = EntryTraits(rawValue: 1 << 6)
    /// Reads move its deadline.
    static let isIdle = EntryTraits(rawValue: 1 << 7)
}

/// What memory says of a key.
@usableFromInline
enum MemoryAnswer<Value: Sendable>: Sendable {
    case hit(Value)
    /// Fresh, and by chance due for a refresh ahead of its deadline.
    case due(Value)
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
    /// Its deadline had passed.
    case expired
    /// It was dropped for want of room.
    case evicted
    /// Deleted, or invalidated by prefix, namespace, version or tag.
    case invalidated
}

/// Entries that left a shard, kept alive until its lock is free: the end of a value may run code of its owner's.
@usableFromInline
struct Discarded<Key: CacheKey, Value: Sendable> {
    /// Mostly there is one, for which no array is made.
    @usableFromInline var first: MemoryEntry<Key, Value>.Front?
    @usableFromInline var others: [MemoryEntry<Key, Value>.Front] = []

    @inlinable
    init() {}

    var count: Int { others.count + (first == nil ? 0 : 1) }

    @inlinable
    mutating func add(_ entry: MemoryEntry<Key, Value>?) { if let entry { add(entry.front) } }

    @inlinable
    mutating func add(_ front: consuming MemoryEntry<Key, Value>.Front) {
        if first == nil { first = front } else { others.append(front) }
    }
}
