/// Which write made an entry: opaque, to be compared for equality and handed back to a conditional write.
///
/// It stands for a place in one history of writes. In another history (after a promotion, a restore, or of another store)
/// it matches nothing.
public struct EntryVersion: Hashable, Sendable, CustomStringConvertible {
    let history: UInt64
    let number: UInt64

    public var description: String { "\(String(history, radix: 16)):\(number)" }
}

/// An entry with what is known of it.
public struct CacheEntry<Value: Sendable>: Sendable {
    public let value: Value
    public let version: EntryVersion
    /// How long it may still be served; nil: for ever.
    public let usableFor: Duration?
    /// Whether it is due for a refresh.
    public let isStale: Bool
}
