internal import Synchronization
internal import VarveEngine

/// What becomes of what a load brought.
extension Cache {
    /// Stores it, unless its key was written or removed since the load began. Where the source has none, and that is not to
    /// be remembered, what was there is removed under the same condition.
    func keep(
        _ loaded: Loaded<Value>, of load: Load<Value>, _ key: Key, _ hash: UInt64, began: UInt64, took: Int64
    ) async throws {
        let dearness = dearness(ofLoad: took)
        let change: Change
        do { change = try self.change(loaded, .loaded, loadNanoseconds: dearness) } catch {
            // No bytes can be made of it: memory needs none.
            change = try self.change(loaded, .loaded, loadNanoseconds: dearness, isEncoded: false)
            if case .entry(let new) = change { load.noteUsable(until: new.deadlines.usableUntil) }
            return await keepUnstored(change, key, hash, began: began, error)
        }
        switch change {
        case .entry(let new):
            load.noteUsable(until: new.deadlines.usableUntil)
            // A load that has asked the disk replaces nothing there. Whether a source version is too old that alone knows.
            if !load.skipsDisk, let disk, !new.isPinned, new.sourceVersion == nil, !disk.admits(key) {
                switch await keepInMemory(new, key, hash, began: began) {
                case .kept: return counts.add(.diskWriteAvoided)
                case .outdated: return counts.add(.loadOutdated)
                case .notHere: break
                }
            }
        case .removal(let sourceVersion, _):
            // A value that is over is for those who are there.
            if loaded.value != nil { load.noteUsable(until: store.clock.now()) }
            if sourceVersion == nil, await removeFromMemoryAlone(key, hash, began: began) { return }
        }
        do throws(VarveError) {
            try await store(change, key, hash, began: began, loaded.options.durability)
        } catch {
            if error.endsLoad { throw error }
            await keepUnstored(change, key, hash, began: began, error)
        }
    }

    /// What early refresh goes by, of a load that took so long.
    private func dearness(ofLoad took: Int64) -> Int64 {
        // Beyond an hour it makes no difference, and it stays a number.
        Int64(min(options.loading.earlyRefresh * Double(took), 3_600_000_000_000))
    }

    /// The same of an entry that comes from disk, which does not know how long its load took: loads of late stand for it.
    @usableFromInline
    func dearness(of stored: StoredEntry) -> Int64 {
        stored.fields.cause == DiskTier.Cause.loaded.rawValue ? dearness(ofLoad: loadTime.nanoseconds) : 0
    }

    /// What was loaded is good, only it cannot be stored. It is its callers' all the same, and lives in memory (until it is
    /// evicted, if it is not pinned), where it is an entry that may be, the disk has nothing of its key, and nothing in its
    /// place is to be saved yet. If it is used there, the disk gets it later (`keepUsedStep`), with its pin.
    private func keepUnstored(
        _ change: Change, _ key: Key, _ hash: UInt64, began: UInt64, _ error: any Error
    ) async {
        if case .entry(let new) = change, new.sourceVersion == nil, new.tags.count <= EntryOptions.mostTags {
            _ = await keepInMemory(new, key, hash, began: began)
        }
        counts.addUnstored(error)
    }

    /// What became of a load's result that memory was to hold alone.
    private enum Keeping {
        case kept
        /// It is to be kept nowhere.
        case outdated
        /// Memory alone is no place for it: the disk holds something of the key, or may be about to, or memory holds what is
        /// as new.
        case notHere
    }

    /// Has memory hold it alone, unless the disk has something of the key: that would show again when memory has forgotten
    /// this.
    private func keepInMemory(_ new: NewEntry, _ key: Key, _ hash: UInt64, began: UInt64) async -> Keeping {
        // What memory holds alone, or held, may get to the disk between its answer and the lock, and nobody would tell of that.
        guard let disk, let quiet = saving.withLock({ $0.quiet }), !(await disk.mayHold(keyBytes(key))) else {
            return .notHere
        }
        return memory.change(hash) { shard, discarded in
            guard saving.withLock({ $0.quiet }) == quiet else { return .notHere }
            if shard.mayBeOutdated(key, since: began) { return .outdated }
            var entry = makeEntry(new, key, hash, began, [])
            entry.back.setLoad(store.nextLoad())
            guard shard.publishLone(entry, &discarded) else { return .notHere }
            // Another load of the key that began no later must not take its place: readers have seen this one.
            shard.note(key, .behind(began))
            return .kept
        }
    }

    /// Where the disk holds nothing of a key whose load found nothing, nothing need be written: memory forgets what it holds
    /// alone, if it does, and loads that began no later do not store theirs. False, with nothing done, where the disk holds
    /// something, or may be about to.
    private func removeFromMemoryAlone(_ key: Key, _ hash: UInt64, began: UInt64) async -> Bool {
        guard let disk else { return false }
        // As for `keepInMemory`. And where the log has failed a step's write may stand unseen: what hides it is the usual way.
        guard let quiet = saving.withLock({ $0.quiet }) else { return false }
        if let degraded = disk.degraded, degraded.isAboutToLeaveDisk { return false }
        guard !(await disk.mayHold(keyBytes(key))) else { return false }
        return memory.change(hash) { shard, discarded in
            guard saving.withLock({ $0.quiet }) == quiet else { return false }
            if shard.mayBeOutdated(key, since: began) {
                counts.add(.loadOutdated)
                return true
            }
            guard let held = shard.peek(key, hash) else {
                shard.note(key, .behind(began))
                return true
            }
            guard held.traits.isDisjoint(with: [.onDisk, .unsaved]) else { return false }
            shard.erase(key, hash, .behind(began), &discarded)
            return true
        }
    }

    /// Commits a load's result, unless its key was written or removed since the load began, which is counted.
    ///
    /// Who writes or removes a key says so before (a flight that writes, a tag's drop, a removal of many). So what a look
    /// at memory does not show has not been committed by then, and everything that is committed after the look the
    /// engine finds by itself.
    private func store(
        _ change: Change, _ key: Key, _ hash: UInt64, began: UInt64, _ durability: Durability?
    ) async throws(VarveError) {
        for _ in 0..<16 {
            let looked = disk?.visible.rawValue ?? store.presentVersion
            let isOutdated = memory.withShard(hash) { $0.mayBeOutdated(key, since: began) }
            guard !isOutdated, memory.context.tags.keeps(change.tags, version: began + 1, evenIfPending: false) else {
                return counts.add(.loadOutdated)
            }
            let demand = Demand.unchanged(since: disk == nil ? began : looked, notOlder: change.sourceVersion)
            do throws(VarveError) {
                _ = try await commit(key, change, demand, durability)
                return
            } catch {
                guard error.code == .conditionFailed else { throw error }
                // A flush hides from the engine what was written lately: look again, once it can be seen.
                guard let disk, case .changed = error.failedCondition?.reason else {
                    // A floor that others raised has its own count.
                    if !error.isOfSharedFloor { counts.add(.loadOutdated) }
                    return
                }
                try await settle(disk)
            }
        }
        // A store that is written and flushed so fast has no place for it now.
        counts.add(.loadOutdated)
    }

    /// Returns when what was written can be seen, or never will be, since the log has failed and the store goes on in
    /// memory; and when nobody raises a floor who did.
    func settle(_ disk: DiskTier) async throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
        if disk.floors.isPending { await disk.floors.settled() }
        let engine = disk.engine
        do throws(VarveError) { try await engine.settle() } catch {
            guard let degraded = disk.degraded, DegradedMode.isRefusal(error) else { throw error }
            await degraded.enter(error, of: engine)
        }
    }
}

extension VarveError {
    /// Whether the write of a load's result that fails so is the end of the load as well: the cache is being closed, or
    /// nobody waits any more. All else is told to who sets a value, not to who asks for one.
    var endsLoad: Bool { [.closed, .cancelled].contains(code) }
}
