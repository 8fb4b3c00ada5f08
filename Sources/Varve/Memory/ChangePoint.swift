/// Where a key changed, in the order of versions: at the version of a write or a removal, or just behind a version, where
/// something happened that has none of its own. What is behind a version is before the next one, which nobody has seen yet.
@usableFromInline
struct ChangePoint: Comparable, Sendable {
    /// Twice the version, and one more for what is behind it. Versions have 56 bits.
    @usableFromInline let order: UInt64

    @inlinable
    init(order: UInt64) { self.order = order }

    @inlinable
    static func at(_ version: UInt64) -> ChangePoint { ChangePoint(order: version &<< 1) }

    @inlinable
    static func behind(_ version: UInt64) -> ChangePoint { ChangePoint(order: version &<< 1 | 1) }

    @inlinable
    static func < (a: ChangePoint, b: ChangePoint) -> Bool { a.order < b.order }
}
