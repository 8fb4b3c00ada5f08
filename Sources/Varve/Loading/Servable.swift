/// A value, and when it may no longer be served.
struct Servable<Value: Sendable>: Sendable {
    var value: Value
    /// `.max` also for what was loaded for those who are served it: that is theirs.
    var until: Int64
    /// Past its fresh deadline.
    var isStale = false

    init(value: Value, until: Int64, isStale: Bool = false) {
        (self.value, self.until, self.isStale) = (value, until, isStale)
    }

    /// Nil where the source has none.
    init?<Key: CacheKey>(_ entry: MemoryEntry<Key, Value>, isStale: Bool = false) {
        guard let value = entry.value else { return nil }
        self.init(value: value, until: entry.deadlines.usableUntil, isStale: isStale)
    }

    /// Nil where the source has none.
    init?(_ found: Load<Value>.Found) {
        guard let value = found.value else { return nil }
        self.init(value: value, until: found.usableUntil, isStale: found.isStale)
    }
}
