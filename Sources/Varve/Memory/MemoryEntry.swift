public import VarveEngine

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
    var checkedGeneration: UInt64 {
        get { back.checkedGeneration }
        set { back.checkedGeneration = newValue }
    }
    var sourceVersion: UInt64 { back.sourceVersion }
    var weight: Int { back.weight }
    var traits: EntryTraits {
        get { back.traits }
        set { back.traits = newValue }
    }

    /// A read moves the deadline. True where the disk should be told.
    mutating func noteRead(at now: Int64) -> Bool {
        guard idle.span > 0 else { return false }
        deadlines.usableUntil = max(deadlines.usableUntil, idle.deadline(readAt: now))
        return traits.contains(.onDisk) && !traits.contains(.isTouched) && isAhead
    }

    var isAhead: Bool { back.isAhead }

    /// Early refresh looks at the last stretch before this: about as many load times as the chance of refreshing still
    /// matters in (e^-20).
    var earlyStretch: Int64 { back.earlyStretch }
    /// The deadline that early refresh is ahead of; `.max`: there is none.
    var refreshUntil: Int64 { back.refreshUntil }

    /// Says that memory alone holds it, as this load brought it. The disk knows no deadline of it, so the number lies there.
    mutating func setLoad(_ number: UInt64) {
        storedUntil = Int64(bitPattern: number)
        traits.insert(.isLoadAlone)
    }

    /// What a load brought the disk has got by now, written at `version` and with this deadline.
    mutating func endLoad(version: UInt64, storedUntil: Int64) {
        traits.remove(.isLoadAlone)
        traits.insert(.onDisk)
        self.version = version
        back.settleStored(until: storedUntil)
    }

    /// Which load brought it, where memory alone holds it; 0: its version is its own.
    var load: UInt64 { traits.contains(.isLoadAlone) ? UInt64(bitPattern: storedUntil) : 0 }

    /// To be called whenever what it follows from has changed.
    @inlinable
    mutating func settle() { front.carefreeUntil = front.value == nil ? .min : back.carefreeUntil }
}

/// What is kept of an entry beside its key and value. Small, since every entry has one.
@usableFromInline
struct EntryRecord: Sendable {
    @usableFromInline let hash: UInt64
    /// The write that made it: an LSN of the store, or of this process where there is no disk.
    @usableFromInline var version: UInt64
    @usableFromInline var deadlines: Deadlines
    private var extras: EntryExtras
    private let storedWeight: UInt32
    /// 0: it was not loaded; at most some 71 minutes.
    private let loadMicroseconds: UInt32
    var traits: EntryTraits

    @usableFromInline
    init(
        hash: UInt64, version: UInt64, deadlines: Deadlines, idle: IdleRule, loadNanoseconds: Int64, tags: [UInt64],
        sourceVersion: UInt64, weight: Int, traits: EntryTraits
    ) {
        self.hash = hash
        self.version = version
        self.deadlines = deadlines
        extras = EntryExtras(
            .init(
                idle: idle, storedUntil: deadlines.usableUntil, tags: tags, sourceVersion: sourceVersion))
        storedWeight = UInt32(clamping: weight)
        loadMicroseconds = loadNanoseconds <= 0 ? 0 : UInt32(clamping: max(1, loadNanoseconds / 1000))
        self.traits = traits
    }

    /// What was read from disk.
    @usableFromInline
    init(_ stored: StoredEntry, hash: UInt64, loadNanoseconds: Int64, weight: Int) {
        let idle = stored.hasExtensions ? IdleRecord(stored.fields.extensions) : nil
        self.init(
            hash: hash, version: DiskTier.version(of: stored),
            deadlines: Deadlines(
                usableUntil: idle?.until ?? stored.fields.usableUntil ?? .max,
                freshUntil: stored.fields.freshUntil ?? .max),
            idle: idle?.rule ?? .none, loadNanoseconds: loadNanoseconds, tags: stored.fields.tags,
            sourceVersion: stored.fields.sourceVersion ?? 0, weight: weight,
            traits: stored.hasExtensions && stored.fields.isPinned ? [.onDisk, .pinned] : .onDisk)
    }

    /// What an entry has beside its record: a box with its header and the allocator's own, and the tags.
    @usableFromInline
    static func bytesOfExtras(isIdle: Bool, tags: Int, sourceVersion: UInt64?) -> Int {
        if !isIdle, tags == 0, (sourceVersion ?? 0) == 0 { return 0 }
        return MemoryLayout<EntryExtras.Fields>.size + 32 + (tags > 0 ? 48 + tags * 8 : 0)
    }

    @usableFromInline var weight: Int { Int(storedWeight) }
    /// How long the source took to load it, or takes as a rule where the entry comes from disk, times the factor of early
    /// refresh, which goes by it; 0: it was not loaded, or is not to be loaded early.
    var loadNanoseconds: Int64 { Int64(loadMicroseconds) * 1000 }
    /// How reads move the deadline.
    var idle: IdleRule { extras.fields?.idle ?? .none }
    var tags: [UInt64] { extras.fields?.tags ?? [] }
    var hasTags: Bool { extras.hasTags }
    /// The version that the source gave it; 0: none.
    var sourceVersion: UInt64 { extras.fields?.sourceVersion ?? 0 }
    /// The deadline that the disk knows, where reads move the entry's own.
    var storedUntil: Int64 {
        get { extras.fields?.storedUntil ?? deadlines.usableUntil }
        set { extras.change { $0.storedUntil = newValue } }
    }
    /// The disk knows this deadline from now on. Where reads do not move it, it is the entry's own, and nothing is kept.
    fileprivate mutating func settleStored(until deadline: Int64) {
        guard var fields = extras.fields else { return }
        fields.storedUntil = fields.idle.span > 0 ? deadline : nil
        extras = EntryExtras(fields)
    }
    /// The generation of tag drops up to which `tags` were found alive.
    var checkedGeneration: UInt64 {
        get { extras.fields?.checkedGeneration ?? 0 }
        set { extras.change { $0.checkedGeneration = newValue } }
    }

    var earlyStretch: Int64 { refreshUntil == .max ? 0 : loadNanoseconds * 20 }

    /// Where the entry is to be loaded anew at the latest: when it is no longer fresh, or else no longer usable. A deadline
    /// that reads move is not one of them.
    var refreshUntil: Int64 {
        let fields = extras.fields
        if let idle = fields?.idle, idle.span > 0 { return min(deadlines.freshUntil, idle.limit) }
        return min(deadlines.freshUntil, deadlines.usableUntil)
    }

    /// Whether its deadline is ahead of what the disk knows by more than the disk should miss.
    var isAhead: Bool { idle.span > 0 && deadlines.usableUntil &- storedUntil > idle.slack }

    /// As long as there is a value.
    @usableFromInline
    var carefreeUntil: Int64 {
        if let fields = extras.fields, !fields.tags.isEmpty || fields.idle.span > 0 { return .min }
        let until = refreshUntil
        return until == .max ? .max : until &- loadNanoseconds * 20
    }
}

/// What few entries have, in a box that the others go without.
private indirect enum EntryExtras: Sendable {
    struct Fields: Sendable {
        var idle = IdleRule.none
        /// Nil: the entry's own.
        var storedUntil: Int64?
        var tags: [UInt64] = []
        var checkedGeneration: UInt64 = 0
        var sourceVersion: UInt64 = 0
    }

    case none
    case some(Fields)

    init(_ fields: Fields) {
        let isPlain = fields.idle.span == 0 && fields.tags.isEmpty && fields.sourceVersion == 0
        self = isPlain ? .none : .some(fields)
    }

    var fields: Fields? {
        if case .some(let fields) = self { return fields }
        return nil
    }

    var hasTags: Bool {
        if case .some(let fields) = self { return !fields.tags.isEmpty }
        return false
    }

    /// Another box: copies of the entry keep theirs.
    mutating func change(_ body: (inout Fields) -> Void) {
        var fields = fields ?? Fields()
        body(&fields)
        self = .some(fields)
    }
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
