/// Entries that were made while the disk took no writes, and what it knows of them since.
extension MemoryShard {
    /// Those that the disk has not got, of so many slots below `end` (nil: from the last one down), and where to go on; nil at
    /// the end.
    ///
    /// One that takes a slot behind such a pass was written meanwhile: on disk, or while the store goes on in memory once
    /// more, whose return begins anew. One that moves meanwhile may be met twice.
    func unsaved(below end: Int?, slots: Int) -> (keys: [UnsavedKey<Key>], next: Int?) {
        let pass = entries.pass(below: end, slots: slots)
        var keys: [UnsavedKey<Key>] = []
        for slot in pass.slots {
            guard entries.isTaken[slot], entries[backOfTaken: slot].traits.contains(.unsaved) else { continue }
            let back = entries[backOfTaken: slot]
            keys.append(UnsavedKey(key: entries[taken: slot].key, hash: back.hash, version: back.version))
        }
        return (keys, pass.next)
    }

    /// The entry, where it is still the one that the disk has not got, and whether somebody may be writing or removing the
    /// key just now.
    func unsaved(_ key: UnsavedKey<Key>) -> (entry: MemoryEntry<Key, Value>, isBusy: Bool)? {
        guard let entry = peek(key.key, key.hash), entry.version == key.version, entry.traits.contains(.unsaved) else {
            return nil
        }
        return (entry, mayBeOutdated(key.key, since: key.version, isLoaded: false))
    }

    /// The disk has got it, with this deadline; nil: it shall not be tried again.
    mutating func endSaving(_ key: UnsavedKey<Key>, storedUntil: Int64?) {
        guard let slot = table.find(key.hash, { entries[taken: $0].key == key.key }),
            entries[backOfTaken: slot].version == key.version, entries[backOfTaken: slot].traits.contains(.unsaved)
        else { return }
        entries[backOfTaken: slot].traits.remove(.unsaved)
        guard let storedUntil else { return }
        entries[backOfTaken: slot].traits.insert(.onDisk)
        entries[backOfTaken: slot].settleStored(until: storedUntil)
    }
}

/// A key whose entry memory alone has got.
struct UnsavedKey<Key: CacheKey>: Sendable {
    let key: Key
    let hash: UInt64
    let version: UInt64
}
