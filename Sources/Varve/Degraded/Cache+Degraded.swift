internal import VarveEngine

/// How a cache changes its content where its store may go on in memory.
extension Cache {
    /// Changes something on disk that memory knows nothing of, such as notes, within the way by which the store's content is
    /// changed, so that nothing is written on an engine that is about to be replaced; nil, with nothing done, unless that way
    /// is the disk's. Blocks.
    ///
    /// What fails sends nobody to memory: an engine that takes no more writes does (`DegradedMode.attend`), and a disk
    /// without room when something is written that somebody asked for. A mark for the sake of a hint would cost the next
    /// start all that is on disk.
    func onDisk<Result>(_ body: () -> Result) -> Result? {
        guard let degraded = store.degraded else { return body() }
        guard degraded.beginOnDisk() else { return nil }
        defer { degraded.end() }
        return body()
    }

    /// Makes a change by the way that is open, and changes the way where the disk refuses it.
    func commit(
        _ key: Key, _ hash: UInt64, _ change: Change, _ demand: Demand, _ durability: Durability?, _ disk: DiskTier,
        _ degraded: DegradedMode
    ) async throws(VarveError) -> UInt64 {
        // What may have left the change in the log, though nobody has seen it. A load's is promised to nobody.
        var doubtful: VarveError?
        while true {
            switch await degraded.begin() {
            case .disk:
                // What stood there the return has hidden and deleted.
                doubtful = nil
                let engine = disk.engine
                let made: Made
                do throws(VarveError) {
                    defer { degraded.end() }
                    made = try await commitOnDisk(key, hash, change, demand, durability, disk)
                } catch {
                    if error.stage == .conditions { throw refusal(ofUnread: error, change, degraded) }
                    guard DegradedMode.isRefusal(error) else { throw error }
                    await degraded.enter(error, of: engine)
                    if error.leavesNothingWritten { continue }
                    // No reader has seen it, but it may be on disk, and a condition cannot be asked twice. Neither what it
                    // made nor what was there before may show.
                    if case .version = demand {
                        await forget(key, hash, disk, degraded)
                        throw error
                    }
                    if !change.isLoad { doubtful = error }
                    continue
                }
                if let failure = made.write.failure { try await standBy(change, failure, of: engine, degraded) }
                return try made.version()
            case .memory:
                let version: UInt64?
                do throws(VarveError) {
                    defer { degraded.end() }
                    version = try await commitDegraded(key, hash, change, demand, disk, degraded)
                } catch {
                    // Without the mark what is in the log shows after a crash: nobody may be told that nothing was written.
                    throw degraded.mark.isSet ? error : doubtful ?? error
                }
                if let version { return version }
                await degraded.trialEnded()
            }
        }
    }

    /// Returns once a change that readers have seen, though the log failed before it was durable, may be acknowledged.
    /// Others may have changed the key since, so it is not made once more: where the disk has lost it, the way back hides
    /// what was there before.
    private func standBy(
        _ change: Change, _ failure: VarveError, of engine: Engine, _ degraded: DegradedMode
    ) async throws(VarveError) {
        guard DegradedMode.isRefusal(failure) else { throw failure }
        await degraded.enter(failure, of: engine)
        if change.isLoad { return }
        let way = await degraded.begin()
        defer { degraded.end() }
        guard case .memory = way else { return }
        // Readers have seen it, so that it was not written must not be said.
        do throws(VarveError) { try await degraded.requireMark() } catch { throw failure }
    }

    /// Makes a removal of many keys, or the drop of a tag, by the way that is open: `write` on disk.
    func commit(
        _ removal: MassRemoval, _ disk: DiskTier,
        write: @escaping @Sendable () async throws(VarveError) -> UInt64
    ) async throws(VarveError) -> UInt64 {
        guard let degraded = disk.degraded else { return try await write() }
        var doubtful: VarveError?
        while true {
            switch await degraded.begin() {
            case .disk:
                doubtful = nil
                let engine = disk.engine
                do throws(VarveError) {
                    defer { degraded.end() }
                    return try await write()
                } catch {
                    guard DegradedMode.isRefusal(error) else { throw error }
                    await degraded.enter(error, of: engine)
                    if !error.leavesNothingWritten { doubtful = error }
                }
            case .memory:
                defer { degraded.end() }
                try removal.checkPossible(in: disk.namespace, doubtful)
                do throws(VarveError) { try await degraded.requireMark() } catch { throw doubtful ?? error }
                let version = degraded.nextVersion()
                switch removal {
                case .range(let range): disk.shadow?.hide(range)
                case .tag(let tag): disk.shadow?.hide(tag: tag, at: version)
                case .floor: break
                }
                return version
            }
        }
    }

    private func forget(_ key: Key, _ hash: UInt64, _ disk: DiskTier, _ degraded: DegradedMode) async {
        let bytes = keyBytes(key)
        let way = await degraded.begin()
        defer { degraded.end() }
        memory.change(hash) { shard, discarded in
            switch way {
            case .disk: shard.erase(key, hash, at: disk.engine.visible.rawValue, &discarded)
            case .memory:
                disk.shadow?.hide(bytes, sourceVersion: nil)
                shard.erase(key, hash, at: degraded.nextVersion(), &discarded)
            }
        }
    }

    // MARK: In memory

    /// Memory is the authority for every key that was changed since the disk stopped taking writes, and the disk for the
    /// rest, which nobody changes meanwhile. So a condition is checked on disk first, where the key is the disk's, and
    /// then, under the shard's lock, only whether it still is.
    ///
    /// Nil, with nothing changed: the engine on disk cannot tell any more, since another one is about to take its place.
    /// That one is to be asked, when nobody is within.
    private func commitDegraded(
        _ key: Key, _ hash: UInt64, _ change: Change, _ demand: Demand, _ disk: DiskTier, _ degraded: DegradedMode
    ) async throws(VarveError) -> UInt64? {
        let bytes = keyBytes(key)
        // What the disk could never take is refused as it would be there.
        _ = try batch(bytes, change, demand, disk)
        memory.withShard(hash) { $0.beginFlight(key, writes: true) }
        defer { memory.withShard(hash) { $0.endFlight(key, wrote: true) } }
        // A load's result is acknowledged to nobody.
        let isLoad = change.isLoad
        if !isLoad { try await degraded.requireMark() }
        var change = change
        // Why what is made is the removal of what was there, and not the value: as `commitOnDisk` has it.
        var refused: VarveError?
        while true {
            let isHidden = disk.hides(bytes)
            do throws(VarveError) { try await checkOnDisk(bytes, change, demand, isHidden: isHidden, disk) } catch {
                if error.isOfSharedFloor {
                    (refused, change) = (error, change.refused)
                    continue
                }
                if DegradedMode.isDamage(error), degraded.isReplacing(disk.engine) { return nil }
                throw refusal(ofUnread: error, change, degraded)
            }
            if !isLoad, let sourceVersion = change.sourceVersion {
                // What is refused anyway raises no floor.
                let refusal = memory.withShard(hash) {
                    disk.hides(bytes) == isHidden
                        ? self.refusal(key, bytes, change, demand, isHidden: isHidden, disk, degraded, &$0) : nil
                }
                if let refusal {
                    guard refusal.isOfSharedFloor else { throw refusal }
                    (refused, change) = (refusal, change.refused)
                    continue
                }
                try await degraded.raiseFloor(sourceVersion, ofKeyHash: disk.keyHash(bytes))
            }
            let outcome: Result<UInt64, VarveError>? = memory.change(hash) { shard, discarded in
                if disk.hides(bytes) != isHidden { return nil }
                // Before the look at the tags: a drop that the look does not see gets a later version.
                let version = degraded.nextVersion()
                if let refusal = refusal(key, bytes, change, demand, isHidden: isHidden, disk, degraded, &shard) {
                    return .failure(refusal)
                }
                disk.shadow?.hide(bytes, sourceVersion: change.sourceVersion)
                switch change {
                case .entry(let new):
                    _ = shard.publish(makeEntry(new, key, hash, version, .unsaved), .write, &discarded)
                case .removal: shard.erase(key, hash, at: version, &discarded)
                }
                return .success(version)
            }
            guard let outcome else { continue }
            do throws(VarveError) {
                let version = try outcome.get()
                if let refused { throw refused }
                return version
            } catch {
                guard error.isOfSharedFloor, refused == nil else { throw error }
                (refused, change) = (error, change.refused)
            }
        }
    }

    /// What a change throws whose demand the disk could not be asked. That says nothing of the log, so the store stays
    /// where it is.
    private func refusal(ofUnread error: VarveError, _ change: Change, _ degraded: DegradedMode) -> VarveError {
        guard DegradedMode.isDamage(error) else { return error }
        degraded.noteDamage(error)
        // Whether something newer is known cannot be told: who waits for a load has its value, and it is not kept.
        guard change.isLoad else { return error }
        return VarveError(.conditionFailed, "what the disk knows of the key cannot be read; nothing was written")
    }

    /// What the disk has to say of a demand, without writing anything.
    private func checkOnDisk(
        _ key: [UInt8], _ change: Change, _ demand: Demand, isHidden: Bool, _ disk: DiskTier
    ) async throws(VarveError) {
        var batch = WriteBatch()
        switch demand {
        case .none: return
        case .version(let number, _, _, let since, let notOlder):
            if isHidden, notOlder == nil { return }
            if let notOlder { try batch.require(change, key, notOlderThan: notOlder, in: disk.namespace) }
            if isHidden { break }
            try batch.require(key, version: number.map { LSN($0) }, in: disk.namespace)
            // Nobody writes to the disk now. What its log holds beyond what it shows was acknowledged to nobody: it must not
            // count, or this would be refused again and again.
            if number == nil, since > 0, since < disk.engine.visible.rawValue {
                try batch.requireUnchanged(key, since: LSN(since), in: disk.namespace)
            }
        case .notOlder(let version), .unchanged(_, let version?):
            try batch.require(change, key, notOlderThan: version, in: disk.namespace)
        case .unchanged: return
        }
        try await disk.engine.write(batch)
    }

    /// Why a change may not be made; nil: it may. Under the shard's lock, under which source versions are named, too: one
    /// that was looked up before would miss a removal that came in between.
    private func refusal(
        _ key: Key, _ bytes: [UInt8], _ change: Change, _ demand: Demand, isHidden: Bool, _ disk: DiskTier,
        _ degraded: DegradedMode, _ shard: inout MemoryShard<Key, Value>
    ) -> VarveError? {
        let tags = memory.context.tags
        let held = shard.peek(key, memory.hash(key))
        func refuse(_ what: String) -> VarveError { VarveError(.conditionFailed, what + "; nothing was written") }
        // What the key itself has had stands beside it while there is room; the mark's floors keys share.
        let own = max(
            held?.sourceVersion ?? 0, disk.shadow?.sourceVersion(of: bytes) ?? 0,
            prefixFloor(over: key, change, disk.floors.present))
        let older = refusal(
            key, change, demand, own: own, floor: degraded.mark.floor(ofKeyHash: disk.keyHash(bytes)))
        switch demand {
        case .none: return nil
        case .version(let expected, let load, let present, let since, _):
            if load != 0, held?.load != load { return refuse("the key has another version") }
            guard isHidden else {
                if since > 0, key.withKeyBytes({ disk.floors.raisedLast(over: $0) }) > since {
                    return refuse("what is older was removed")
                }
                return tags.keeps(present, version: since + 1, evenIfPending: false)
                    ? older : refuse("a tag of the entry was dropped")
            }
            let live = held.flatMap { isLive($0) ? $0 : nil }
            // Held by memory alone and not hidden when it was looked at: it was changed since.
            if live?.version != expected || (expected == nil && since > 0) {
                return refuse("the key has another version")
            }
            if let live, tags.isPending(live.tags) { return refuse("a tag of the entry is being dropped") }
        case .notOlder: return older
        case .unchanged(let since, _):
            if shard.isOutdated(key, since: since) || (held?.version ?? 0) > since || shard.isRemovingMany {
                return refuse("the key was written since")
            }
            if case .entry(let new) = change, !tags.keeps(new.tags, version: since + 1, evenIfPending: false) {
                return refuse("a tag was dropped since")
            }
        }
        return older
    }

    // MARK: Reading

    /// What memory has of a key that the disk must not show any more: a change may have come between the look at memory and
    /// the look at the disk.
    func heldInstead(_ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        guard let disk, disk.isHidden(key) else { return nil }
        return memory.withShard(hash) { $0.peek(key, hash) }.flatMap { isLive($0) ? $0 : nil }
    }

    /// What a key has at present, where memory is its authority; nil where the disk is.
    func presentInstead(_ key: Key, _ hash: UInt64) -> Present? {
        guard let disk, disk.isHidden(key) else { return nil }
        let live = heldInstead(key, hash)
        return Present(
            value: live?.value, version: live?.value == nil ? nil : live?.version, load: live?.load ?? 0,
            standing: live?.version, kept: KeptFields(live), sourceVersion: live?.sourceVersion)
    }
}

/// A change of many keys by one small record.
enum MassRemoval: Sendable {
    case range(KeyInterval)
    case tag(UInt64)
    /// Of what is older than a source version, for good.
    case floor

    /// Throws where a removal cannot be made in memory: what the disk would of one that it can never take, and of a floor that
    /// outlives its entries, for which the mark has no place. `doubtful`: how an attempt on disk ended, of which nobody knows
    /// whether it stands.
    func checkPossible(in namespace: Namespace, _ doubtful: VarveError?) throws(VarveError) {
        switch self {
        case .range(let range):
            var batch = WriteBatch()
            try batch.deleteRange(from: range.begin, to: range.end, in: namespace)
        case .tag: break
        case .floor:
            throw doubtful
                ?? VarveError(
                    .degraded,
                    "the cache goes on in memory alone, where a source version for many keys cannot be remembered; remove them "
                        + "whatever their version, or try again when the store is back on disk")
        }
    }
}
