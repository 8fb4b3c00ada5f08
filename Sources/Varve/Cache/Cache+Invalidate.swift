public import VarveEngine

extension Cache {
    /// Drops every entry that carries the tag, however many, with one small write. Entries that are written later may
    /// carry it again.
    /// - Throws: as `remove(_:durability:)`; cancelling the task does not end it.
    public func remove(taggedWith tag: String, durability: Durability? = nil) async throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
        try await store.outage?.admit()
        let id = TagRegistry.id(of: tag)
        var version: UInt64?
        memory.context.tags.begin(id, since: disk?.visible.rawValue ?? store.presentVersion)
        // Entries on disk and in memory are judged by the registry: its end is the moment at which the drop happens.
        defer { memory.context.tags.end(id, at: version) }
        if let disk {
            let promised = durability ?? options.durability
            version = try await uncancelled(.tag(id), disk) { () async throws(VarveError) in
                let key = disk.tags.key(id)
                let version = try await disk.engine.put(key, [], in: .tagDrops, durability: promised).rawValue
                // Only on disk can a write be seen before memory knows of it. Nobody sees the drop yet.
                self.memory.changeAll { $0.noteTagDropped(at: version, self.memory.hash, &$1) }
                return version
            }
        } else {
            version = store.nextVersion()
        }
    }

    /// Removes every entry of the cache, with one small write.
    /// - Throws: as `remove(_:durability:)`; cancelling the task does not end it.
    public func removeAll(durability: Durability? = nil) async throws(VarveError) {
        try await removeRange(from: [], to: nil, durability) { _ in true }
    }

    /// Removes every entry whose key's bytes begin with these, with one small write. Memory is searched through.
    /// - Throws: as `removeAll(durability:)`.
    public func removeAll(withKeyPrefix prefix: [UInt8], durability: Durability? = nil) async throws(VarveError) {
        try await removeRange(from: prefix, to: prefix.afterPrefix, durability) { key in
            key.withKeyBytes { bytes in unsafe bytes.withUnsafeBytes { unsafe $0.starts(with: prefix) } }
        }
    }

    /// Removes every entry whose source version is older than this, or that names none, and refuses every older one from now
    /// on, as `remove(_:olderThan:)` does for one key: a late writer cannot bring old data back. Entries of this version stay, or
    /// of a newer one. One small write, however many entries there are; their space on disk is given back in the
    /// background, once about a fifth of what the store's tables take is such.
    ///
    /// It holds for good, for keys that are not there yet as well: it is synced before this returns, whatever the cache's
    /// durability. What names no source version may be written again.
    /// - Throws: as `removeAll(withKeyPrefix:olderThan:)`.
    public func removeAll(olderThan sourceVersion: UInt64) async throws(VarveError) {
        try await removeAll(withKeyPrefix: [], olderThan: sourceVersion)
    }

    /// The same for the entries whose key's bytes begin with these. Memory is searched through. A source version of 0 counts as
    /// none: then only entries that name none go.
    /// It is synced before this returns, whatever the cache's durability.
    /// - Throws: as `remove(_:durability:)`; cancelling the task does not end it. `.limitExceeded` where 256 prefixes are
    ///   remembered already, or 64 KiB of them: a shorter prefix takes the place of those that it covers. `.degraded` while the
    ///   store goes on in memory, which has no place for what must outlive the entries.
    public func removeAll(
        withKeyPrefix prefix: [UInt8], olderThan sourceVersion: UInt64
    ) async throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
        try await store.outage?.admit(sourceVersion: true)
        let matches: @Sendable (Key) -> Bool = { key in key.withKeyBytes { $0.starts(with: prefix) } }
        let present = await floors.begin()
        defer { floors.end() }
        // On disk the record's own version says when it was.
        let next = try present.raised(prefix, to: sourceVersion, since: 0)
        guard let disk else {
            // What names no source version is removed by the pass, and not judged later.
            memory.removeMany(at: store.nextVersion, sparingFrom: sourceVersion, raising: next, where: matches)
            return floors.note(next, isStored: false)
        }
        _ = try await uncancelled(.floor, disk) { () async throws(VarveError) in
            // Memory takes nothing in, but lets go of nothing until the record is there: of a removal that is refused it may be
            // the only one who holds what went.
            self.memory.changeAll { shard, _ in shard.beginMassRemoval() }
            defer { self.memory.endMassRemoval(at: nil, where: matches) }
            func end(at version: UInt64, isStored: Bool) {
                // Readers of the disk go by the floors: these are there before anybody is sent to it for what leaves memory.
                self.floors.note(next.written(at: version), isStored: isStored)
                self.memory.beginMassRemoval(sparingFrom: sourceVersion, where: matches)
                self.memory.endMassRemoval(at: version, where: matches)
            }
            do throws(VarveError) {
                // Synced: the mark has no place for floors of prefixes, so what it covers must not lose one.
                let version = try await disk.engine.put(
                    disk.floorsKey, next.bytes, in: .sourceFloors, durability: .synced
                ).rawValue
                end(at: version, isStored: true)
                return version
            } catch {
                // It may be in the log, and hold for the next one who opens the store: nothing may be acknowledged here that
                // it would hide there. So it counts from the log's end on, which lies beyond all that anybody has seen. Not
                // 0, which stands for the record that is yet to be written.
                if !error.leavesNothingWritten { end(at: max(1, disk.engine.appended.rawValue), isStored: false) }
                throw error
            }
        }
    }

    /// While the removal is under way memory takes nothing in, so that nobody sees it half done: a key is either in
    /// memory as before, and then no reader has been to the disk for it, or it is read from disk.
    private func removeRange(
        from begin: [UInt8], to end: [UInt8]?, _ durability: Durability?,
        _ matches: @escaping @Sendable (Key) -> Bool
    ) async throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
        guard let disk else {
            try await store.outage?.admit()
            return memory.removeMany(at: store.nextVersion, where: matches)
        }
        memory.beginMassRemoval(where: matches)
        var version: UInt64?
        defer { memory.endMassRemoval(at: version, where: matches) }
        let promised = durability ?? options.durability
        version = try await uncancelled(.range(KeyInterval(begin: begin, end: end)), disk) {
            () async throws(VarveError) in
            var batch = WriteBatch()
            try batch.deleteRange(from: begin, to: end, in: disk.namespace)
            return try await disk.engine.write(batch, durability: promised).rawValue
        }
    }

    /// Sees a write through, whether or not its caller is cancelled meanwhile: what covers many keys must not be left in
    /// doubt, and is rare enough for a task of its own.
    private func uncancelled(
        _ removal: MassRemoval, _ disk: DiskTier,
        _ write: @escaping @Sendable () async throws(VarveError) -> UInt64
    ) async throws(VarveError) -> UInt64 {
        let outcome = await Task { () -> Result<UInt64, VarveError> in
            do throws(VarveError) { return .success(try await self.commit(removal, disk, write: write)) } catch {
                if error.isOfDisk { self.counts.add(.writeFailure) }
                return .failure(error)
            }
        }.value
        return try outcome.get()
    }
}

extension Cache where Key == String {
    /// Removes every entry whose key begins with this, with one small write. Memory is searched through.
    /// - Throws: as `removeAll(durability:)`.
    public func removeAll(withPrefix prefix: String, durability: Durability? = nil) async throws(VarveError) {
        try await removeAll(withKeyPrefix: Array(prefix.utf8), durability: durability)
    }

    /// Removes every entry whose key begins with this and whose source version is older, or that names none, and refuses every
    /// older one from now on.
    /// - Throws: as `removeAll(withKeyPrefix:olderThan:)`.
    public func removeAll(withPrefix prefix: String, olderThan sourceVersion: UInt64) async throws(VarveError) {
        try await removeAll(withKeyPrefix: Array(prefix.utf8), olderThan: sourceVersion)
    }
}

extension [UInt8] {
    /// The first key after all that begin with this; nil: there is none.
    var afterPrefix: [UInt8]? {
        guard let last = lastIndex(where: { $0 != 0xFF }) else { return nil }
        return self[..<last] + [self[last] + 1]
    }
}
