internal import VarveEngine

/// How much a tier may hold: bytes, keys and overhead counted, or entries.
public struct CacheLimit: Hashable, Sendable {
    enum Unit { case bytes, entries }
    let unit: Unit
    let amount: Int

    /// So many bytes. At least 1 in memory, 16 MiB on disk, 1 MiB as a quota.
    public static func bytes(_ count: Int) -> CacheLimit { CacheLimit(unit: .bytes, amount: count) }
    /// So many times 1024 bytes.
    public static func kilobytes(_ count: Int) -> CacheLimit { .bytes(count.clampedProduct(1 << 10)) }
    /// So many times 1024 kilobytes.
    public static func megabytes(_ count: Int) -> CacheLimit { .bytes(count.clampedProduct(1 << 20)) }
    /// So many times 1024 megabytes.
    public static func gigabytes(_ count: Int) -> CacheLimit { .bytes(count.clampedProduct(1 << 30)) }
    /// So many entries, however large they are. At least 1 in memory, 32 on disk or as a quota.
    public static func entries(_ count: Int) -> CacheLimit { CacheLimit(unit: .entries, amount: count) }
}

extension CacheLimit {
    func validateAsQuota() throws(VarveError) {
        let least = unit == .bytes ? 1 << 20 : 32
        guard amount < least else { return }
        let said = unit == .bytes ? "1 megabyte" : "32 entries"
        throw VarveError(.invalidArgument, "a cache's quota on disk is at least \(said)")
    }

    /// As the engine spells it.
    var namespaceLimit: NamespaceLimit {
        unit == .bytes ? NamespaceLimit(bytes: UInt64(max(0, amount))) : NamespaceLimit(entries: UInt64(max(0, amount)))
    }
}

extension Int {
    /// The product, or the largest integer where it is beyond.
    func clampedProduct(_ other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
