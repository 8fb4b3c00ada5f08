public import VarveEngine
internal import VarveIO

/// A cache that another process of this machine has open, seen through its owner's socket: its entries, and the feed of
/// its changes.
///
///     let quotes = RemoteCache<String, Quote>(storeAt: "/var/lib/app/quotes")
///     let mine = try Cache<String, Quote>.inMemory()
///     try mine.follow(quotes)
///     let quote = try await mine.value(for: "AAPL", loading: quotes.loaded(for:))
///
/// Any task may call any member at any time. Reads share two connections and two threads, which are made when they are
/// needed; a connection that was lost is made anew. The owner answers its own user and root.
public final class RemoteCache<Key: CacheKey, Value: Sendable>: Sendable {
    /// The store's folder.
    public let path: String
    /// The cache's name in its store; nil: of one that was opened by itself.
    public let name: String?
    private let coding: ValueCoding<Value>
    private let reader: RemoteReader
    private let files: any FileSystem

    /// Nothing is connected yet.
    /// - Parameter timeout: how long a read may take, the wait for its turn included, before it throws `.timedOut`; at least
    ///   1 ms.
    public convenience init(
        storeAt path: String, named name: String? = nil, coding: ValueCoding<Value>, timeout: Duration = .seconds(5)
    ) {
        self.init(storeAt: path, named: name, coding: coding, timeout: timeout, PosixFileSystem(), clock: nil)
    }

    /// The same for values that keep themselves (`CacheValue`).
    public convenience init(
        storeAt path: String, named name: String? = nil, timeout: Duration = .seconds(5)
    ) where Value: CacheValue {
        self.init(storeAt: path, named: name, coding: .own, timeout: timeout)
    }

    /// The same for values that are kept as JSON.
    public convenience init(
        storeAt path: String, named name: String? = nil, timeout: Duration = .seconds(5)
    ) where Value: Codable {
        self.init(storeAt: path, named: name, coding: .json, timeout: timeout)
    }

    /// The same for values that could do both: they keep themselves.
    public convenience init(
        storeAt path: String, named name: String? = nil, timeout: Duration = .seconds(5)
    ) where Value: Codable & CacheValue {
        self.init(storeAt: path, named: name, coding: .own, timeout: timeout)
    }

    /// The same with the doors to the kernel in hand. `clock`: the machine's boot clock; nil: the kernel's.
    init(
        storeAt path: String, named name: String? = nil, coding: ValueCoding<Value>, timeout: Duration,
        _ files: any FileSystem, clock: (any SystemClock)?
    ) {
        self.path = path
        self.name = name
        self.coding = coding
        self.files = files
        reader = RemoteReader(
            path, namespace: name ?? Namespace.default.name, timeout: max(timeout, .milliseconds(1)), files, clock)
    }

    /// The value that the owner's store has for a key now; nil where there is none that may be served. What the owner holds
    /// in memory alone is not seen.
    /// - Throws: `.timedOut` where the owner does not answer in time; `.degraded` while it goes on in memory alone;
    ///   `.storeInUse` where it answers nobody, `.closed` where it went away, `.io` where nobody has the store open,
    ///   `.invalidArgument` for a name that the store does not know.
    public func value(for key: Key) async throws(VarveError) -> Value? {
        guard let found = try await found(key), found.kind == .value else { return nil }
        return try? coding.decode(found.entry.bytes)
    }

    /// The same for a loader, with all that a copy needs: its deadlines, never later than the owner's, and its tags, so that
    /// a drop of one of them at the owner drops the copy as well. Also that the owner knows the source to have no value.
    ///
    ///     let quote = try await mine.value(for: "AAPL", loading: owner.loaded(for:))
    ///
    /// Where reads move the deadline, a copy has the one that the owner's disk knows, and its own reads do not move it.
    public func loaded(for key: Key) async throws(VarveError) -> Loaded<Value> {
        guard let found = try await found(key) else { return Loaded(nil) }
        var options = EntryOptions()
        options.carried = found.carried
        switch found.kind {
        case .value: return Loaded(try? coding.decode(found.entry.bytes), options)
        case .absent:
            // How long that is known the carried deadline says.
            options.expiry = .never
            return Loaded(nil, options)
        case nil: return Loaded(nil)
        }
    }

    private func found(_ key: Key) async throws(VarveError) -> RemoteReader.Found? {
        try await reader.find(key.withKeyBytes { [UInt8](copying: $0) })
    }

    /// The changes of the cache after a place; nil: from now on. Each iterator connects by itself. Its end is the end of the
    /// connection (`.closed`): where to go on then, with the last cursor, is its user's business. The owner hangs up on a
    /// reader that takes nothing for 30 seconds while more than the socket holds is waiting for it.
    ///
    /// The same promises and errors as `Cache.changes(since:withKeyPrefix:includingProgress:)`, of which those that concern
    /// the place come with the first element.
    public func changes(
        since cursor: ChangeCursor? = nil, withKeyPrefix prefix: [UInt8] = [], includingProgress: Bool = false
    ) -> CacheChanges<Key, Value> {
        changes(cursor.map { .after($0) } ?? .now, prefix, includingProgress)
    }

    /// The same from the oldest change on that the owner's log still holds.
    public func changesFromOldest(
        withKeyPrefix prefix: [UInt8] = [], includingProgress: Bool = false
    ) -> CacheChanges<Key, Value> {
        changes(.oldest, prefix, includingProgress)
    }

    private func changes(
        _ start: ChangeStart, _ prefix: [UInt8], _ includesProgress: Bool
    ) -> CacheChanges<Key, Value> {
        let request = OwnerChangesRequest(
            namespaces: [reader.namespace], prefix: prefix, start: start, follows: true)
        return CacheChanges(
            .ofOwner(at: path, request, includesProgress: includesProgress, files: files),
            ChangeDecoder(coding: coding, prefix: prefix))
    }

    /// Lets the owner's log go up to a place, for a slot that the owner's process has made (`Cache.changeSlot`): everything
    /// before it was dealt with here. A place behind the slot's changes nothing. Each call connects by itself, so once a second
    /// or once a megabyte is often enough.
    /// - Parameter cursor: of this cache's feed, in the history that it tells of now.
    /// - Throws: `.invalidArgument` where the owner has no slot of that name; `.notContinuing` for a place that is not in the
    ///   owner's history, which it may have left since; else as `value(for:)`.
    public func acknowledge(_ cursor: ChangeCursor, inSlotNamed name: String) async throws(VarveError) {
        guard try await reader.moveSlot(name, to: cursor) else {
            throw VarveError(.invalidArgument, "the store's process has no slot \(name): make it there first")
        }
    }

    /// What a follower needs: which keys change, and how far it is.
    var followed: ChangeFeed {
        .ofOwner(
            at: path,
            OwnerChangesRequest(namespaces: [reader.namespace], start: .now, follows: true, hasValues: false),
            includesProgress: true, files: files)
    }
}

extension RemoteCache where Key == String {
    /// The changes of keys that begin with this, as `changes(since:withKeyPrefix:includingProgress:)`.
    public func changes(
        since cursor: ChangeCursor? = nil, withPrefix prefix: String, includingProgress: Bool = false
    ) -> CacheChanges<Key, Value> {
        changes(since: cursor, withKeyPrefix: Array(prefix.utf8), includingProgress: includingProgress)
    }
}

extension TagStore {
    /// Under which drops of a tag are kept for a namespace.
    static func key(_ tag: UInt64, of namespace: Namespace) -> [UInt8] {
        TagRegistry.slot(of: tag).withKeyBytes { bytes in namespace.keyPrefix + [UInt8](copying: bytes) }
    }
}
