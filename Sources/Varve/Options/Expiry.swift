internal import VarveEngine
internal import VarveIO

/// How long entries are good: two deadlines, by the store's clock, exact when an entry is read.
///
/// Until `fresh` has passed a hit is a hit. From then until `usable` has passed an entry may still be served while it is
/// loaded anew; after that it is gone. A clock that steps back gives no entry life again.
///
///     .minutes(5)                                     // gone five minutes after the write
///     Expiry(usable: .seconds(3600), fresh: .seconds(60))
///     Expiry(idle: .seconds(600))                     // gone when nobody read it for ten minutes
///
/// A cache's options and writes refuse spans that are not above zero. To a loader its answer may be over already, as one with
/// `max-age=0` is: then those who wait for it get it, and the cache has nothing of the key afterwards.
public struct Expiry: Hashable, Sendable {
    /// From the write; nil: for ever.
    public var usable: Duration?
    /// From the write; nil: as long as it is usable.
    public var fresh: Duration?
    /// From the last read or write; nil: reads do not matter. No read moves the deadline past `usable`. No read writes to
    /// the log either: the deadline moves in memory, and the disk learns of it in the background, once in a quarter of the
    /// span at most. So an entry that has left memory, or whose process died, may be gone up to a quarter early.
    public var idle: Duration?
    /// The share, in 0...1, by which all spans of an entry are shortened at random, once, when it is written: so entries that
    /// are written together do not expire together. A loader's beyond that counts as the nearer end.
    public var jitter: Double

    /// What is left out does not hold.
    public init(usable: Duration? = nil, fresh: Duration? = nil, idle: Duration? = nil, jitter: Double = 0) {
        self.usable = usable
        self.fresh = fresh
        self.idle = idle
        self.jitter = jitter
    }

    /// Entries are good until they are overwritten, removed or evicted.
    public static let never = Expiry()
    /// Gone so many seconds after the write.
    public static func seconds(_ count: Int) -> Expiry { Expiry(usable: .seconds(count)) }
    /// Gone so many minutes after the write.
    public static func minutes(_ count: Int) -> Expiry { Expiry(usable: .seconds(count.clampedProduct(60))) }
    /// Gone so many hours after the write.
    public static func hours(_ count: Int) -> Expiry { Expiry(usable: .seconds(count.clampedProduct(3600))) }
    /// Gone so many days, of 24 hours each, after the write.
    public static func days(_ count: Int) -> Expiry { Expiry(usable: .seconds(count.clampedProduct(86400))) }
    /// Gone so long after the write.
    public static func after(_ span: Duration) -> Expiry { Expiry(usable: span) }

    /// Refuses what nobody can mean who says it of an entry that is to be kept.
    func validate() throws(VarveError) {
        if !(0...1).contains(jitter) { throw VarveError(.invalidArgument, "jitter is a share in 0...1") }
        for span in [usable, fresh, idle] {
            if let span, span <= .zero { throw VarveError(.invalidArgument, "an expiry is longer than nothing") }
        }
    }

    /// Whether an entry is gone when it is written.
    var isOverAtOnce: Bool { [usable, idle].contains { $0.map { $0 <= .zero } ?? false } }

    /// The same for an entry that says that the source has none. It is never served stale: past its fresh deadline the source
    /// is asked again.
    var ofAbsence: Expiry {
        Expiry(usable: [usable, fresh].compactMap { $0 }.min(), idle: idle, jitter: jitter)
    }
}

/// The deadlines of one entry, in nanoseconds of the store clock; `.max`: never.
@usableFromInline
struct Deadlines: Hashable, Sendable {
    @usableFromInline var usableUntil: Int64
    @usableFromInline var freshUntil: Int64

    @usableFromInline static let never = Deadlines(usableUntil: .max, freshUntil: .max)

    @usableFromInline
    init(usableUntil: Int64, freshUntil: Int64) {
        self.usableUntil = usableUntil
        self.freshUntil = freshUntil
    }

    /// The deadlines of an entry that is written at `now`. `draw`: a number in 0..<1, which the jitter takes its share of.
    init(_ expiry: Expiry, at now: Int64, draw: Double) {
        let rule = IdleRule(expiry, at: now, draw: draw)
        self.init(
            usableUntil: rule.span == 0 ? rule.limit : rule.deadline(readAt: now),
            freshUntil: Deadlines.after(expiry.fresh, expiry.jitter, at: now, draw: draw))
    }

    /// The end of a span from the write, shortened by jitter.
    fileprivate static func after(_ span: Duration?, _ jitter: Double, at now: Int64, draw: Double) -> Int64 {
        span.map { add(shortened($0, jitter, draw: draw), to: now) } ?? .max
    }

    /// A span's nanoseconds after jitter.
    fileprivate static func shortened(_ span: Duration, _ jitter: Double, draw: Double) -> Int64 {
        let whole = span.clampedNanoseconds
        let share = 1 - min(1, max(0, jitter)) * draw
        return share < 1 ? Int64(clamping: UInt64(Double(whole) * share)) : whole
    }

    /// The same in whole milliseconds, which are cheaper to keep, where it is a second or more and jitter leaves room for that.
    fileprivate static func shortenedInMilliseconds(_ span: Duration, _ jitter: Double, draw: Double) -> Int64 {
        let short = shortened(span, jitter, draw: draw)
        let rounded = short - short % 1_000_000
        return short >= 1_000_000_000 && rounded >= shortened(span, jitter, draw: 1) ? rounded : short
    }

    @usableFromInline
    static func add(_ span: Int64, to time: Int64) -> Int64 {
        let (sum, overflow) = time.addingReportingOverflow(max(0, span))
        return overflow ? .max : sum
    }
}

/// How reads move an entry's deadline.
@usableFromInline
struct IdleRule: Hashable, Sendable {
    /// Nanoseconds from a read to the deadline; 0: reads do not matter.
    var span: Int64
    /// The deadline from the write, which no read moves; `.max`: none.
    var limit: Int64

    static let none = IdleRule(span: 0, limit: .max)

    init(span: Int64, limit: Int64) {
        self.span = span
        self.limit = limit
    }

    /// For an entry that is written at `now`; `draw` as for the deadlines.
    init(_ expiry: Expiry, at now: Int64, draw: Double) {
        // A span of nothing is over at once; 0 would mean that there is none.
        span = expiry.idle.map { max(1, Deadlines.shortenedInMilliseconds($0, expiry.jitter, draw: draw)) } ?? 0
        limit = Deadlines.after(expiry.usable, expiry.jitter, at: now, draw: draw)
    }

    func deadline(readAt now: Int64) -> Int64 { min(limit, Deadlines.add(span, to: now)) }

    /// By how much memory's deadline may be ahead of the disk's before the disk is told.
    var slack: Int64 { span / 4 }
}
