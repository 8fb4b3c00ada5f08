internal import VarveEngine

/// The one way by which a key changes: the authority first (the disk, or memory's own lock where there is none), then
/// memory, within a flight, so that what is slow brings nothing older back.
extension Cache {
    enum Change: Sendable {
        case entry(NewEntry)
        /// `sourceVersion`: what is older is refused from then on. Its cause is a load that found nothing where that is not
        /// remembered.
        case removal(sourceVersion: UInt64?, cause: DiskTier.Cause = .explicit)
    }

    /// An entry before it has a version.
    struct NewEntry: Sendable {
        /// Nil: the source is known to have none.
        var value: Value?
        /// Empty where there is no disk.
        var bytes: [UInt8]
        /// The value's, in memory.
        var cost: Int
        var deadlines: Deadlines
        var idle: IdleRule
        var loadNanoseconds: Int64 = 0
        var tags: [UInt64]
        var sourceVersion: UInt64?
        var isPinned: Bool
        var cause: DiskTier.Cause
    }

    /// What must hold for a change to be made.
    enum Demand: Sendable {
        case none
        /// The authority's present version of the key; nil: it holds none that has not expired. And none of these tags, the
        /// entry's, was dropped after `since`; nor, where memory alone holds it (nil, and `since` is not 0), was the key
        /// written. `load`: the load whose result memory must still hold alone; 0: that is not so. `notOlder` as below.
        case version(UInt64?, load: UInt64 = 0, tags: [UInt64], since: UInt64, notOlder: UInt64?)
        /// No newer source version is known. Who demands it is refused also where that cannot be told (`.changed`). For a removal it counts what is known of the key itself: floors that keys
        /// share forbid to bring back, not to take away.
        case notOlder(UInt64)
        /// Nothing has written or removed the key, nor dropped one of the entry's tags, after this version.
        case unchanged(since: UInt64, notOlder: UInt64?)
    }

    /// A value as the cache's options and the entry's say it should be kept. `isEncoded`: with the bytes that the disk takes.
    func change(
        _ value: Value?, _ entry: EntryOptions, _ cause: DiskTier.Cause, loadNanoseconds: Int64 = 0,
        isEncoded: Bool = true
    ) throws -> Change {
        let expiry = entry.expiry ?? options.expiry
        let now = store.clock.now()
        let draw = memory.context.chance.draw()
        var deadlines = Deadlines(expiry, at: now, draw: draw)
        var idle = IdleRule(expiry, at: now, draw: draw)
        if let carried = entry.carried {
            let usableUntil = store.clock.deadline(ofBoot: carried.deadlines.usableUntil)
            deadlines.usableUntil = min(deadlines.usableUntil, usableUntil)
            deadlines.freshUntil = min(deadlines.freshUntil, store.clock.deadline(ofBoot: carried.deadlines.freshUntil))
            idle.limit = min(idle.limit, usableUntil)
        }
        let bytes = try disk == nil || !isEncoded ? nil : value.map { try coding.encode($0) } ?? []
        return .entry(
            NewEntry(
                value: value, bytes: bytes ?? [], cost: cost(of: value, encoded: bytes),
                deadlines: deadlines, idle: idle, loadNanoseconds: loadNanoseconds, tags: entry.tagNumbers,
                sourceVersion: entry.sourceVersion,
                isPinned: entry.isPinned, cause: cause))
    }

    /// What somebody writes.
    func change(writing value: Value, _ entry: EntryOptions) throws -> Change {
        try entry.expiry?.validate()
        return try change(value, entry, .explicit)
    }

    /// A value in the place of one that stands, with all that its entry has beside it: its deadlines only where they are
    /// kept.
    func change(_ value: Value, keeping kept: KeptFields?, keepsDeadline: Bool) throws -> Change {
        let change = try change(value, EntryOptions(), .explicit)
        guard let kept, case .entry(var new) = change else { return change }
        new.tags = kept.tags
        new.sourceVersion = kept.sourceVersion
        new.isPinned = kept.isPinned
        if keepsDeadline {
            new.idle = kept.idle
            new.deadlines = kept.deadlines
            if kept.idle.span > 0 {
                let moved = kept.idle.deadline(readAt: store.clock.now())
                new.deadlines.usableUntil = max(kept.deadlines.usableUntil, moved)
            }
        }
        return .entry(new)
    }

    /// What a source said of a key: a removal where it has none and that is not to be remembered, or where what it has is over.
    func change(
        _ loaded: Loaded<Value>, _ cause: DiskTier.Cause, loadNanoseconds: Int64 = 0, isEncoded: Bool = true
    ) throws -> Change {
        var entry = loaded.options
        let removal = Change.removal(sourceVersion: entry.sourceVersion, cause: cause)
        if loaded.value == nil {
            let absence = options.loading.absence.map { Expiry(usable: $0, jitter: options.expiry.jitter) }
            guard let expiry = entry.expiry ?? absence else { return removal }
            entry.expiry = expiry.ofAbsence
        }
        if let expiry = entry.expiry, expiry.isOverAtOnce { return removal }
        return try change(loaded.value, entry, cause, loadNanoseconds: loadNanoseconds, isEncoded: isEncoded)
    }

    /// Makes a change and returns its version.
    func commit(
        _ key: Key, _ change: Change, _ demand: Demand, _ durability: Durability?
    ) async throws(VarveError) -> UInt64 {
        do throws(VarveError) { return try await carryOut(key, change, demand, durability) } catch {
            if error.isOfSharedFloor { counts.add(.refusedByFloor) }
            if error.isOfDisk { counts.add(.writeFailure) }
            throw error
        }
    }

    private func carryOut(
        _ key: Key, _ change: Change, _ demand: Demand, _ durability: Durability?
    ) async throws(VarveError) -> UInt64 {
        try gate.enter()
        defer { gate.leave() }
        let hash = memory.hash(key)
        guard let disk else {
            // A load's result is acknowledged to nobody.
            if let outage = store.outage, !change.isLoad {
                try await outage.admit(sourceVersion: change.sourceVersion != nil)
            }
            return try commitInMemory(key, hash, change, demand)
        }
        guard let degraded = disk.degraded else {
            let made = try await commitOnDisk(key, hash, change, demand, durability, disk)
            if let failure = made.write.failure { throw failure }
            return try made.version()
        }
        return try await commit(key, hash, change, demand, durability, disk, degraded)
    }

    /// What was made of a change on disk.
    struct Made {
        var write: Engine.VisibleWrite
        /// Why it is a removal of what was there, and not the value.
        var refusal: VarveError?

        func version() throws(VarveError) -> UInt64 {
            if let refusal { throw refusal }
            return write.version.rawValue
        }
    }

    /// Throws where no reader sees the change, unless the task was cancelled.
    ///
    /// A value that only a floor refuses, which keys share, may be the newest of its key. It cannot be stored; but what it
    /// would have replaced goes, under the same demand, so that the refusal costs a miss and nothing outdated is served.
    func commitOnDisk(
        _ key: Key, _ hash: UInt64, _ change: Change, _ demand: Demand, _ durability: Durability?, _ disk: DiskTier
    ) async throws(VarveError) -> Made {
        let bytes = keyBytes(key)
        var batch = try batch(bytes, change, demand, disk)
        if demand.notOlder != nil, change.regardsFloors { try requireFloors(&batch, disk) }
        // From here on no load's result takes the place of another's.
        let (isAsExpected, refusal) = memory.withShard(hash) { shard in
            shard.beginFlight(key, writes: true)
            let held = shard.peek(key, hash)
            // Of what was set while the disk took no writes, and is to be saved yet, the disk does not know.
            let unsaved = held.map { $0.traits.contains(.onDisk) ? 0 : $0.sourceVersion } ?? 0
            let own = max(unsaved, prefixFloor(over: key, change, disk.floors.present))
            return (
                demand.load == 0 || held?.load == demand.load,
                self.refusal(key, change, demand, own: own, floor: 0)
            )
        }
        defer { memory.withShard(hash) { $0.endFlight(key, wrote: true) } }
        guard isAsExpected else {
            throw VarveError(.conditionFailed, "the key has another version; nothing was written")
        }
        if let refusal { throw refusal }
        do throws(VarveError) {
            return Made(write: try await writeChange(batch, change, key, hash, durability, disk))
        } catch {
            guard error.isOfSharedFloor else { throw error }
            let removal = change.refused
            let removing = try self.batch(bytes, removal, demand, disk)
            let write = try await writeChange(removing, removal, key, hash, durability, disk)
            return Made(write: write, refusal: error)
        }
    }

    /// Has a write that names a source version be refused where a floor is raised between the look at those that stand, which
    /// follows, and its commit. Who is told so looks again when nobody raises one (`settle`); not here, within the way that is
    /// open, which may be changed for who does.
    private func requireFloors(_ batch: inout WriteBatch, _ disk: DiskTier) throws(VarveError) {
        let looked = disk.visible
        guard !disk.floors.isPending else {
            throw VarveError(
                .conditionFailed, "what is older is just being removed; nothing was written",
                underlying: ConditionFailure(key: disk.floorsKey, reason: .changed(since: looked)))
        }
        try batch.requireUnchanged(disk.floorsKey, since: looked, in: .sourceFloors)
    }

    /// Writes a change's batch and tells memory of it. Within a flight that writes.
    private func writeChange(
        _ batch: borrowing WriteBatch, _ change: Change, _ key: Key, _ hash: UInt64, _ durability: Durability?,
        _ disk: DiskTier
    ) async throws(VarveError) -> Engine.VisibleWrite {
        let write: Engine.VisibleWrite
        do throws(VarveError) {
            let began = Latencies.now()
            write = try await disk.engine.writeVisibly(batch, durability: durability ?? options.durability)
            latencies.write.add(since: began)
        } catch {
            // A write whose task is cancelled stands none the less, and is seen once it is synced: until then the flight
            // has not ended.
            let engine = disk.engine
            if error.code == .cancelled { try? await Task { try await engine.sync() }.value }
            // Who is told of a newer source version must not read next what was there before the write that brought it.
            if case .olderSourceVersion = error.failedCondition?.reason {
                let seen = engine.visible.rawValue
                memory.change(hash) { $0.noteRefused(key, hash, upTo: seen, &$1) }
            }
            // Where it is not known whether the write stands, the disk shall say.
            if !error.leavesNothingWritten {
                let seen = engine.visible.rawValue
                memory.change(hash) { $0.erase(key, hash, at: seen, &$1) }
            }
            throw error
        }
        let version = write.version.rawValue
        memory.change(hash) { shard, discarded in
            switch change {
            case .entry(let new):
                _ = shard.publish(makeEntry(new, key, hash, version, .onDisk), .write, &discarded)
            case .removal: shard.erase(key, hash, at: version, &discarded)
            }
        }
        return write
    }

    func batch(
        _ key: [UInt8], _ change: Change, _ demand: Demand, _ disk: DiskTier
    ) throws(VarveError) -> WriteBatch {
        var batch = WriteBatch()
        switch change {
        case .entry(let new):
            try batch.put(key, new.bytes, new.fields, in: disk.namespace)
        case .removal(let sourceVersion, _):
            unsafe try batch.delete(
                key.span.bytes, EntryFields(sourceVersion: sourceVersion), in: disk.namespace)
        }
        switch demand {
        case .none: break
        case .version(let number, _, let tags, let since, let notOlder):
            try batch.require(key, version: number.map { LSN($0) }, in: disk.namespace)
            if let notOlder { try batch.require(change, key, notOlderThan: notOlder, in: disk.namespace) }
            // Memory alone holds it: an absence is no proof that nobody has written and removed it since.
            if number == nil, since > 0 { try batch.requireUnchanged(key, since: LSN(since), in: disk.namespace) }
            for tag in tags { try batch.requireUnchanged(disk.tags.key(tag), since: LSN(since), in: .tagDrops) }
            // What was found may have been hidden by a floor since.
            if since > 0 { try batch.requireUnchanged(disk.floorsKey, since: LSN(since), in: .sourceFloors) }
        case .notOlder(let version): try batch.require(change, key, notOlderThan: version, in: disk.namespace)
        case .unchanged(let since, let notOlder):
            try batch.requireUnchanged(key, since: LSN(since), in: disk.namespace)
            if let notOlder { try batch.require(change, key, notOlderThan: notOlder, in: disk.namespace) }
            try batch.requireUnchanged(disk.floorsKey, since: LSN(since), in: .sourceFloors)
            guard case .entry(let new) = change else { break }
            // A drop that is committed between the look at the registry and this batch.
            for tag in new.tags {
                try batch.requireUnchanged(disk.tags.key(tag), since: LSN(since), in: .tagDrops)
            }
        }
        return batch
    }

    /// Where memory is the authority, everything happens under the shard's lock.
    private func commitInMemory(
        _ key: Key, _ hash: UInt64, _ change: Change, _ demand: Demand
    ) throws(VarveError) -> UInt64 {
        let outcome: Result<UInt64, VarveError> = memory.change(hash) { shard, discarded in
            let now = store.clock.now()
            let tags = memory.context.tags
            shard.completeRemovals(of: key, hash, &discarded)
            let held = shard.peek(key, hash)
            // Before the look at the tags: a drop that the look does not see gets a later version.
            let version = store.nextVersion()
            let live = held.flatMap { entry in
                entry.deadlines.usableUntil > now && tags.keeps(entry.tags, version: entry.version) ? entry : nil
            }
            func refuse(_ what: String) -> Result<UInt64, VarveError> {
                .failure(VarveError(.conditionFailed, what + "; nothing was written"))
            }
            switch demand {
            case .none, .notOlder: break
            case .version(let expected, _, _, _, _):
                if live?.version != expected { return refuse("the key has another version") }
                if let live, tags.isPending(live.tags) { return refuse("a tag of the entry is being dropped") }
            case .unchanged(let since, _):
                if shard.isOutdated(key, since: since) || (held?.version ?? 0) > since {
                    return refuse("the key was written since")
                }
                if case .entry(let new) = change, !tags.keeps(new.tags, version: since + 1, evenIfPending: false) {
                    return refuse("a tag was dropped since")
                }
            }
            let own = max(held?.sourceVersion ?? 0, prefixFloor(over: key, change, shard.prefixFloors))
            if let refusal = refusal(key, change, demand, own: own, floor: shard.floor(hash)) {
                // What it would have replaced may be what it outdates, and so may what loads bring that began before.
                if refusal.isOfSharedFloor {
                    if held == nil {
                        shard.note(key, .at(version))
                    } else {
                        shard.erase(key, hash, at: version, &discarded)
                    }
                }
                return .failure(refusal)
            }
            switch change {
            case .entry(let new):
                _ = shard.publish(makeEntry(new, key, hash, version, []), .write, &discarded)
            case .removal(let sourceVersion, let cause):
                // That the source has none of what was not there invalidates nothing.
                if cause == .loaded, held == nil {
                    shard.note(key, .at(version))
                } else {
                    shard.erase(key, hash, at: version, &discarded)
                }
                if let sourceVersion { shard.raiseFloor(hash, sourceVersion) }
            }
            return .success(version)
        }
        return try outcome.get()
    }

    /// The source version below which nothing of a key is taken since what was older was removed with its prefix: as if the key
    /// itself had had it. It forbids to bring back, not to take away.
    func prefixFloor(over key: Key, _ change: Change, _ floors: PrefixFloors) -> UInt64 {
        if floors.isEmpty || !change.regardsFloors { return 0 }
        return key.withKeyBytes { floors.floor(over: $0) }
    }

    /// Why a change may not be made for its source version's sake; nil: it may. `own`: the highest that is known of the
    /// key itself; `floor`: of all that share its place.
    func refusal(
        _ key: Key, _ change: Change, _ demand: Demand, own: UInt64, floor: @autoclosure () -> UInt64
    ) -> VarveError? {
        guard let given = demand.notOlder else { return nil }
        let standing = change.regardsFloors ? max(floor(), own) : own
        guard standing > given else { return nil }
        let reason = ConditionFailure.Reason.olderSourceVersion(
            given: given, standing: standing, isShared: own <= given)
        return VarveError(
            .conditionFailed, "a newer source version is known; nothing was written",
            underlying: ConditionFailure(key: keyBytes(key), reason: reason))
    }

    func makeEntry(
        _ new: NewEntry, _ key: Key, _ hash: UInt64, _ version: UInt64, _ traits: EntryTraits
    ) -> MemoryEntry<Key, Value> {
        makeEntry(
            key, hash, new.value, version: version, cost: new.cost, deadlines: new.deadlines, idle: new.idle,
            loadNanoseconds: new.loadNanoseconds, tags: new.tags,
            sourceVersion: new.sourceVersion ?? 0, traits: new.isPinned ? traits.union(.pinned) : traits)
    }
}

/// What a change in one step may keep of the entry that it changes.
struct KeptFields: Sendable {
    var tags: [UInt64]
    var sourceVersion: UInt64?
    var isPinned: Bool
    var deadlines: Deadlines
    var idle: IdleRule

    /// Nil where there is no value.
    init?<Key, Value>(_ entry: MemoryEntry<Key, Value>?) {
        guard let entry, entry.value != nil else { return nil }
        tags = entry.tags
        sourceVersion = entry.sourceVersion > 0 ? entry.sourceVersion : nil
        isPinned = entry.traits.contains(.pinned)
        deadlines = entry.deadlines
        idle = entry.idle
    }
}

extension Cache.Demand {
    /// The load whose result memory must still hold alone; 0: there is none.
    var load: UInt64 { if case .version(_, let load, _, _, _) = self { load } else { 0 } }

    /// The source version than which nothing newer may be known; nil: that is not asked.
    var notOlder: UInt64? {
        switch self {
        case .none: nil
        case .notOlder(let version): version
        case .version(_, _, _, _, let version), .unchanged(_, let version): version
        }
    }
}

extension Cache.Change {
    /// Whether a load made it: then it is acknowledged to nobody.
    var isLoad: Bool {
        switch self {
        case .entry(let new): new.cause == .loaded
        case .removal(_, let cause): cause == .loaded
        }
    }

    var sourceVersion: UInt64? {
        switch self {
        case .entry(let new): new.sourceVersion
        case .removal(let version, _): version
        }
    }

    /// Whether floors that keys share may refuse it.
    var regardsFloors: Bool { if case .entry = self { true } else { false } }

    /// What is left of it to be done where such a floor refuses it: the removal of what it would have replaced. It names no
    /// source version, since the floor stands above that.
    var refused: Self {
        .removal(sourceVersion: nil, cause: isLoad ? .loaded : .explicit)
    }

    /// What an entry carries.
    var tags: [UInt64] { if case .entry(let new) = self { new.tags } else { [] } }
}

extension Cache.NewEntry {
    var fields: EntryFields {
        DiskTier.fields(
            deadlines, tags: tags, sourceVersion: sourceVersion, kind: value == nil ? .absent : .value, cause: cause,
            idle: idle, isPinned: isPinned)
    }
}

extension WriteBatch {
    /// Refuses a change for what is newer than its source version.
    mutating func require<Key, Value>(
        _ change: Cache<Key, Value>.Change, _ key: [UInt8], notOlderThan version: UInt64, in namespace: Namespace
    ) throws(VarveError) {
        if change.regardsFloors {
            try requireNotOlder(key, than: version, in: namespace)
        } else {
            try requireNoneNewer(key, than: version, in: namespace)
        }
    }
}

extension VarveError {
    /// Whether nothing that is known of the key itself refused the write, only a floor that others may have raised.
    var isOfSharedFloor: Bool {
        if case .olderSourceVersion(_, _, isShared: true) = failedCondition?.reason { true } else { false }
    }

    /// Whether the disk is at fault, or what is behind it: it is full, fails, is damaged, or does not keep up.
    var isOfDisk: Bool {
        [.io, .diskFull, .stalled, .failedStop, .corruption, .missingFile, .unsupportedFormat].contains(code)
    }

    /// Whether a write that failed so is known to have changed nothing.
    var leavesNothingWritten: Bool {
        if stage != nil { return true }
        return [.invalidArgument, .limitExceeded, .conditionFailed, .diskFull, .stalled, .closed, .readOnly, .degraded]
            .contains(code)
    }
}
