/// How much a tier may hold: bytes, keys and overhead counted, or entries.
public struct CacheLimit: Hashable, Sendable {
    enum Unit { case bytes, entries }
    let unit: Unit
    let amount: Int

    /// At least 1.
    public static func bytes(_ count: Int) -> CacheLimit { CacheLimit(unit: .bytes, amount: count) }
    public static func kilobytes(_ count: Int) -> CacheLimit { .bytes(count.clampedProduct(1 << 10)) }
    public static func megabytes(_ count: Int) -> CacheLimit { .bytes(count.clampedProduct(1 << 20)) }
    public static func gigabytes(_ count: Int) -> CacheLimit { .bytes(count.clampedProduct(1 << 30)) }
    /// At least 1.
    public static func entries(_ count: Int) -> CacheLimit { CacheLimit(unit: .entries, amount: count) }
}

extension Int {
    /// The product, or the largest integer where it is beyond.
    func clampedProduct(_ other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
