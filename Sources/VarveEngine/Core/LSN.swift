/// A log sequence number: the place of one change in the log.
///
/// LSNs are dense, so a gap is an error and never a guess. A batch of n changes spans n of them, and only its last is a
/// state that a reader may see. Zero stands before the first change.
public struct LSN: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable
    public init(_ value: UInt64) { rawValue = value }

    /// Before the first change.
    public static let zero = LSN(0)
    /// The largest LSN: 56 bits, because a key's trailer shares its 64 with the record's kind.
    public static let max = LSN((1 << 56) - 1)

    @inlinable
    public static func < (a: LSN, b: LSN) -> Bool { a.rawValue < b.rawValue }

    /// The LSN `count` places further. Saturates at `max`, which no log can reach.
    @inlinable
    public func advanced(by count: UInt64) -> LSN {
        let (sum, overflow) = rawValue.addingReportingOverflow(count)
        return overflow || sum > LSN.max.rawValue ? .max : LSN(sum)
    }
    /// The next LSN.
    @inlinable
    public var next: LSN { advanced(by: 1) }

    public var description: String { "\(rawValue)" }
}
