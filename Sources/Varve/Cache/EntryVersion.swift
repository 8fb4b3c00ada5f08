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

    /// History and number, and the load where one made it: what `init(_:)` reads again.
    public var description: String {
        let place = "\(String(history, radix: 16)):\(number)"
        return load == 0 ? place : place + ":\(String(load, radix: 16))"
    }
}

/// An entry with what is known of it.
public struct CacheEntry<Value: Sendable>: Sendable {
    /// What the key has.
    public let value: Value
    /// Which write or load brought it: for a conditional write. A load's that a full disk did not take at first matches nothing
    /// any more once the disk has got the entry, which then has another.
    public let version: EntryVersion
    /// How long it may still be served; nil: for ever.
    public let usableFor: Duration?
    /// Whether it is due for a refresh.
    public let isStale: Bool
}
