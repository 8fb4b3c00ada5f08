public import VarveEngine

extension Cache {
    /// Stores a value under a key: on disk first, then in memory. When it returns, every reader sees it, and it survives
    /// what its durability says.
    /// - Throws: what the value's coding throws; `VarveError` with `.invalidArgument` for an expiry that is not above zero,
    ///   `.limitExceeded` at the door, `.diskFull` and
    ///   `.stalled` with nothing written, `.failedStop` where no write is taken; `.conditionFailed` where the options carry
    ///   a source version and a newer one is known: of the key, whose entry stays then, or of keys that share its place
    ///   among what is remembered of entries that went, and then the key has no entry any more.
    @discardableResult
    public func set(_ value: Value, for key: Key, _ entry: EntryOptions = EntryOptions()) async throws -> EntryVersion {
        let change = try change(writing: value, entry)
        guard let sourceVersion = entry.sourceVersion else {
            return version(try await commit(key, change, .none, entry.durability))
        }
        while true {
            do throws(VarveError) {
                return version(try await commit(key, change, .notOlder(sourceVersion), entry.durability))
            } catch {
                // What may stand above it cannot be told before what was written lately is visible.
                guard let disk, case .changed = error.failedCondition?.reason else { throw error }
                try await settle(disk)
            }
        }
    }

    /// Removes a key; it need not be there.
    /// - Throws: `.diskFull` and `.stalled` with nothing removed; `.failedStop` and `.io` where no write is taken,
    ///   or the log failed with this one, of which nobody knows then whether it stands; `.limitExceeded` for a key above 64
    ///   KiB; `.cancelled` where the task is, though the key may be gone; `.closed`.
    public func remove(_ key: Key, durability: Durability? = nil) async throws(VarveError) {
        _ = try await commit(key, .removal(sourceVersion: nil), .none, durability)
    }

    /// Removes a key whose entry is of an older source version than this, or names none, and refuses every older one from
    /// now on: a late writer cannot bring old data back. An entry of this version stays, or of a newer one: what was loaded
    /// after a change needs no removal when the change is told.
    ///
    /// False, with nothing changed, where the key itself is known to have had this version or a newer one, and has nothing
    /// older; what other keys had refuses no removal. A version of 0 counts as none.
    /// - Throws: `VarveError` as `remove(_:durability:)`.
    @discardableResult
    public func remove(
        _ key: Key, olderThan sourceVersion: UInt64, durability: Durability? = nil
    ) async throws(VarveError) -> Bool {
        do throws(VarveError) {
            let older = max(sourceVersion, 1) - 1
            _ = try await commit(key, .removal(sourceVersion: sourceVersion), .notOlder(older), durability)
            return true
        } catch {
            guard error.code == .conditionFailed else { throw error }
            guard case .olderSourceVersion(_, let standing, _) = error.failedCondition?.reason else { return false }
            return try await removeUnversioned(key, knownFrom: standing, durability)
        }
    }

    /// Removes an entry that names no source version, of a key that is known to have had this one: nobody can tell that it
    /// is as new. False where there is none.
    private func removeUnversioned(
        _ key: Key, knownFrom sourceVersion: UInt64, _ durability: Durability?
    ) async throws(VarveError) -> Bool {
        var known = sourceVersion
        while true {
            let present = try await present(key)
            guard present.sourceVersion == 0 else { return false }
            do throws(VarveError) {
                let removal = Change.removal(sourceVersion: known)
                if try await attempt(key, removal, present, notOlder: known, durability) != nil { return true }
            } catch {
                guard error.code == .conditionFailed else { throw error }
                guard case .olderSourceVersion(_, let standing, _) = error.failedCondition?.reason, standing > known
                else { return false }
                known = standing
            }
        }
    }

    // MARK: Conditional

    /// Stores a value if the key's entry is still of this version, or, for nil, if it has none. Nil, with nothing written,
    /// where it is not.
    /// - Throws: as `set`; like it every conditional write throws `.conditionFailed` where its options carry a source version
    ///   and a newer one is known.
    public func set(
        _ value: Value, for key: Key, ifVersion expected: EntryVersion?, _ entry: EntryOptions = EntryOptions()
    ) async throws -> EntryVersion? {
        let change = try change(writing: value, entry)
        while true {
            let present = try await present(key)
            guard present.version.map({ self.version($0, load: present.load) }) == expected else { return nil }
            let number = try await attempt(key, change, present, notOlder: entry.sourceVersion, entry.durability)
            if let number { return version(number) }
        }
    }

    /// Removes a key if its entry is still of this version. False, with nothing changed, where it is not.
    /// - Throws: as `take(_:durability:)`.
    @discardableResult
    public func remove(
        _ key: Key, ifVersion expected: EntryVersion, durability: Durability? = nil
    ) async throws(VarveError) -> Bool {
        while true {
            let present = try await present(key)
            guard present.version.map({ version($0, load: present.load) }) == expected else { return false }
            let number = try await attempt(key, .removal(sourceVersion: nil), present, notOlder: nil, durability)
            if number != nil { return true }
        }
    }

    /// Stores a value where the key has none. Nil, with nothing written, where it has.
    public func add(
        _ value: Value, for key: Key, _ entry: EntryOptions = EntryOptions()
    ) async throws -> EntryVersion? {
        try await set(value, for: key, ifVersion: nil, entry)
    }

    /// Stores a value where the key has one. Nil, with nothing written, where it has not. Apart from that it is `set`: nothing
    /// of the entry before stays, neither its tags nor its pin, and the expiry begins anew.
    public func replace(
        _ value: Value, for key: Key, _ entry: EntryOptions = EntryOptions()
    ) async throws -> EntryVersion? {
        let change = try change(writing: value, entry)
        while true {
            let present = try await present(key)
            guard present.value != nil else { return nil }
            let number = try await attempt(key, change, present, notOlder: entry.sourceVersion, entry.durability)
            if let number { return version(number) }
        }
    }

    /// Changes a key's value in one step: `body` gets the present one, nil where there is none, and leaves the new one,
    /// nil to remove it. It may be called several times, when others write the key meanwhile. Returns what it left.
    ///
    /// - Parameter entry: nil (the default) keeps the tags of the entry that is there, its pin and its source version, and
    ///   its expiry begins anew by the cache's options, as with every write. Options that are given replace all of that.
    /// - Throws: what `body` throws, with nothing changed; else as `set`, with `.conditionFailed` where the options carry a
    ///   source version and a newer one is known.
    @discardableResult
    public func update(
        _ key: Key, _ entry: EntryOptions? = nil, _ body: (inout Value?) throws -> Void
    ) async throws -> Value? {
        try await update(key, entry, keepsDeadline: false, body)
    }

    /// `keepsDeadline`: without options the present entry's deadlines stay as well.
    func update(
        _ key: Key, _ entry: EntryOptions?, keepsDeadline: Bool, _ body: (inout Value?) throws -> Void
    ) async throws -> Value? {
        while true {
            let present = try await present(key)
            var value = present.value
            try body(&value)
            if value == nil, present.value == nil { return nil }
            var change = Change.removal(sourceVersion: nil)
            if let value, let entry {
                change = try self.change(writing: value, entry)
            } else if let value {
                change = try self.change(value, keeping: present.kept, keepsDeadline: keepsDeadline)
            }
            // What is kept can be no older than what stands while that stands.
            let notOlder = entry == nil ? nil : change.sourceVersion
            if try await attempt(key, change, present, notOlder: notOlder, entry?.durability) != nil { return value }
        }
    }

    /// Removes a key and returns the value that it had, in one step; nil where it had none.
    /// - Throws: as `remove(_:durability:)`, and as `value(for:)` where what is there cannot be read.
    public func take(_ key: Key, durability: Durability? = nil) async throws(VarveError) -> Value? {
        while true {
            let present = try await present(key)
            guard let value = present.value else { return nil }
            let number = try await attempt(key, .removal(sourceVersion: nil), present, notOlder: nil, durability)
            if number != nil { return value }
        }
    }

    /// Commits a change if the key still is as it was found; nil where it is not.
    private func attempt(
        _ key: Key, _ change: Change, _ present: Present, notOlder: UInt64?, _ durability: Durability?
    ) async throws(VarveError) -> UInt64? {
        do throws(VarveError) {
            let demand = Demand.version(
                present.standing, load: present.load, tags: present.tags, since: present.looked,
                notOlder: notOlder)
            return try await commit(key, change, demand, durability)
        } catch {
            guard error.code == .conditionFailed else { throw error }
            // It would be refused again, whatever the key has.
            if case .olderSourceVersion = error.failedCondition?.reason { throw error }
            // What was written lately may not be visible yet.
            if let disk, case .changed = error.failedCondition?.reason { try await settle(disk) }
            return nil
        }
    }

    /// What a key has at present.
    struct Present {
        /// Nil: nothing that may be served.
        var value: Value?
        /// The version of `value`.
        var version: UInt64?
        /// The load that brought `value`, where memory alone holds it; 0: `version` is a write's.
        var load: UInt64 = 0
        /// The version that the authority holds, be it servable or not: what a conditional write compares.
        var standing: UInt64?
        /// The tags of `value`, none of which had been dropped up to the version `looked`, nor was being dropped.
        var tags: [UInt64] = []
        /// Where memory alone holds `value`, nothing else tells of a change after this.
        var looked: UInt64 = 0
        /// What else the entry of `value` has.
        var kept: KeptFields?
        /// The source version of the entry that may be served, be it that there is no value; 0: it names none. Nil: there is
        /// no entry.
        var sourceVersion: UInt64?
    }

    /// The present entry from where the truth is: the disk, or memory where there is none. What memory holds alone (a
    /// load's result that the disk was spared) counts as the key's value.
    ///
    /// What the disk said is taken to memory before this returns: who acts on it must not read something older next.
    private func present(_ key: Key) async throws(VarveError) -> Present {
        try gate.enter()
        defer { gate.leave() }
        let hash = memory.hash(key)
        var entry = heldAfterRemovals(key, hash)
        while let tags = entry?.tags, memory.context.tags.isPending(tags) {
            await memory.context.tags.settled(tags)
            entry = heldAfterRemovals(key, hash)
        }
        let live = entry.flatMap { isLive($0) ? $0 : nil }
        guard let disk else {
            return Present(
                value: live?.value, version: live?.value == nil ? nil : live?.version, standing: live?.version,
                kept: KeptFields(live), sourceVersion: live?.sourceVersion)
        }
        memory.withShard(hash) { $0.beginFlight(key) }
        defer { memory.withShard(hash) { $0.endFlight(key) } }
        while true {
            if let present = presentInstead(key, hash) { return present }
            let looked = disk.visible.rawValue
            let stored = try await disk.entry(keyBytes(key))
            // A floor that is being raised may be older than what is written on the strength of this look, and memory has
            // what it hides until it is there.
            if disk.floors.isPending {
                await disk.floors.settled()
                continue
            }
            guard let stored else {
                noteAbsent(key, hash, disk)
                // Looked at after the disk: who writes the key later than `looked` is found by the commit.
                let held = memory.withShard(hash) { $0.peek(key, hash) }
                // What memory held alone may have got to the disk after its answer, and left memory since; nobody has changed
                // the key then. Once: the second time memory held nothing alone.
                if let before = entry, !before.traits.contains(.onDisk), held?.traits.contains(.onDisk) ?? true {
                    entry = held
                    continue
                }
                guard let held, !held.traits.contains(.onDisk), isLive(held) else {
                    if let entry { memory.change(hash) { $0.erase(key, hash, at: entry.version, &$1) } }
                    return Present()
                }
                if disk.tags.registry.isPending(held.tags) {
                    await disk.tags.registry.settled(held.tags)
                    continue
                }
                return Present(
                    value: held.value, version: held.value == nil ? nil : held.version, load: held.load,
                    tags: held.tags, looked: looked, kept: KeptFields(held), sourceVersion: held.sourceVersion)
            }
            // A drop that has begun but not ended may be older than it, too.
            let tags = stored.fields.tags
            if disk.tags.registry.isPending(tags) {
                await disk.tags.registry.settled(tags)
                continue
            }
            guard let found = admit(stored, key, hash) else {
                noteAbsent(key, hash, disk)
                return Present(standing: stored.version.rawValue)
            }
            return Present(
                value: found.value, version: found.value == nil ? nil : found.version,
                standing: stored.version.rawValue, tags: tags, looked: looked, kept: KeptFields(found),
                sourceVersion: found.sourceVersion)
        }
    }

    /// What memory has of a key, when removals in memory alone that are under way have come to it.
    func heldAfterRemovals(_ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        memory.change(hash) { shard, discarded in
            shard.completeRemovals(of: key, hash, &discarded)
            return shard.peek(key, hash)
        }
    }

    private func noteAbsent(_ key: Key, _ hash: UInt64, _ disk: DiskTier) {
        let seen = disk.visible.rawValue
        memory.change(hash) { $0.noteAbsent(key, hash, upTo: seen, &$1) }
    }

    func isLive(_ entry: MemoryEntry<Key, Value>) -> Bool {
        entry.deadlines.usableUntil > store.clock.now()
            && memory.context.tags.keeps(entry.tags, version: entry.version)
    }
}

extension Cache where Value: FixedWidthInteger {
    /// Adds to a counter in one step and returns what it is then; one that is not there begins at 0.
    ///
    /// - Parameter entry: nil (the default) keeps all that the counter has beside its value: tags, pin, source version, and
    ///   its deadline, so that it counts within a window that began with the first increment. (Where reads move the
    ///   deadline, an increment does so too.) Options that are given replace all of that, also those of a counter that is
    ///   there.
    /// - Throws: `.limitExceeded` where the sum does not fit.
    @discardableResult
    public func increment(_ key: Key, by amount: Value = 1, _ entry: EntryOptions? = nil) async throws -> Value {
        var sum: Value = 0
        _ = try await update(key, entry, keepsDeadline: true) { value in
            let (total, overflow) = (value ?? 0).addingReportingOverflow(amount)
            if overflow { throw VarveError(.limitExceeded, "the counter would leave its type's range") }
            sum = total
            value = total
        }
        return sum
    }
}
