internal import Synchronization
public import VarveEngine
internal import VarveIO

extension Cache {
    /// Keeps this cache, which lives in memory alone, true to one that another process has open: what changes there leaves
    /// here, and is loaded anew by who asks for it next. A load that was under way when its key changed is not kept.
    ///
    ///     let mine = try Cache<String, Quote>.inMemory()
    ///     let follower = try mine.follow(RemoteCache(storeAt: "/var/lib/app/quotes"))
    ///
    /// Staleness is bounded by how long a change takes to become durable there and to come over, usually milliseconds; it is
    /// not linearizable. While the other process cannot be heard (not yet, not any more, or it was too fast) this cache is
    /// empty and keeps nothing, so every read is a load; it connects again by itself, for ever, waiting 50 ms at first and
    /// up to a second later.
    /// - Throws: `.invalidArgument` for a cache with a disk, and for one that follows already.
    @discardableResult
    public func follow<Theirs>(_ other: RemoteCache<Key, Theirs>) throws(VarveError) -> CacheFollower {
        try follow { other.followed }
    }

    /// The same for a cache of this process.
    @discardableResult
    public func follow<Theirs>(_ other: Cache<Key, Theirs>) throws(VarveError) -> CacheFollower {
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
        guard disk == nil else {
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
            memory.changeAll { shard, discarded in
                shard.beginMassRemoval(&discarded) { range.contains($0.key) }
                shard.endMassRemoval(at: store.nextVersion()) { range.contains($0) }
            }
        case .tagDrop(let number):
            memory.context.tags.note(number, at: store.nextVersion())
            // What loads will carry is not known before they have ended.
            memory.changeAll { shard, _ in shard.detachLoads() }
        case .namespaceMade, .clock, .mark, .progress: break
        }
        return true
    }

    /// Empties memory and lets nothing in: a removal of everything that does not end yet.
    private func keepNothing() { memory.changeAll { $0.beginMassRemoval(&$1) { _ in true } } }

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
    public enum State: Sendable, Hashable {
        /// Not heard of the other yet, or not any more: the cache keeps nothing meanwhile.
        case waiting
        case following
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
    /// - Throws: `.notContinuing` for a version of another store or history; `.cancelled` with the task; `.closed` once
    ///   stopped.
    public func waitUntilFollowed(_ version: EntryVersion) async throws(VarveError) {
        try await progress.wait { (reached) throws(VarveError) in
            guard reached.histories.contains(version.history) else {
                throw VarveError(.notContinuing, "version \(version) is not of the history that is followed")
            }
            return reached.cursor.lsn.rawValue >= version.number
        }
    }

    /// The same for a place in the other's log, such as its `changeCursor`.
    public func waitUntilFollowed(_ place: ChangeCursor) async throws(VarveError) {
        try await progress.wait { (reached) throws(VarveError) in
            guard reached.histories.contains(place.history) else {
                throw VarveError(.notContinuing, "the cursor \(place) is not of the history that is followed")
            }
            return reached.cursor.lsn >= place.lsn
        }
    }

    /// Follows no longer. The cache is emptied, and then goes on by itself. Stopping twice is fine.
    public func stop() {
        task.cancel()
        progress.stop()
    }
}

/// How far a follower is; shared with the task that follows, which keeps nothing else alive.
final class FollowerProgress: Sendable {
    /// A place that was reached, and the histories that led there, as far as they were followed.
    struct Reached: Sendable {
        var cursor: ChangeCursor
        var histories: [UInt64]
    }

    private struct Now: Sendable {
        var state = CacheFollower.State.waiting
        var reached: Reached?
        var failure: VarveError?
    }

    private let now = Mutex(Now())
    private enum Gate: Sendable {
        /// The cache keeps nothing at present.
        case shut
        case open
        /// Open for good.
        case given
    }
    /// Held while it changes, so that each end has its beginning.
    private let gate = Mutex(Gate.shut)
    private let moved = Signal()
    private let mirror: Mirror

    private static let firstPause = Duration.milliseconds(50)
    private static let longestPause = Duration.seconds(1)

    init(_ mirror: Mirror) {
        self.mirror = mirror
        mirror.shut()
    }

    var state: CacheFollower.State { now.withLock { $0.state } }
    var cursor: ChangeCursor? { now.withLock { $0.reached?.cursor } }
    var failure: VarveError? { now.withLock { $0.failure } }

    /// Follows until it is stopped.
    func follow(_ open: @Sendable () throws(VarveError) -> ChangeFeed) async {
        var pause = FollowerProgress.firstPause
        while !Task.isCancelled {
            var failure: VarveError?
            do throws(VarveError) {
                for try await change in try open() {
                    pause = FollowerProgress.firstPause
                    guard take(change) else { return stop() }
                }
            } catch {
                failure = error
            }
            lose(failure)
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, FollowerProgress.longestPause)
        }
        stop()
    }

    /// Lets a change take effect; false once there is nobody for whom.
    private func take(_ change: Change) -> Bool {
        let history = change.cursor.history
        let (state, last) = now.withLock { ($0.state, $0.reached?.histories.last) }
        if state == .stopped { return false }
        // What a history that broke off has told may not have happened in this one.
        if state == .following, last != history { setShut(true) }
        guard mirror.change(change) else { return false }
        setShut(false)
        guard change.endsBatch else { return true }
        now.withLock { now in
            guard now.state != .stopped else { return }
            now.state = .following
            now.failure = nil
            var histories = now.reached?.histories ?? []
            if histories.last != history { histories = histories.suffix(15) + [history] }
            now.reached = Reached(cursor: change.cursor, histories: histories)
        }
        moved.raise()
        return true
    }

    /// The other is not heard any more: what it changes from now on is not known.
    private func lose(_ failure: VarveError?) {
        now.withLock { now in
            now.failure = failure ?? VarveError(.closed, "the feed of changes ended")
            if now.state == .following { now.state = .waiting }
        }
        setShut(true)
        moved.raise()
    }

    func stop() {
        now.withLock { $0.state = .stopped }
        gate.withLock { gate in
            switch gate {
            case .given: return
            case .open: mirror.shut()
            case .shut: break
            }
            mirror.reopen()
            gate = .given
        }
        moved.raise()
    }

    private func setShut(_ isShut: Bool) {
        gate.withLock { gate in
            guard gate != .given, (gate == .shut) != isShut else { return }
            gate = isShut ? .shut : .open
            if isShut { mirror.shut() } else { mirror.reopen() }
        }
    }

    /// Returns once `holds` of what was reached while following.
    func wait(until holds: (Reached) throws(VarveError) -> Bool) async throws(VarveError) {
        while true {
            let seen = moved.generation
            let now = self.now.withLock { $0 }
            if now.state == .stopped { throw VarveError(.closed, "the cache follows no longer") }
            if now.state == .following, let reached = now.reached, try holds(reached) { return }
            if Task.isCancelled { throw VarveError(.cancelled, "the wait was cancelled") }
            await moved.wait(after: seen)
        }
    }
}
