internal import Synchronization
public import VarveEngine

/// What a cache keeps on disk: a namespace of its store, and what its entries' fields mean.
@usableFromInline
final class DiskTier: Sendable {
    let engines: EngineCell
    let namespace: Namespace
    let tags: TagStore
    /// Below which source versions nothing is served.
    let floors: FloorRegistry
    /// What the store forgets when it is full, and what it need not take.
    let eviction: S3FIFOEviction?
    /// Whether the store goes on in memory when the disk takes no writes; nil: it does not.
    let degraded: DegradedMode?
    /// What of this must not be seen any more, because it was changed in memory meanwhile.
    let shadow: DiskShadow?
    /// Reads that threw since the disk could not be read.
    let failedReads = Atomic<UInt64>(0)

    init(
        engines: EngineCell, namespace: Namespace, tags: TagStore, floors: FloorRegistry, eviction: S3FIFOEviction?,
        degraded: DegradedMode?, shadow: DiskShadow?
    ) {
        self.engines = engines
        self.namespace = namespace
        self.tags = tags
        self.floors = floors
        self.eviction = eviction
        self.degraded = degraded
        self.shadow = shadow
    }

    var engine: Engine { engines.current }

    /// What an entry's value is, in the engine's `valueType`.
    @usableFromInline
    enum Kind: UInt8 {
        case value = 0
        /// The source is known to have none.
        case absent = 1
    }

    /// Why an entry was written, in the engine's `cause`.
    enum Cause: UInt8 {
        case explicit = 1
        case loaded = 2
    }

    /// What stands on disk under a key.
    @usableFromInline
    enum Probe {
        case entry(StoredEntry)
        /// With the cause, where the disk knows it.
        case absent(MissCause?)
        /// It cannot be told without waiting.
        case wouldBlock
    }

    /// What stands under a key, as far as can be told without waiting.
    @usableFromInline
    func probe(_ key: RawSpan) throws(VarveError) -> Probe {
        while let engine = engine(showing: key) {
            do throws(VarveError) { return Probe(try engine.probe(key, in: namespace)) } catch {
                if let miss = try missIfDamaged(error, engine) { return miss }
            }
        }
        return .absent(nil)
    }

    /// The same, whatever it takes.
    func read(_ key: [UInt8]) async throws(VarveError) -> Probe {
        let found = unsafe try probe(key.span.bytes)
        guard case .wouldBlock = found else { return found }
        while let engine = unsafe engine(showing: key.span.bytes) {
            do throws(VarveError) { return Probe(try await engine.read(key, in: namespace)) } catch {
                if let miss = try missIfDamaged(error, engine) { return miss }
            }
        }
        return .absent(nil)
    }

    /// Whether something may stand under a key: what is hidden and what is damaged may.
    func mayHold(_ key: [UInt8]) async -> Bool {
        guard let engine = unsafe engine(showing: key.span.bytes) else { return true }
        do throws(VarveError) {
            var found = unsafe try engine.probe(key.span.bytes, in: namespace)
            if case .wouldBlock = found { found = try await engine.read(key, in: namespace) }
            switch found {
            case .absent, .expired: return false
            case .entry, .wouldBlock: return true
            }
        } catch {
            return true
        }
    }

    func entry(_ key: [UInt8]) async throws(VarveError) -> StoredEntry? {
        if case .entry(let entry) = try await read(key) { entry } else { nil }
    }

    /// The engine that tells of a key; nil where what the disk has of it must not be seen.
    ///
    /// What another engine that takes this one's place must not show is hidden before it does, and shown again only when
    /// everybody gets that one. So the answer holds for an engine that was the present one before the question and after
    /// it, and for no other.
    private func engine(showing key: RawSpan) -> Engine? {
        while true {
            let engine = engine
            if hides(key) { return nil }
            if !wasReplaced(engine) { return engine }
        }
    }

    /// Whether another engine took this one's place meanwhile: it removes files that this one may still want to read, which
    /// is no damage.
    func wasReplaced(_ engine: Engine) -> Bool { engines.current !== engine }

    /// Whether a value that was loaded once should be stored: while there is room everything is, and in a full store, or
    /// where the cache has filled its quota, what was seen before. A question is a sighting.
    func admits(_ key: some CacheKey) -> Bool {
        guard let eviction else { return true }
        let isFull = engine.isFull(namespace)
        return key.withKeyBytes { eviction.admits(keyHash: Engine.keyHash($0, in: namespace), toFull: isFull) }
    }

    /// Whether a key that stands nowhere is missing for want of room on disk, as far as that is remembered.
    func remembersEviction(of key: some CacheKey) -> Bool {
        guard let eviction else { return false }
        return key.withKeyBytes { eviction.remembersEviction(ofKeyHash: Engine.keyHash($0, in: namespace)) }
    }

    /// The LSN that every reader sees by now.
    var visible: LSN { degraded.map { LSN($0.presentVersion) } ?? engine.visible }

    /// Whether what the store holds of a key outlived the drops of its tags, and the floors of source versions.
    @usableFromInline
    func keeps(_ entry: StoredEntry, of key: RawSpan) -> Bool {
        let version = DiskTier.version(of: entry)
        return tags.registry.keeps(entry.fields.tags, version: version)
            && !floors.hides(key, sourceVersion: entry.fields.sourceVersion ?? 0, version: version)
    }

    /// Under which its floors are kept.
    var floorsKey: [UInt8] { namespace.keyPrefix }

    /// The version that made an entry. A record that only tells a deadline that reads have moved carries on the version of
    /// the one before it: nobody has written the key.
    static func version(of entry: StoredEntry) -> UInt64 { version(of: entry.version, entry.fields.extensions) }

    static func version(of written: LSN, _ extensions: [EntryExtension]) -> UInt64 {
        IdleRecord.carriedVersion(extensions) ?? written.rawValue
    }

    static func fields(
        _ deadlines: Deadlines, tags: [UInt64], sourceVersion: UInt64?, kind: Kind, cause: Cause, idle: IdleRule,
        isPinned: Bool
    ) -> EntryFields {
        var fields = EntryFields(
            usableUntil: deadlines.usableUntil == .max ? nil : deadlines.usableUntil,
            freshUntil: deadlines.freshUntil == .max ? nil : deadlines.freshUntil,
            sourceVersion: sourceVersion, tags: tags, valueType: kind.rawValue, cause: cause.rawValue)
        IdleRecord(idle, until: deadlines.usableUntil)?.write(to: &fields)
        fields.isPinned = isPinned
        return fields
    }
}

/// The drops of tags that a cache's entries may still be older than, on disk: one small record each.
struct TagStore: Sendable {
    let namespace: Namespace
    let registry: TagRegistry

    /// Reads what was dropped before. Blocks.
    func load(from engine: Engine) throws(VarveError) {
        let iterator = try engine.makeIterator(in: .tagDrops, prefix: prefix)
        try iterator.seekToFirst()
        while iterator.isValid {
            if let tag = UInt64(keyBytes: iterator.key.suffix(8)) {
                registry.note(tag, at: TagStore.version(ofDrop: iterator.value, writtenAt: iterator.version))
            }
            try iterator.next()
        }
    }

    /// Under which a tag's drop is kept.
    func key(_ tag: UInt64) -> [UInt8] { TagStore.key(tag, in: namespace) }

    static func key(_ tag: UInt64, in namespace: Namespace) -> [UInt8] {
        let prefix = namespace.keyPrefix
        return TagRegistry.slot(of: tag).withKeyBytes { bytes in prefix + [UInt8](copying: bytes)
        }
    }

    /// What is kept of a drop that happened in memory, before its record was written: what was set after it carries an
    /// older version than the record.
    static func value(ofDropAt version: UInt64) -> [UInt8] { version.withKeyBytes { [UInt8](copying: $0) } }

    /// When a tag was dropped, by the value of its record and the version that this was written at.
    static func version(ofDrop value: [UInt8], writtenAt version: LSN) -> UInt64 {
        min(UInt64(keyBytes: value[...]) ?? .max, version.rawValue)
    }

    private var prefix: [UInt8] { namespace.keyPrefix }
}

extension UInt64 {
    init?(keyBytes: ArraySlice<UInt8>) { unsafe self.init(keyBytes: Array(keyBytes).span.bytes) }
}

extension [UInt8] {
    /// A copy of a key's bytes.
    init(copying bytes: RawSpan) { self = unsafe bytes.withUnsafeBytes { unsafe Array($0) } }
}

extension StoredEntry {
    /// Whether it carries more than the fields that every entry may have.
    @usableFromInline var hasExtensions: Bool { !fields.extensions.isEmpty }
}

extension DiskTier.Probe {
    fileprivate init(_ found: consuming Engine.EntryProbe) {
        switch consume found {
        case .entry(let entry): self = .entry(entry)
        case .absent: self = .absent(nil)
        case .expired: self = .absent(.expired)
        case .wouldBlock: self = .wouldBlock
        }
    }
}
