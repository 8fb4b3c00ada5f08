internal import Synchronization
public import VarveEngine
internal import VarveIO

/// A cache that another process of this machine has open, seen through its owner's socket: its entries, and the feed of
/// its changes.
///
///     let quotes = RemoteCache<String, Quote>(storeAt: "/var/lib/app/quotes")
///     let mine = try Cache<String, Quote>.inMemory()
///     try mine.follow(quotes)
///     let quote = try await mine.value(for: "AAPL") { try await quotes.value(for: $0) }
///
/// Any task may call any member at any time. A connection is made when it is needed, and made anew where it was lost. The
/// owner answers its own user and root.
public final class RemoteCache<Key: CacheKey, Value: Sendable>: Sendable {
    /// The store's folder.
    public let path: String
    /// The cache's name in its store; nil: of one that was opened by itself.
    public let name: String?
    private let coding: ValueCoding<Value>
    private let connection: RemoteConnection

    /// Nothing is connected yet.
    public init(storeAt path: String, named name: String? = nil, coding: ValueCoding<Value>) {
        self.path = path
        self.name = name
        self.coding = coding
        connection = RemoteConnection(path, namespace: name ?? Namespace.default.name)
    }

    public convenience init(storeAt path: String, named name: String? = nil) where Value: CacheValue {
        self.init(storeAt: path, named: name, coding: .own)
    }

    public convenience init(storeAt path: String, named name: String? = nil) where Value: Codable {
        self.init(storeAt: path, named: name, coding: .json)
    }

    public convenience init(storeAt path: String, named name: String? = nil) where Value: Codable & CacheValue {
        self.init(storeAt: path, named: name, coding: .own)
    }

    /// The value that the owner's store has for a key now; nil where there is none that may be served. What the owner holds
    /// in memory alone is not seen.
    /// - Throws: `.storeInUse` where the owner does not answer, `.closed` where it went away, `.io` where nobody has the
    ///   store open, `.invalidArgument` for a name that the store does not know.
    public func value(for key: Key) async throws(VarveError) -> Value? {
        let bytes = key.withKeyBytes { [UInt8](copying: $0) }
        guard let entry = try await connection.entry(bytes),
            DiskTier.Kind(rawValue: entry.fields.valueType) == .value
        else { return nil }
        return try? coding.decode(entry.bytes)
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
        let request = OwnerChangesRequest(
            namespaces: [connection.namespace], prefix: prefix, start: cursor.map { .after($0) } ?? .now,
            follows: true)
        return CacheChanges(
            .ofOwner(at: path, request, includesProgress: includingProgress),
            ChangeDecoder(coding: coding, prefix: prefix))
    }

    /// What a follower needs: which keys change, and how far it is.
    var followed: ChangeFeed {
        .ofOwner(
            at: path,
            OwnerChangesRequest(namespaces: [connection.namespace], start: .now, follows: true, hasValues: false),
            includesProgress: true)
    }
}

/// A connection for reading entries, on a thread of its own.
private final class RemoteConnection: Sendable {
    let namespace: String
    private let path: String
    private let open = Mutex<Open?>(nil)

    private struct Open: Sendable {
        let client: OwnerClient
        let namespace: Namespace
    }

    init(_ path: String, namespace: String) {
        self.path = path
        self.namespace = namespace
    }

    deinit { open.withLock { $0?.client.close() } }

    func entry(_ key: [UInt8]) async throws(VarveError) -> StoredEntry? {
        try await IOThread.run(name: "varve-remote") { [self] () throws(VarveError) in
            let (present, isNew) = try connected()
            do throws(VarveError) { return try RemoteConnection.read(key, present) } catch {
                // The owner may have gone and come back, or hung up on a client that had been silent for long.
                guard error.code == .closed else { throw error }
                open.withLock { if $0?.client === present.client { $0 = nil } }
                if isNew { throw error }
            }
            return try RemoteConnection.read(key, try connected().0)
        }
    }

    private func connected() throws(VarveError) -> (Open, isNew: Bool) {
        if let present = open.withLock({ $0 }) { return (present, false) }
        let client = try OwnerClient.connect(toStoreAt: path, PosixFileSystem())
        let made = Open(client: client, namespace: try client.namespace(named: namespace))
        return open.withLock { open in
            if let other = open { return (other, true) }
            open = made
            return (made, true)
        }
    }

    /// An entry that outlived the drops of its tags. The drops are read after the entry: one that comes between hides it,
    /// and rightly.
    private static func read(_ key: [UInt8], _ open: Open) throws(VarveError) -> StoredEntry? {
        guard let entry = try open.client.storedEntry(key, in: open.namespace) else { return nil }
        // The owner's engine keeps it for longer than reads have moved its deadline to. The owner's clock is not at hand: the
        // wall's differs from it where that was set.
        if let idle = IdleRecord(entry.fields.extensions), let now = (try? KernelClock())?.wallNanoseconds,
            idle.until <= now
        {
            return nil
        }
        for tag in entry.fields.tags {
            let drop = try open.client.storedEntry(TagStore.key(tag, of: open.namespace), in: .tagDrops)
            if let drop, drop.version.rawValue > DiskTier.version(of: entry) { return nil }
        }
        return entry
    }
}

extension TagStore {
    /// Under which drops of a tag are kept for a namespace.
    static func key(_ tag: UInt64, of namespace: Namespace) -> [UInt8] {
        TagRegistry.slot(of: tag).withKeyBytes { bytes in namespace.keyPrefix + [UInt8](copying: bytes) }
    }
}
