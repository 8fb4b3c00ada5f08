public import VarveEngine

/// One change of a cache, as its log tells it.
public struct CacheChange<Key: CacheKey, Value: Sendable>: Sendable {
    /// What changed.
    public enum Event: Sendable {
        /// The key has this value.
        case set(Key, Value)
        /// The key has no value: it was removed, its source is known to have none, or its value is one that this
        /// program's coding refuses.
        case removed(Key)
        /// Every key of a range went.
        case removedRange(RemovedKeys)
        /// Everything that the feed is about went.
        case removedAll
        /// A tag was dropped, and with it every older entry that carries it.
        case tagDropped(DroppedTag)
        /// Of some keys everything went that was older than a source version, and late writers of what is older are refused.
        case removedOlder(RemovedOlder)
        /// Nothing more has changed so far; only in feeds that ask for it. The first one says where the feed begins.
        case caughtUp
    }

    /// What happened.
    public let event: Event
    /// The write that made the change; what `set` and its like return. One that tells a moved deadline has the version of the
    /// write before.
    public let version: EntryVersion
    /// Where to go on once this change was dealt with.
    ///
    /// Changes that were written together belong together: all but the last carry the place before the first. So who keeps
    /// the cursor of every change it has dealt with misses nothing, and what it meets again it meets from the first on.
    public let cursor: ChangeCursor
    /// Whether the changes that were written together end here.
    public let endsBatch: Bool
    /// When it was committed, in nanoseconds since 1970.
    public let commitTime: Int64
    /// From when on the value is expired, in nanoseconds of the store's clock; nil: never, or there is no value.
    public let usableUntil: Int64?
}

/// A range of keys that was removed, by the bytes that stand for keys.
public struct RemovedKeys: Hashable, Sendable {
    /// The first that went.
    public let from: [UInt8]
    /// The first after it that stayed; nil: all to the end.
    public let to: [UInt8]?

    /// Whether a key was among them.
    public func contains(_ key: some CacheKey) -> Bool {
        key.withKeyBytes { bytes in
            unsafe bytes.withUnsafeBytes { bytes in
                guard unsafe !bytes.lexicographicallyPrecedes(from) else { return false }
                guard let to else { return true }
                return unsafe bytes.lexicographicallyPrecedes(to)
            }
        }
    }
}

/// What was removed for being older than a source version, by the bytes that keys begin with.
public struct RemovedOlder: Hashable, Sendable {
    let floors: [PrefixFloors.Floor]

    /// The source version below which nothing of a key is served any more, nor what names none and was written before this
    /// change; nil: the key is not concerned.
    public func sourceVersion(for key: some CacheKey) -> UInt64? {
        key.withKeyBytes { bytes in floors.filter { bytes.starts(with: $0.prefix) }.map(\.version).max() }
    }
}

/// A tag that was dropped. The log has no name of it, only a number that any name can be tried against.
public struct DroppedTag: Hashable, Sendable {
    let number: UInt64

    /// Whether entries with a tag of this name were dropped. Rarely also one whose name was not the one that was
    /// dropped: names share a million numbers, and are then dropped together.
    public func covers(_ tag: String) -> Bool { TagRegistry.slot(of: TagRegistry.id(of: tag)) == number }
}

/// The changes of a cache in the order of its log: an asynchronous sequence.
///
/// Nothing is missing between two elements, or the sequence throws `.logGap`. See <doc:FollowingChanges>.
public struct CacheChanges<Key: CacheKey, Value: Sendable>: AsyncSequence, Sendable {
    /// One change.
    public typealias Element = CacheChange<Key, Value>
    /// `.logGap`, and what reading the log throws.
    public typealias Failure = VarveError

    private let feed: ChangeFeed
    private let decoder: ChangeDecoder<Key, Value>

    init(_ feed: ChangeFeed, _ decoder: ChangeDecoder<Key, Value>) {
        self.feed = feed
        self.decoder = decoder
    }

    /// Begins to read. Each iterator reads for itself.
    public func makeAsyncIterator() -> Iterator { Iterator(feed.makeAsyncIterator(), decoder) }

    /// One task at a time.
    public struct Iterator: AsyncIteratorProtocol {
        private var changes: ChangeFeed.Iterator
        private let decoder: ChangeDecoder<Key, Value>
        /// Whether it has thrown for a record that cannot be read: nobody may go on behind that.
        private var isOver = false

        init(_ changes: ChangeFeed.Iterator, _ decoder: ChangeDecoder<Key, Value>) {
            self.changes = changes
            self.decoder = decoder
        }

        /// The next change. Throws `.cancelled` once the task is, whatever has been read ahead.
        public mutating func next() async throws(VarveError) -> Element? { try await next(isolation: nil) }

        /// The same without leaving the caller's actor.
        public mutating func next(
            isolation actor: isolated (any Actor)? = #isolation
        ) async throws(VarveError) -> Element? {
            while !isOver, let change = try await changes.next(isolation: actor) {
                do throws(VarveError) {
                    if let known = try decoder.decode(change) { return known }
                } catch {
                    isOver = true
                    throw error
                }
            }
            return nil
        }
    }
}

/// What records of a log mean to a cache of these types.
struct ChangeDecoder<Key: CacheKey, Value: Sendable>: Sendable {
    let coding: ValueCoding<Value>
    let prefix: [UInt8]

    /// Nil for a record about a key that is none of the cache's type.
    /// - Throws: for a removal that cannot be read, which nobody may take for none.
    func decode(_ change: Change) throws(VarveError) -> CacheChange<Key, Value>? {
        guard let event = try event(change) else { return nil }
        var until: Int64?
        var version = change.lsn.rawValue
        if case .put(_, let fields) = change.kind, case .set = event {
            until = IdleRecord(fields.extensions)?.until ?? fields.usableUntil
            version = IdleRecord.carriedVersion(fields.extensions) ?? version
        }
        return CacheChange(
            event: event, version: EntryVersion(history: change.cursor.history, number: version),
            cursor: change.cursor, endsBatch: change.endsBatch, commitTime: change.commitTime, usableUntil: until)
    }

    private func event(_ change: Change) throws(VarveError) -> CacheChange<Key, Value>.Event? {
        switch change.kind {
        case .put(let bytes, let fields):
            guard let key = key(change) else { return nil }
            guard DiskTier.Kind(rawValue: fields.valueType) == .value, let value = try? coding.decode(bytes) else {
                return .removed(key)
            }
            return .set(key, value)
        case .delete: return key(change).map { .removed($0) }
        case .deleteRange(let end):
            if change.key == prefix, end == prefix.afterPrefix { return .removedAll }
            return .removedRange(RemovedKeys(from: change.key, to: end))
        case .tagDrop(let number): return .tagDropped(DroppedTag(number: number))
        case .sourceFloors(let bytes):
            let version = change.lsn.rawValue
            let floors = try PrefixFloors(reading: bytes, writtenAt: version)
            return .removedOlder(RemovedOlder(floors: floors.raised(at: version)))
        case .progress: return .caughtUp
        case .namespaceMade, .clock, .mark: return nil
        }
    }

    private func key(_ change: Change) -> Key? { unsafe Key(keyBytes: change.key.span.bytes) }
}
