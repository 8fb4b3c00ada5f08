/// Removals of many keys. Memory has no order, so its slots are searched through, some under each hold of the lock: reads of
/// other keys do not wait for that.
extension MemoryShard {
    // MARK: Where the disk is the authority

    /// Begins a removal of many keys: nothing comes in until it ends. Those that are here leave in steps (`removeMany`), before
    /// the disk is told or, where it may refuse, after. Each is served from memory as before until it has left: nobody has been
    /// to the disk for it.
    mutating func beginMassRemoval() {
        massRemovals += 1
        changes &+= 1
    }

    /// Removes what matches and is older than `version`, among so many slots below `end` (nil: from the last one down), and
    /// tells where to go on; nil at the end. `floor`: what has this source version, or a newer one, stays.
    mutating func removeMany(
        below end: Int?, slots: Int, olderThan version: UInt64? = nil, sparingFrom floor: UInt64? = nil,
        _ discarded: inout Discarded<Key, Value>, where matches: (Key) -> Bool
    ) -> Int? {
        let pass = entries.pass(below: end, slots: slots)
        for slot in pass.slots where entries.isTaken[slot] {
            let present = entries[backOfTaken: slot].version
            guard present < version ?? .max, !isSpared(slot, from: floor), matches(entries[taken: slot].key) else {
                continue
            }
            takeOut(slot, removedAt: version, &discarded)
        }
        return pass.next
    }

    private func isSpared(_ slot: Int, from floor: UInt64?) -> Bool {
        guard let floor else { return false }
        let own = entries[backOfTaken: slot].sourceVersion
        return own > 0 && own >= floor
    }

    /// `version`: of a removal in memory alone. One on disk tells the flights when it has happened.
    private mutating func takeOut(
        _ slot: Int, removedAt version: UInt64?, _ discarded: inout Discarded<Key, Value>
    ) {
        ledger.note(entries[backOfTaken: slot].hash, .invalidated)
        if let version, !flights.isEmpty {
            // A load that began after the removal may have found it here, and is not for those who come now: not even where
            // its flight was out before, and has been told.
            let key = entries[taken: slot].key
            note(key, .at(version))
            loads[key] = nil
        }
        discarded.add(remove(slot))
    }

    /// Ends it: it happened at `version` (nil: it did not happen), and flights bring nothing older home.
    mutating func endMassRemoval(at version: UInt64?, where matches: (Key) -> Bool) {
        massRemovals -= 1
        changes &+= 1
        if let version { noteMassRemoval(at: version, where: matches) }
    }

    private mutating func noteMassRemoval(at version: UInt64, where matches: (Key) -> Bool) {
        for (key, flight) in flights where flight.isSpelledTwice || matches(key) { note(key, .at(version)) }
        // Loads go by their bytes: which of two spellings a flight's key has says nothing of the other's load.
        if flights.values.contains(where: \.isSpelledTwice) { loads = KeyTable() }
    }

    // MARK: Where memory is

    /// Begins a removal of the keys that match, as they are now, at a version that nothing here has reached. What is written
    /// while it goes through the slots is newer and stays. Each key that is here is removed when it is come to, and until
    /// then served; but nothing may be made of it: whoever changes it removes it first (`completeRemovals`).
    mutating func beginRemoval(_ removal: PassingRemoval<Key>) {
        changes &+= 1
        if let floors = removal.floors { prefixFloors = floors }
        passingRemovals.append(removal)
        noteMassRemoval(at: removal.version, where: removal.matches)
    }

    /// It has gone through all slots.
    mutating func endRemoval(at version: UInt64) { passingRemovals.removeAll { $0.version == version } }

    /// Removes a key that removals under way have yet to come to.
    mutating func completeRemovals(of key: Key, _ hash: UInt64, _ discarded: inout Discarded<Key, Value>) {
        if passingRemovals.isEmpty { return }
        guard let slot = table.find(hash, { entries[taken: $0].key == key }) else { return }
        let (held, version) = (entries[taken: slot].key, entries[backOfTaken: slot].version)
        let removals = passingRemovals.filter {
            version < $0.version && !isSpared(slot, from: $0.sparesFrom) && $0.matches(held)
        }
        guard let latest = removals.map(\.version).max() else { return }
        takeOut(slot, removedAt: latest, &discarded)
    }
}

/// A removal of many keys in memory alone.
struct PassingRemoval<Key: CacheKey>: Sendable {
    let version: UInt64
    /// What has this source version, or a newer one, stays; nil: nothing does.
    var sparesFrom: UInt64?
    /// The floors that hold from its beginning on, where it raises one.
    var floors: PrefixFloors?
    let matches: @Sendable (Key) -> Bool
}
