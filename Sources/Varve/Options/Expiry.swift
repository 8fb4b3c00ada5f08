/// How long entries are good: two deadlines, by the store's clock, exact when an entry is read.
///
/// Until `fresh` has passed a hit is a hit. From then until `usable` has passed an entry may still be served while it is
/// loaded anew; after that it is gone. A clock that steps back gives no entry life again.
///
///     .minutes(5)                                     // gone five minutes after the write
///     Expiry(usable: .seconds(3600), fresh: .seconds(60))
///     Expiry(idle: .seconds(600))                     // gone when nobody read it for ten minutes
public struct Expiry: Hashable, Sendable {
    /// From the write; nil: for ever.
    public var usable: Duration?
    /// From the write; nil: as long as it is usable.
    public var fresh: Duration?
    /// From the last read or write; nil: reads do not matter. A read moves the deadline in memory only; the disk learns
    /// of it once in a quarter of the span at most, so no read writes to the log.
    public var idle: Duration?
    /// The share, in 0...1, by which both deadlines from the write are shortened at random, so that entries written
    /// together do not expire together.
    public var jitter: Double

    public init(usable: Duration? = nil, fresh: Duration? = nil, idle: Duration? = nil, jitter: Double = 0) {
        self.usable = usable
        self.fresh = fresh
        self.idle = idle
        self.jitter = jitter
    }

    public static let never = Expiry()
    public static func seconds(_ count: Int) -> Expiry { Expiry(usable: .seconds(count)) }
    public static func minutes(_ count: Int) -> Expiry { Expiry(usable: .seconds(count.clampedProduct(60))) }
    public static func hours(_ count: Int) -> Expiry { Expiry(usable: .seconds(count.clampedProduct(3600))) }
    public static func days(_ count: Int) -> Expiry { Expiry(usable: .seconds(count.clampedProduct(86400))) }
    public static func after(_ span: Duration) -> Expiry { Expiry(usable: span) }
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
        let shrink = 1 - min(1, max(0, expiry.jitter)) * draw
        func deadline(_ span: Duration?, _ factor: Double) -> Int64 {
            guard let span else { return .max }
            let whole = span.clampedNanoseconds
            return Deadlines.add(factor < 1 ? Int64(clamping: UInt64(Double(whole) * factor)) : whole, to: now)
        }
        let written = deadline(expiry.usable, shrink)
        let idle = deadline(expiry.idle, 1)
        self.init(usableUntil: min(written, idle), freshUntil: deadline(expiry.fresh, shrink))
    }

    @usableFromInline
    static func add(_ span: Int64, to time: Int64) -> Int64 {
        let (sum, overflow) = time.addingReportingOverflow(max(0, span))
        return overflow ? .max : sum
    }
}

extension Duration {
    /// Whole nanoseconds, at least 0, at most some 292 years.
    var clampedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        if seconds < 0 || attoseconds < 0 { return 0 }
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return .max }
        let (sum, beyond) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return beyond ? .max : sum
    }
}
