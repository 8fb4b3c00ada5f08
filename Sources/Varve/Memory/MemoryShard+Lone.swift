internal import VarvePolicy

/// What loads brought and memory holds alone, and what the disk comes to know of it.
extension MemoryShard {
    /// Takes in what a load brought and nobody stores. False: something newer is known.
    mutating func publishLone(_ entry: MemoryEntry<Key, Value>, _ discarded: inout Discarded<Key, Value>) -> Bool {
        guard publish(entry, .load, &discarded) else { return false }
        hasLone = true
        return true
    }

    /// Those that were hit since they came, of so many slots below `end` (nil: from the last one down), and where to go on; nil
    /// at the end. One that moves meanwhile may be met twice.
    mutating func usedLone(below end: Int?, slots: Int) -> (used: [UsedLone<Key>], next: Int?) {
        if end == nil {
            guard hasLone else { return ([], nil) }
            // Until the pass meets one, or one comes in behind it.
            hasLone = false
        }
        let pass = entries.pass(below: end, slots: slots)
        var used: [UsedLone<Key>] = []
        for slot in pass.slots where entries.isTaken[slot] {
            let traits = entries[backOfTaken: slot].traits
            guard traits.contains(.isLoadAlone), !traits.contains(.staysInMemory) else { continue }
            hasLone = true
            guard let worth = policy.worthOfUse(slot), let entry = entries[slot] else { continue }
            used.append(UsedLone(key: LoneKey(entry), worth: worth))
        }
        return (used, pass.next)
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
    let load: UInt64

    init<Value>(_ entry: MemoryEntry<Key, Value>) {
        (key, hash, version, load) = (entry.key, entry.hash, entry.version, entry.load)
    }

    /// Whether this is the entry, and memory holds it alone still.
    func names<Value>(_ entry: MemoryEntry<Key, Value>) -> Bool {
        load != 0 && entry.load == load && entry.version == version
    }
}

/// One that was hit since it came.
struct UsedLone<Key: CacheKey>: Sendable {
    let key: LoneKey<Key>
    /// To the policy.
    let worth: UInt64

    /// Of two alike the one that came later is hotter: the older one had more time for its hits.
    func isColder(than other: UsedLone) -> Bool { (worth, key.load) < (other.worth, other.key.load) }
}
