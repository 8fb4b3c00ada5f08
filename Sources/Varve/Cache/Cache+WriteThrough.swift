internal import VarveEngine

/// Writing to the origin and to the cache as one, so that no failure leaves the cache with what the origin no longer has:
/// first the key is removed, durably; then the origin is written, while nothing that is read from it is kept; then what it
/// holds is stored, unless anybody else wrote the key meanwhile. Whatever goes wrong on the way, the key is absent.
extension Cache {
    /// Writes a value to the origin and, once the origin has it, to the cache.
    ///
    /// `origin` is called once, in this task, or in one of its own where ``CacheOptions/originTimeout`` is set. Who writes the
    /// same key through waits for this call to end: do not write the same key through from within.
    /// - Returns: the entry's version; nil where the origin has the value and the cache has not: somebody else wrote or
    ///   removed the key meanwhile, a newer source version is known, or the disk could not take it.
    /// - Throws: what `origin` throws, or ``OriginTimeout``; the cache then has no value of the key, since nobody knows what the
    ///   origin has.
    ///   Where the removal before that fails, or the value cannot be stored at all, that error, and `origin` was not called.
    @discardableResult
    public func set(
        _ value: Value, for key: Key, _ entry: EntryOptions = EntryOptions(),
        through origin: @escaping @Sendable (Key, Value) async throws -> Void
    ) async throws -> EntryVersion? {
        let change = try change(writing: value, entry)
        // What is beyond a limit is refused before anything happens.
        if let disk { _ = try batch(keyBytes(key), change, .none, disk) }
        return try await writeThrough(key) {
            try await origin(key, value)
            return ((), Written(change: change, durability: entry.durability))
        }.version
    }

    /// The same where the origin says what it has then: a value that it completed, its row version, or that it has none.
    /// - Returns: the value that `origin` brought.
    /// - Throws: what `origin` throws, or the coding of what it brought: the cache then has no value of the key. Where the
    ///   removal before that fails, its error, and `origin` was not called.
    @discardableResult
    public func write(
        _ key: Key, through origin: @escaping @Sendable (Key) async throws -> Loaded<Value>
    ) async throws -> Value? {
        try await writeThrough(key) {
            let loaded = try await origin(key)
            let change = try self.change(loaded, .explicit)
            return (loaded.value, Written(change: change, durability: loaded.options.durability))
        }.result
    }

    /// Removes a key from the origin and from the cache.
    /// - Throws: what `origin` throws; the key is gone from the cache, and what the origin has the next load finds out.
    ///   Where the removal before that fails, its error, and `origin` was not called.
    public func remove(_ key: Key, through origin: @escaping @Sendable (Key) async throws -> Void) async throws {
        _ = try await writeThrough(key) {
            try await origin(key)
            return ((), nil)
        }
    }

    /// What the origin has after a write.
    private struct Written: Sendable {
        var change: Change
        var durability: Durability?
    }

    private func writeThrough<R: Sendable>(
        _ key: Key, _ origin: @escaping @Sendable () async throws -> (R, Written?)
    ) async throws -> (result: R, version: EntryVersion?) {
        // Two writes to the origin at once end there in an order that nobody here knows.
        try await turns.withTurn(key) {
            let hash = memory.hash(key)
            // From here to the end no load stores what it brings.
            memory.withShard(hash) { $0.beginOriginWrite(key) }
            defer { memory.withShard(hash) { $0.endOriginWrite(key) } }
            // Synced, or a power cut after the origin's answer would bring the value before back.
            let removed = try await commit(key, .removal(sourceVersion: nil), .none, .synced)
            let result: R
            let written: Written?
            do { (result, written) = try await bounded(origin) } catch {
                // What the origin said matters more than that the cache could not be cleaned up after it.
                try? await leaveAbsent(key, hash, since: removed)
                throw error
            }
            switch await storeWritten(written, key, hash, since: removed) {
            case .stored(let version): return (result, self.version(version))
            case .absent: return (result, nil)
            case .unknown: break
            }
            try await leaveAbsent(key, hash, since: removed)
            return (result, nil)
        }
    }

    /// The origin's answer, or `OriginTimeout`. Its end is waited for though the caller is cancelled: who writes next must not
    /// meet it at the origin.
    private func bounded<R: Sendable>(_ origin: @escaping @Sendable () async throws -> R) async throws -> R {
        guard let limit = options.originTimeout else { return try await origin() }
        return try await LoaderCall.run(
            atMost: limit, or: OriginTimeout(limit: limit), endsWhenCancelled: false, origin)
    }

    /// What came of storing what the origin has.
    private enum Stored {
        case stored(UInt64)
        /// A floor that keys share refuses it, and the key has been removed once more.
        case absent
        /// Somebody wrote or removed the key meanwhile, or the disk did not take it.
        case unknown
    }

    /// Stores what the origin has, unless anybody wrote or removed the key since. It is the origin that was asked to write,
    /// and did.
    private func storeWritten(
        _ written: Written?, _ key: Key, _ hash: UInt64, since removed: UInt64
    ) async -> Stored {
        guard let written else { return .unknown }
        let change = written.change
        // The key is absent already; a source version is still to be told.
        if case .removal(nil, _) = change { return .unknown }
        for _ in 0..<16 {
            let looked = disk?.visible.rawValue ?? store.presentVersion
            guard !memory.withShard(hash, { $0.mayBeOutdated(key, since: removed, isLoaded: false) }),
                memory.context.tags.keeps(change.tags, version: removed + 1, evenIfPending: false)
            else { return .unknown }
            let demand = Demand.unchanged(since: disk == nil ? removed : looked, notOlder: change.sourceVersion)
            do throws(VarveError) {
                return .stored(try await commit(key, change, demand, written.durability))
            } catch {
                if error.isOfSharedFloor { return .absent }
                guard let disk, case .changed = error.failedCondition?.reason else { return .unknown }
                try? await settle(disk)
            }
        }
        return .unknown
    }

    /// Makes sure that the key is absent, and that no load which began before now stores what it brings.
    /// Where that fails another's value may stay.
    private func leaveAbsent(_ key: Key, _ hash: UInt64, since removed: UInt64) async throws(VarveError) {
        let others = memory.withShard(hash) { $0.mayBeOutdated(key, since: removed, isLoaded: false) }
        if others {
            // What somebody else stored may be older than what the origin has. The caller's cancellation must not keep it.
            let removal = await Task { () -> Result<UInt64, VarveError> in
                do throws(VarveError) {
                    return .success(try await commit(key, .removal(sourceVersion: nil), .none, .synced))
                } catch {
                    return .failure(error)
                }
            }.value
            if case .success = removal { return }
            eraseFromMemory(key, hash)
            _ = try removal.get()
        }
        eraseFromMemory(key, hash)
    }

    private func eraseFromMemory(_ key: Key, _ hash: UInt64) {
        let now = disk?.visible.rawValue ?? store.presentVersion
        memory.change(hash) { $0.erase(key, hash, .behind(now), &$1) }
    }
}

/// The origin of a write through took longer than ``CacheOptions/originTimeout`` allows, and is no longer waited for. Whether it
/// has the value nobody knows; the cache has none.
public struct OriginTimeout: Error, Sendable, CustomStringConvertible {
    /// What was allowed.
    public let limit: Duration
    /// For people.
    public var description: String { "the origin took longer than \(limit) to answer a write" }
}
