public import VarveEngine

/// What is kept of an entry beside its key and value. One line of a processor's cache, since every entry has one, and hits
/// of those with tags or an idle expiry read it.
@usableFromInline
struct EntryRecord: Sendable {
    @usableFromInline let hash: UInt64
    /// The write that made it: an LSN of the store, or of this process where there is no disk.
    @usableFromInline var version: UInt64
    @usableFromInline var deadlines: Deadlines
    /// Nil in most.
    private var extras: EntryExtras?
    private let storedWeight: UInt32
    /// 0: it was not loaded; at most some 71 minutes.
    private let loadMicroseconds: UInt32
    private var checkedDrops = DropNumber(0)
    var traits: EntryTraits
    private var idleDigest = IdleDigest()

    @usableFromInline
    init(
        hash: UInt64, version: UInt64, deadlines: Deadlines, idle: IdleRule, loadNanoseconds: Int64, tags: [UInt64],
        sourceVersion: UInt64, weight: Int, traits: EntryTraits
    ) {
        self.hash = hash
        self.version = version
        self.deadlines = deadlines
        extras = EntryExtras.holding(
            .init(idle: idle, storedUntil: deadlines.usableUntil, tags: tags, sourceVersion: sourceVersion))
        storedWeight = UInt32(clamping: weight)
        loadMicroseconds = loadNanoseconds <= 0 ? 0 : UInt32(clamping: max(1, loadNanoseconds / 1000))
        self.traits = traits
        if idle.span > 0 { self.traits.insert(.isIdle) }
        digestIdle()
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
        return MemoryLayout<ExtraFields>.size + 32 + (tags > 0 ? 48 + tags * 8 : 0)
    }

    @usableFromInline var weight: Int { Int(storedWeight) }
    /// How long the source took to load it, or takes as a rule where the entry comes from disk, times the factor of early
    /// refresh, which goes by it; 0: it was not loaded, or is not to be loaded early.
    var loadNanoseconds: Int64 { Int64(loadMicroseconds) * 1000 }
    /// How reads move the deadline.
    var idle: IdleRule { extras?.fields.idle ?? .none }
    var tags: [UInt64] { extras?.fields.tags ?? [] }
    var hasTags: Bool { extras.map { !$0.fields.tags.isEmpty } ?? false }
    /// The version that the source gave it; 0: none.
    var sourceVersion: UInt64 { extras?.fields.sourceVersion ?? 0 }
    /// The deadline that the disk knows, where reads move the entry's own.
    var storedUntil: Int64 {
        get { extras?.fields.storedUntil ?? deadlines.usableUntil }
        set {
            var fields = extras?.fields ?? ExtraFields()
            fields.storedUntil = newValue
            extras = EntryExtras(fields)
            digestIdle()
        }
    }
    /// The disk knows this deadline from now on. Where reads do not move it, it is the entry's own, and nothing is kept.
    mutating func settleStored(until deadline: Int64) {
        guard var fields = extras?.fields else { return }
        fields.storedUntil = fields.idle.span > 0 ? deadline : nil
        extras = EntryExtras.holding(fields)
        digestIdle()
    }
    /// Memory alone holds it, as the load of this number brought it.
    mutating func setLoad(_ number: UInt64) {
        // The disk knows no deadline of it, so there is room for the number.
        if traits.contains(.isIdle) { storedUntil = Int64(bitPattern: number) } else { idleDigest = IdleDigest(number) }
        traits.insert(.isLoadAlone)
    }
    /// Which load brought it, where memory alone holds it; 0: its version is its own.
    var load: UInt64 {
        guard traits.contains(.isLoadAlone) else { return 0 }
        return traits.contains(.isIdle) ? UInt64(bitPattern: storedUntil) : idleDigest.number
    }
    private mutating func digestIdle() {
        if traits.contains(.isIdle) { idleDigest = IdleDigest(of: idle, storedUntil: storedUntil) }
    }
    /// The generation of tag drops up to which `tags` were found alive.
    var checkedGeneration: UInt64 {
        get { checkedDrops.value }
        set { checkedDrops = DropNumber(newValue) }
    }

    /// A read looks at the entry, and moves its deadline where reads do.
    @usableFromInline
    mutating func read(_ context: MemoryContext) -> Reading {
        let recent = context.clock.recent()
        // Where a deadline is near the clock is asked. A deadline that this read moves comes out a tick early at most, and exact
        // where the span is short.
        let now = isAmple(at: recent.latest) ? recent.earliest : context.now()
        if deadlines.usableUntil <= now { return Reading(standing: .expired) }
        if !context.tags.keeps(&self) { return Reading(standing: .dropped) }
        let isToBeTold = noteRead(at: now)
        if deadlines.freshUntil <= now { return Reading(standing: .stale, isToBeTold: isToBeTold) }
        return Reading(standing: isDue(now, context.chance) ? .due : .fresh, isToBeTold: isToBeTold)
    }

    /// Whether none of the deadlines has come at a time, or is so near that an early refresh may be due.
    private func isAmple(at time: Int64) -> Bool {
        guard deadlines.usableUntil > time, deadlines.freshUntil > time else { return false }
        return loadMicroseconds == 0 || refreshUntil == .max || refreshUntil &- earlyStretch > time
    }

    /// A read moves the deadline. True where the disk should be told.
    mutating func noteRead(at now: Int64) -> Bool {
        guard traits.contains(.isIdle) else { return false }
        let rule = idleDigest.rule ?? idle
        deadlines.usableUntil = max(deadlines.usableUntil, rule.deadline(readAt: now))
        return traits.contains(.onDisk) && !traits.contains(.isTouched) && isAhead
    }

    /// Early refresh looks at the last stretch before `refreshUntil`: about as many load times as the chance of refreshing still
    /// matters in (e^-20).
    private var earlyStretch: Int64 { loadNanoseconds * 20 }

    /// Where the entry is to be loaded anew at the latest: when it is no longer fresh, or else no longer usable. A deadline
    /// that reads move is not one of them.
    private var refreshUntil: Int64 {
        if traits.contains(.isIdle) { return min(deadlines.freshUntil, (idleDigest.rule ?? idle).limit) }
        return min(deadlines.freshUntil, deadlines.usableUntil)
    }

    /// Whether it is to be loaded anew before its deadline: by chance, the likelier the nearer the deadline and the dearer the
    /// load (Vattani, Chierichetti, Lowenstein 2015: XFetch).
    private func isDue(_ now: Int64, _ chance: Chance) -> Bool {
        // Those without a load need no deadline looked up.
        if loadMicroseconds == 0 { return false }
        let until = refreshUntil
        if until == .max || until &- earlyStretch > now { return false }
        let early = -Logarithm.natural(max(chance.draw(), .leastNonzeroMagnitude))
        return Double(until &- now) <= early * Double(loadNanoseconds)
    }

    /// Whether its deadline is ahead of what the disk knows by more than the disk should miss.
    var isAhead: Bool {
        guard traits.contains(.isIdle), idleDigest.mayBeAhead(deadlines.usableUntil) else { return false }
        return deadlines.usableUntil &- storedUntil > idle.slack
    }

    /// As long as there is a value.
    @usableFromInline
    var carefreeUntil: Int64 {
        if hasTags || traits.contains(.isIdle) { return .min }
        let until = refreshUntil
        return until == .max ? .max : until &- earlyStretch
    }
}

/// What a read finds of an entry, its value aside.
@usableFromInline
struct Reading: Sendable {
    @usableFromInline
    enum Standing: Sendable {
        case fresh
        /// Fresh, and by chance due for a refresh ahead of its deadline.
        case due
        /// Usable, but due for a refresh.
        case stale
        case expired
        /// It carries a dropped tag.
        case dropped
    }

    @usableFromInline let standing: Standing
    /// Whether the disk should learn of the deadline, which the read moved.
    @usableFromInline var isToBeTold = false

    /// Whether it may no longer be served.
    @inlinable var isGone: Bool { standing == .expired || standing == .dropped }
}

/// What few entries have, in a box that the others go without. It never changes, so that copies of an entry share it, and a
/// hit reads it where it lies, and as rarely as it can: it is another line of memory.
private final class EntryExtras: Sendable {
    let fields: ExtraFields

    init(_ fields: ExtraFields) { self.fields = fields }

    /// Nil where there is nothing to keep.
    static func holding(_ fields: ExtraFields) -> EntryExtras? {
        let isPlain = fields.idle.span == 0 && fields.tags.isEmpty && fields.sourceVersion == 0
        return isPlain ? nil : EntryExtras(fields)
    }
}

private struct ExtraFields: Sendable {
    var idle = IdleRule.none
    /// Nil: the entry's own.
    var storedUntil: Int64?
    var tags: [UInt64] = []
    var sourceVersion: UInt64 = 0
}

/// What a read that moves a deadline needs as a rule, in the record's last eight bytes. Where reads move none there is room for
/// a number.
private struct IdleDigest: Sendable {
    /// The span, where there is nothing else to the rule; 0: the box has it.
    private let milliseconds: UInt32
    /// The first deadline, in units of 2^30 nanoseconds, of which the disk may have to be told.
    private let told: UInt32

    init() { (milliseconds, told) = (0, 0) }

    init(of rule: IdleRule, storedUntil: Int64) {
        let (whole, rest) = rule.span.quotientAndRemainder(dividingBy: IdleDigest.millisecond)
        milliseconds = rest == 0 && rule.limit == .max ? UInt32(exactly: whole) ?? 0 : 0
        told = UInt32(clamping: Deadlines.add(rule.slack, to: storedUntil) >> IdleDigest.unit)
    }

    init(_ number: UInt64) {
        milliseconds = UInt32(truncatingIfNeeded: number >> 32)
        told = UInt32(truncatingIfNeeded: number)
    }

    var number: UInt64 { UInt64(milliseconds) << 32 | UInt64(told) }

    /// Nil: ask the box.
    var rule: IdleRule? {
        milliseconds > 0 ? IdleRule(span: Int64(milliseconds) * IdleDigest.millisecond, limit: .max) : nil
    }

    /// Whether a deadline may be ahead of what the disk knows by more than the disk should miss: the box tells whether it is.
    func mayBeAhead(_ deadline: Int64) -> Bool { deadline >> IdleDigest.unit >= Int64(told) }

    private static var millisecond: Int64 { 1_000_000 }
    private static var unit: Int64 { 30 }
}

/// A generation of tag drops in the six bytes that a record has left over. One that takes more comes back as another, and the
/// entry is looked at again.
private struct DropNumber: Sendable {
    private let low: UInt32
    private let high: UInt16

    init(_ value: UInt64) {
        low = UInt32(truncatingIfNeeded: value)
        high = UInt16(truncatingIfNeeded: value >> 32)
    }

    var value: UInt64 { UInt64(high) << 32 | UInt64(low) }
}
