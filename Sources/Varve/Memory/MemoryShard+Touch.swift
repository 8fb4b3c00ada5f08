/// Deadlines that reads have moved, and what the disk knows of them.
extension MemoryShard {
    /// A read from disk found an entry that memory does not hold: it moves the deadline, as one in memory does. False where
    /// that has passed already.
    mutating func noteRead(_ entry: inout MemoryEntry<Key, Value>, _ now: Int64) -> Bool {
        if let slot = table.find(entry.hash, { entries[taken: $0].key == entry.key }), let held = entries[slot],
            held.version == entry.version
        {
            // Memory knows better than the disk until when it lives.
            entry.deadlines.usableUntil = max(entry.deadlines.usableUntil, held.deadlines.usableUntil)
        }
        guard entry.deadlines.usableUntil > now else {
            ledger.note(entry.hash, .expired)
            return false
        }
        if entry.back.noteRead(at: now) { touched.add(entry.key, &entry.back) }
        return true
    }

    /// Some of the keys whose deadlines the disk should learn.
    mutating func takeTouched(_ limit: Int) -> [TouchedKeys<Key>.Touch] { touched.take(limit) }

    /// What became of a touch: the deadline that the disk knows by now; nil: it has learned nothing.
    mutating func endTouch(_ touch: TouchedKeys<Key>.Touch, stored: Int64?) {
        guard let slot = table.find(touch.hash, { entries[taken: $0].key == touch.key }) else { return }
        var record = entries[backOfTaken: slot]
        guard record.version == touch.version, !record.traits.contains(.isLoadAlone) else { return }
        record.traits.remove(.isTouched)
        if let stored {
            record.storedUntil = stored
            // It was read again while the disk was told.
            if record.isAhead { touched.add(touch.key, &record) }
        }
        entries[backOfTaken: slot] = record
    }
}
