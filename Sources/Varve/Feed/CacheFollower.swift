internal import Synchronization
public import VarveEngine

extension Cache {
    /// Keeps this cache, which lives in memory alone, true to one that another process has open: what changes there leaves
    /// here, and is loaded anew by who asks for it next. A load that was under way when its key changed is not kept.
    ///
    ///     let mine = try Cache<String, Quote>.inMemory()
    ///     let follower = try mine.follow(RemoteCache<String, Quote>(storeAt: "/var/lib/app/quotes"))
    ///
    /// Staleness is bounded by how long a change takes to become durable there and to come over, usually milliseconds; it is
    /// not linearizable. While the other process cannot be heard (not yet, not any more, it was too fast, or goes on in memory
    /// without its disk) this cache is empty and keeps nothing, so every read is a load; it connects again by itself, for
    /// ever, waiting 50 ms at first and up to a second where nothing is heard.
    /// - Throws: `.invalidArgument` for a cache with a disk, and for one that follows already.
    @discardableResult
    public func follow<Theirs>(_ other: RemoteCache<Key, Theirs>) throws(VarveError) -> CacheFollower {
        try follow { other.followed }
    }

    /// The same for a cache of this process.
    @discardableResult
    public func follow<Theirs>(_ other: Cache<Key, Theirs>) throws(VarveError) -> CacheFollower {
        if let outage = other.store.outage { throw outage.refusal(of: "it has no changes to follow") }
        guard let disk = other.disk else {
            throw VarveError(.invalidArgument, "a cache in memory alone has no changes to follow")
        }
        var scope = ChangeScope(namespaces: [disk.namespace])
        scope.includesProgress = true
        scope.hasValues = false
        let asked = scope
        return try follow { [weak engines = disk.engines] () throws(VarveError) in
            guard let engine = engines?.current else { throw VarveError(.closed, "the store was closed") }
            return try engine.changes(asked)
        }
    }

    private func follow(
        _ open: @escaping @Sendable () throws(VarveError) -> ChangeFeed
    ) throws(VarveError) -> CacheFollower {
        guard disk == nil, store.outage == nil else {
            throw VarveError(.invalidArgument, "a cache with a disk is its own truth and follows nobody")
        }
        let mirror = Mirror(
            change: { [weak self] change in self?.mirror(change) ?? false },
            shut: { [weak self] in self?.keepNothing() }, reopen: { [weak self] in self?.keepAgain() })
        let follower: CacheFollower? = following.withLock { present in
            if let present, present.state != .stopped { return nil }
            let follower = CacheFollower(mirror, open)
            present = follower
            return follower
        }
        guard let follower else { throw VarveError(.invalidArgument, "the cache follows another one already") }
        return follower
    }

    // MARK: What a change of the other does here

    /// Lets go of what a change makes out of date.
    private func mirror(_ change: VarveEngine.Change) -> Bool {
        switch change.kind {
        case .put, .delete:
            guard let key = unsafe Key(keyBytes: change.key.span.bytes) else { break }
            let hash = memory.hash(key)
            memory.change(hash) { $0.erase(key, hash, at: store.nextVersion(), &$1) }
        case .deleteRange(let end):
            let range = RemovedKeys(from: change.key, to: end)
            memory.removeMany(at: store.nextVersion) { range.contains($0) }
        case .tagDrop(let number): memory.context.tags.note(number, at: store.nextVersion())
        case .sourceFloors(let bytes):
            // Copies know no source versions: whatever may be older goes, and is loaded anew. So does everything where the
            // record cannot be read.
            let floors = try? PrefixFloors(reading: bytes, writtenAt: change.lsn.rawValue)
            let prefixes = floors?.raised(at: change.lsn.rawValue).map(\.prefix) ?? [[]]
            memory.removeMany(at: store.nextVersion) { key in
                key.withKeyBytes { bytes in prefixes.contains { bytes.starts(with: $0) } }
            }
        case .namespaceMade, .clock, .mark, .progress: break
        }
        return true
    }

    /// Empties memory and lets nothing in: a removal of everything that does not end yet.
    private func keepNothing() { memory.beginMassRemoval { _ in true } }

    /// Ends it. Loads that began before are not kept: what changed since is not known.
    private func keepAgain() {
        memory.changeAll { shard, _ in shard.endMassRemoval(at: store.nextVersion()) { _ in true } }
    }
}

/// What a follower does to its cache, without its types.
struct Mirror: Sendable {
    /// False: the cache is gone.
    let change: @Sendable (Change) -> Bool
    let shut: @Sendable () -> Void
    let reopen: @Sendable () -> Void
}

/// Follows another cache's changes on behalf of one in memory. Any thread or task.
public final class CacheFollower: Sendable {
    /// How far a follower is.
    public enum State: Sendable, Hashable {
        /// Not heard of the other yet, or not any more: the cache keeps nothing meanwhile.
        case waiting
        /// Changes of the other take effect here as they come.
        case following
        /// For good: the cache follows nobody.
        case stopped
    }

    private let progress: FollowerProgress
    private let task: Task<Void, Never>

    init(_ mirror: Mirror, _ open: @escaping @Sendable () throws(VarveError) -> ChangeFeed) {
        let progress = FollowerProgress(mirror)
        self.progress = progress
        task = Task { await progress.follow(open) }
    }

    deinit { stop() }

    /// How far it is now.
    public var state: State { progress.state }

    /// Everything up to here has taken effect; nil: not heard of the other yet.
    public var cursor: ChangeCursor? { progress.cursor }

    /// Why the other is not heard, where it was tried.
    public var failure: VarveError? { progress.failure }

    /// Returns once the other is heard, or at once where it is.
    /// - Throws: `.cancelled` with the task; `.closed` once stopped.
    public func waitUntilFollowing() async throws(VarveError) { try await progress.wait { _ in true } }

    /// Returns once a write of the other cache has taken effect here: whoever got its version, by whatever way, then reads
    /// that write or a later one.
    ///
    /// A write that the other made in memory alone, without its disk, has taken effect here once the other is back on disk.
    /// - Throws: `.notContinuing` for a version of another store, and for one of a history that the other has left (it was
    ///   restored, lost power, or dropped what it held) beyond what was followed of it: whether that write stands is not
    ///   known. `.cancelled` with the task; `.closed` once stopped.
    public func waitUntilFollowed(_ version: EntryVersion) async throws(VarveError) {
        try await progress.wait { (reached) throws(VarveError) in
            try reached.includes(version.number, of: version.history, "version \(version)")
        }
    }

    /// The same for a place in the other's log, such as its `changeCursor`.
    public func waitUntilFollowed(_ place: ChangeCursor) async throws(VarveError) {
        try await progress.wait { (reached) throws(VarveError) in
            try reached.includes(place.lsn.rawValue, of: place.history, "the cursor \(place)")
        }
    }

    /// Follows no longer. The cache is emptied, and then goes on by itself. Stopping twice is fine.
    public func stop() {
        task.cancel()
        progress.stop()
    }
}
