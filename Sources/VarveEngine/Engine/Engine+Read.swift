internal import VarveIO

extension Engine {
    /// The value under a key, or nil where there is none, it was deleted or has expired.
    ///
    /// Blocks where the disk must be read: call the `async` form from a task.
    /// - Parameter snapshot: the moment to read as of; nil: now.
    /// - Throws: `.corruption` for a damaged block, which is named and never served.
    public func get(
        _ key: RawSpan, in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> StoredValue? {
        try get(key, namespace.id, snapshot, .mayBlock)
    }

    /// The value under a key. See the form that takes a span.
    public func get(
        _ key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> StoredValue? {
        unsafe try get(key.span.bytes, namespace.id, snapshot, .mayBlock)
    }

    /// The value under a key: at once where memory answers, else after reading on a thread of the engine's own.
    public func get(
        _ key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) async throws(VarveError) -> StoredValue? {
        do {
            return unsafe try get(key.span.bytes, namespace.id, snapshot, .memoryOnly)
        } catch {
            guard error.code == .wouldBlock else { throw error }
        }
        return try await context.threads.run { () throws(VarveError) in
            unsafe try self.get(key.span.bytes, namespace.id, snapshot, .mayBlock)
        }
    }

    private func get(
        _ key: RawSpan, _ namespace: NamespaceID, _ snapshot: Snapshot?, _ mode: ReadMode
    ) throws(VarveError) -> StoredValue? {
        try withEntry(key, namespace, snapshot, mode) { (entry, version) throws(VarveError) in
            do throws(DecodeError) { return try StoredValue(entry: entry, version: version) } catch {
                throw VersionDamage.entry(error, Trailer(version, .put))
            }
        }.value
    }

    /// Lends the value under a key without copying it; the span is good within `body`. Nil where there is none. Blocks
    /// where the disk must be read.
    public func withValue<R>(
        _ key: RawSpan, in namespace: Namespace = .default, at snapshot: Snapshot? = nil,
        _ body: (_ value: RawSpan, _ version: LSN) throws(VarveError) -> R
    ) throws(VarveError) -> R? {
        try withEntry(key, namespace.id, snapshot, .mayBlock) { (entry, version) throws(VarveError) in
            unsafe try body(entry.value.bytes, version)
        }.value
    }

    /// The fields beside the value of a key; nil where the key is absent.
    public func fields(
        of key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> EntryFields? {
        unsafe try withEntry(key.span.bytes, namespace.id, snapshot, .mayBlock) { (entry, version) throws(VarveError) in
            do throws(DecodeError) { return try entry.fields() } catch {
                throw VersionDamage.entry(error, Trailer(version, .put))
            }
        }.value
    }

    /// The entry under a key with all its fields, or nil where there is none, it was deleted or has expired. One look-up;
    /// beyond the value it allocates only for tags and extensions.
    ///
    /// Blocks where the disk must be read: call the `async` form from a task.
    public func entry(
        _ key: RawSpan, in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> StoredEntry? {
        try entry(key, namespace.id, snapshot, .mayBlock)
    }

    /// The entry under a key with all its fields. See the form that takes a span.
    public func entry(
        _ key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> StoredEntry? {
        unsafe try entry(key.span.bytes, namespace.id, snapshot, .mayBlock)
    }

    /// The entry under a key with all its fields: at once where memory answers, else after reading on a thread of the
    /// engine's own.
    public func entry(
        _ key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) async throws(VarveError) -> StoredEntry? {
        switch unsafe try entryIfInMemory(key.span.bytes, in: namespace, at: snapshot) {
        case .value(let entry): return entry
        case .absent: return nil
        case .wouldBlock: break
        }
        return try await context.threads.run { () throws(VarveError) in
            unsafe try self.entry(key.span.bytes, namespace.id, snapshot, .mayBlock)
        }
    }

    /// The entry under a key as far as memory tells, without ever waiting: memtables, tables whose blocks are in memory,
    /// and filters, which tell most absent keys.
    public func entryIfInMemory(
        _ key: RawSpan, in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> MemoryProbe {
        do {
            guard let entry = try entry(key, namespace.id, snapshot, .memoryOnly) else { return .absent }
            return .value(entry)
        } catch {
            guard error.code == .wouldBlock else { throw error }
            return .wouldBlock
        }
    }

    /// The entry under a key as far as memory tells. See the form that takes a span.
    public func entryIfInMemory(
        _ key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> MemoryProbe {
        unsafe try entryIfInMemory(key.span.bytes, in: namespace, at: snapshot)
    }

    private func entry(
        _ key: RawSpan, _ namespace: NamespaceID, _ snapshot: Snapshot?, _ mode: ReadMode
    ) throws(VarveError) -> StoredEntry? {
        try liveEntry(key, namespace, snapshot, mode).value
    }

    func liveEntry(
        _ key: RawSpan, _ namespace: NamespaceID, _ snapshot: Snapshot?, _ mode: ReadMode
    ) throws(VarveError) -> Lookup.Live<StoredEntry> {
        try withEntry(key, namespace, snapshot, mode) { (entry, version) throws(VarveError) in
            do throws(DecodeError) { return try StoredEntry(entry: entry, version: version) } catch {
                throw VersionDamage.entry(error, Trailer(version, .put))
            }
        }
    }

    /// The values of many keys as of one moment, in the order of the keys.
    public func get(
        many keys: [[UInt8]], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> [StoredValue?] {
        let moment = snapshot ?? makeSnapshot()
        var values: [StoredValue?] = []
        values.reserveCapacity(keys.count)
        for key in keys { values.append(unsafe try get(key.span.bytes, namespace.id, moment, .mayBlock)) }
        return values
    }

    /// The same without blocking the caller's thread.
    public func get(
        many keys: [[UInt8]], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) async throws(VarveError) -> [StoredValue?] {
        let moment = snapshot ?? makeSnapshot()
        return try await context.threads.run { () throws(VarveError) in
            try self.get(many: keys, in: namespace, at: moment)
        }
    }

    /// The one point read behind all forms.
    @inline(__always)
    func withEntry<R>(
        _ key: RawSpan, _ namespace: NamespaceID, _ snapshot: Snapshot?, _ mode: ReadMode,
        _ body: (EntryView, LSN) throws(VarveError) -> R
    ) throws(VarveError) -> Lookup.Live<R> {
        try RecordWriter.checkKey(key.byteCount)
        try checkOwner(of: snapshot)
        if hidesEntries, namespace.isCoveredByMark { return .absent }
        return unsafe try FullKey.withFullKey(namespace, key) { (full) throws(VarveError) in
            let hash = unsafe XXH3.hash64(full)
            // The state is pinned before the LSN is loaded: what the LSN may see cannot be missing from the state.
            let pin = keeper.cell.pin()
            let lsn = snapshot?.lsn ?? visibleLSN
            let result = unsafe try Lookup.withLive(
                full, hash: hash, in: pin.state, at: lsn, now: clock.now, mode, tables, body)
            if recordsReads, case .entry = result { context.options.eviction.recordRead(keyHash: hash) }
            return result
        }
    }

    func checkOwner(of snapshot: Snapshot?) throws(VarveError) {
        if let snapshot, snapshot.owner != ObjectIdentifier(snapshots) {
            throw VarveError(.invalidArgument, "the snapshot is of another store")
        }
    }

    /// The store as it is now, to be read for as long as the snapshot lives.
    public func makeSnapshot() -> Snapshot {
        Snapshot(registry: snapshots, owner: ObjectIdentifier(snapshots)) { visibleLSN }
    }

    /// The 64-bit hash of a key in its namespace: what eviction policies know it by.
    public static func keyHash(_ key: RawSpan, in namespace: Namespace = .default) -> UInt64 {
        let count = key.byteCount + FullKey.namespaceBytes
        return unsafe withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { room in
            unsafe FullKey.write(namespace.id, key, into: room)
            return unsafe XXH3.hash64(UnsafeRawBufferPointer(room))
        }
    }

    /// The 64-bit hash of a key in its namespace.
    public static func keyHash(_ key: [UInt8], in namespace: Namespace = .default) -> UInt64 {
        unsafe keyHash(key.span.bytes, in: namespace)
    }

    /// The store clock's time, by which entries expire: nanoseconds since 1970.
    public var storeTime: Timestamp { clock.now() }
}

extension FullKey {
    /// Lends the full key of a user's key, made on the stack.
    @inline(__always)
    static func withFullKey<R>(
        _ namespace: NamespaceID, _ key: RawSpan, _ body: (UnsafeRawBufferPointer) throws(VarveError) -> R
    ) throws(VarveError) -> R {
        let count = key.byteCount + namespaceBytes
        // The standard library's scope passes no typed errors through.
        let outcome: Result<R, VarveError> = unsafe withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) {
            room in
            unsafe write(namespace, key, into: room)
            do throws(VarveError) {
                return .success(unsafe try body(UnsafeRawBufferPointer(room)))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// Writes the full key of a user's key into room of exactly its size.
    @inline(__always)
    fileprivate static func write(
        _ namespace: NamespaceID, _ key: RawSpan, into room: UnsafeMutableRawBufferPointer
    ) {
        unsafe room.storeBytes(of: namespace.rawValue.bigEndian, as: UInt32.self)
        unsafe key.withUnsafeBytes { bytes in
            unsafe UnsafeMutableRawBufferPointer(rebasing: room[namespaceBytes...]).copyMemory(from: bytes)
        }
    }
}
