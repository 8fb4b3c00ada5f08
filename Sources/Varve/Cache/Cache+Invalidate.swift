public import VarveEngine

extension Cache {
    /// Drops every entry that carries the tag, however many, with one small write. Entries that are written later may
    /// carry it again.
    /// - Throws: as `remove(_:durability:)`; cancelling the task does not end it.
    public func remove(taggedWith tag: String, durability: Durability? = nil) async throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
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

    /// While the removal is under way memory takes nothing in, so that nobody sees it half done: a key is either in
    /// memory as before, and then no reader has been to the disk for it, or it is read from disk.
    private func removeRange(
        from begin: [UInt8], to end: [UInt8]?, _ durability: Durability?,
        _ matches: @escaping @Sendable (Key) -> Bool
    ) async throws(VarveError) {
        try gate.enter()
        defer { gate.leave() }
        guard let disk else { return memory.removeMany(at: store.nextVersion, where: matches) }
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
}

extension [UInt8] {
    /// The first key after all that begin with this; nil: there is none.
    var afterPrefix: [UInt8]? {
        guard let last = lastIndex(where: { $0 != 0xFF }) else { return nil }
        return self[..<last] + [self[last] + 1]
    }
}
