/// Which write made an entry: opaque, to be compared for equality and handed back to a conditional write.
///
/// It stands for a place in one history of writes. In another history (after a promotion, a restore, or of another store)
/// it matches nothing.
public struct EntryVersion: Hashable, Sendable, CustomStringConvertible {
    let history: UInt64
    let number: UInt64
    /// Which load brought the entry, where memory alone holds it: its number is then only the place in the history that it is
    /// good from, and two loads may share that. 0: a write made it.
    var load: UInt64 = 0

    public var description: String {
        let place = "\(String(history, radix: 16)):\(number)"
        return load == 0 ? place : place + ":\(String(load, radix: 16))"
    }
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
