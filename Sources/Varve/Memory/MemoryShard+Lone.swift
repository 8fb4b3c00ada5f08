internal import VarvePolicy

/// What loads brought and memory holds alone, and what the disk comes to know of it.
extension MemoryShard {
    /// Takes in what a load brought and nobody stores. False: something newer is known.
    mutating func publishLone(_ entry: MemoryEntry<Key, Value>, _ discarded: inout Discarded<Key, Value>) -> Bool {
        guard publish(entry, .load, &discarded) else { return false }
        hadLone = true
        return true
    }

    /// Some of those that were hit since they came, hottest first.
    func usedLone(atMost limit: Int) -> [LoneKey<Key>] {
        guard hadLone else { return [] }
        let slots = policy.hottestUsed(limit) { slot in
            guard entries.holds(slot) else { return false }
            let traits = entries[backOfTaken: slot].traits
            return traits.contains(.isLoadAlone) && !traits.contains(.staysInMemory)
        }
        return slots.compactMap { entries[$0] }.map { LoneKey($0) }
    }

    /// The entry, where memory holds it still, and nobody is or may just have been writing or removing its key, or writing its
    /// origin.
    func lone(_ key: LoneKey<Key>) -> MemoryEntry<Key, Value>? {
        guard let entry = peek(key.key, key.hash), key.names(entry), !mayBeOutdated(key.key, since: key.version) else {
            return nil
        }
        return entry
    }

    /// The disk has got it, at this version and with this deadline.
    mutating func endLone(_ key: LoneKey<Key>, at version: UInt64, storedUntil: Int64) {
        change(key) { $0.endLoad(version: version, storedUntil: storedUntil) }
    }

    /// The disk cannot take it: it is not to be tried again.
    mutating func keepLone(_ key: LoneKey<Key>) { change(key) { $0.traits.insert(.staysInMemory) } }

    private mutating func change(_ key: LoneKey<Key>, _ body: (inout MemoryEntry<Key, Value>) -> Void) {
        guard let slot = table.find(key.hash, { entries[taken: $0].key == key.key }), var entry = entries[slot],
            key.names(entry)
        else { return }
        body(&entry)
        entries[slot] = entry
    }
}

/// A key whose entry a load brought that memory alone holds.
struct LoneKey<Key: CacheKey>: Sendable {
    let key: Key
    let hash: UInt64
    let version: UInt64
    private let load: UInt64

    init<Value>(_ entry: MemoryEntry<Key, Value>) {
        (key, hash, version, load) = (entry.key, entry.hash, entry.version, entry.load)
    }

    /// Whether this is the entry, and memory holds it alone still.
    func names<Value>(_ entry: MemoryEntry<Key, Value>) -> Bool {
        load != 0 && entry.load == load && entry.version == version
    }
}
