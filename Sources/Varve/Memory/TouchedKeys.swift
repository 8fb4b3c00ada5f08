/// Entries whose deadlines reads have moved by more than the disk should miss, in the order of those reads. Bounded: what
/// finds no room is noted at a later read. Under the shard's lock.
struct TouchedKeys<Key: CacheKey>: Sendable {
    struct Touch: Sendable {
        let key: Key
        let hash: UInt64
        let version: UInt64
        /// The deadline at the read.
        var until: Int64
    }

    private var touches: [Touch] = []
    private static var limit: Int { 4096 }

    /// Notes an entry and marks it, so that it is noted once.
    mutating func add(_ key: Key, _ record: inout EntryRecord) {
        guard touches.count < TouchedKeys.limit else { return }
        record.traits.insert(.isTouched)
        touches.append(
            Touch(key: key, hash: record.hash, version: record.version, until: record.deadlines.usableUntil))
    }

    mutating func take(_ limit: Int) -> [Touch] {
        let taken = Array(touches.prefix(limit))
        touches.removeFirst(taken.count)
        return taken
    }
}
