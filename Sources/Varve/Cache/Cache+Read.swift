public import VarveEngine

extension Cache {
    /// The value of a key, from memory or disk; nil where there is none that may be served. A stale one is served; use
    /// `value(for:load:)` to have it refreshed.
    ///
    /// A hit in memory does not suspend.
    /// - Throws: `.corruption` for a damaged block, which is named and never served (with `Degradation.memoryOnly` that is a
    ///   miss, and counted in `health`); `.io` where the disk cannot be read; `.cancelled` where the task is cancelled while it
    ///   waits for the disk; `.limitExceeded` for a key above 64 KiB; `.closed`.
    @inlinable @inline(__always)
    public func value(for key: Key) async throws(VarveError) -> Value? {
        switch memory.lookUp(key) {
        case .hit(let value), .due(let value), .stale(let value): return value
        case .absent: return nil
        case .miss: return try await fetch(key)?.front.value
        }
    }

    /// The value of a key if memory holds it: at once, for code that cannot wait.
    @inlinable
    public func valueInMemory(for key: Key) -> Value? {
        switch memory.lookUp(key) {
        case .hit(let value), .due(let value), .stale(let value): return value
        case .absent, .miss: return nil
        }
    }

    /// The values of many keys; keys without one are left out. Those that must be read from disk are read side by side, and
    /// what expires meanwhile is left out.
    /// - Throws: as `value(for:)`, with nothing returned, where one of them cannot be read.
    public func values(for keys: [Key]) async throws(VarveError) -> [Key: Value] {
        var found: [Key: Servable<Value>] = [:]
        var waiting: Set<Key> = []
        for key in keys where !waiting.contains(key) {
            let (answer, until) = lookUp(key)
            switch answer {
            case .hit(let value), .due(let value), .stale(let value):
                found[key] = Servable(value: value, until: until)
            case .absent: break
            case .miss:
                guard disk != nil else {
                    _ = try await fetch(key)
                    continue
                }
                switch try fetchAtOnce(key, memory.hash(key), for: .caller) {
                case .entry(let entry): found[key] = Servable(entry)
                case .absent: break
                case .unknown: waiting.insert(key)
                }
            }
        }
        var failure: VarveError?
        // One hand-over after the other would take as long as all of them together.
        await sideBySide(Array(waiting)) {
            (key: $0, outcome: await self.reading(of: $0))
        } take: { read in
            switch read.outcome {
            case .success(let value): found[read.key] = value
            case .failure(let error): failure = failure ?? error
            }
            return failure == nil
        }
        if let failure { throw failure }
        let now = store.clock.now()
        return found.compactMapValues { $0.until > now ? $0.value : nil }
    }

    /// What memory answers, and when that may no longer be served.
    @inlinable
    func lookUp(_ key: Key) -> (answer: MemoryAnswer<Value>, until: Int64) {
        let hash = memory.hash(key)
        return memory.withShard(hash) { shard in
            let answer = shard.lookUp(key, hash, memory.context)
            return (answer, shard.usableUntil(key, hash))
        }
    }

    /// What a key has that memory has not.
    private func reading(of key: Key) async -> Result<Servable<Value>?, VarveError> {
        do throws(VarveError) { return .success(try await fetch(key).flatMap { Servable($0) }) } catch {
            return .failure(error)
        }
    }

    /// The entry of a key with its version and deadline; nil where there is none that may be served.
    /// - Throws: as `value(for:)`.
    public func entry(for key: Key) async throws(VarveError) -> CacheEntry<Value>? {
        let hash = memory.hash(key)
        let found: MemoryEntry<Key, Value>?
        if let held = heldInMemory(key, hash) { found = held } else { found = try await fetch(key) }
        guard let found, let value = found.value else { return nil }
        let now = store.clock.now()
        let until = found.deadlines.usableUntil
        guard until > now else { return nil }
        return CacheEntry(
            value: value, version: version(found.version, load: found.load),
            usableFor: until == .max ? nil : .nanoseconds(until - now),
            isStale: found.deadlines.freshUntil <= now)
    }

    /// The entry that memory answers a read with, which is counted; nil: it has none that may be served.
    func heldInMemory(_ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        memory.withShard(hash) { shard in
            if case .miss = shard.lookUp(key, hash, memory.context) { return nil }
            return shard.peek(key, hash)
        }
    }

    func version(_ number: UInt64, load: UInt64 = 0) -> EntryVersion {
        EntryVersion(history: store.history, number: number, load: load)
    }

    /// Who asks the disk for a key that memory has not, and what it is to him that there is none.
    @usableFromInline
    enum Asker {
        /// He is told so: a miss is counted.
        case caller
        /// It asks the source: a miss is counted.
        case load
        /// He goes on to a load, which looks and counts by itself, or is another's that he shares: no miss is counted. He does
        /// not wait for the disk before that.
        case loadCaller
        /// It is for any number of callers who go on to a load, and count what they are served: nothing is counted.
        case look
    }

    /// Brings an entry from disk to memory and returns it; one without a value says that the source is known to have none.
    /// Nil where the disk has nothing that may be served.
    @inlinable
    func fetch(_ key: Key, for asker: Asker = .caller) async throws(VarveError) -> MemoryEntry<Key, Value>? {
        let hash = memory.hash(key)
        guard let disk else {
            try gate.enter()
            defer { gate.leave() }
            noteMiss(hash)
            return nil
        }
        switch try fetchAtOnce(key, hash, for: asker) {
        case .entry(let found): return found
        case .absent: return nil
        case .unknown: return try await fetchInFlight(key, hash, disk, for: asker)
        }
    }

    /// The way that may wait.
    @usableFromInline
    func fetchInFlight(
        _ key: Key, _ hash: UInt64, _ disk: DiskTier, for asker: Asker
    ) async throws(VarveError) -> MemoryEntry<Key, Value>? {
        try gate.enter()
        defer { gate.leave() }
        memory.withShard(hash) { $0.beginFlight(key) }
        defer { memory.withShard(hash) { $0.endFlight(key) } }
        let began = Latencies.now()
        var cause: MissCause?
        switch try await disk.read(keyBytes(key)) {
        case .entry(let stored):
            if let entry = admit(stored, key, hash) {
                if asker != .look { noteDiskHit(since: began) }
                return entry
            }
            if !key.withKeyBytes({ disk.keeps(stored, of: $0) }) { cause = .invalidated }
        case .absent(let told):
            if disk.isHidden(key) {
                if let held = heldInstead(key, hash) { return held }
                if asker != .look { noteMiss(hash) }
                return nil
            }
            cause = told
        case .wouldBlock: break
        }
        if asker == .look { return nil }
        let seen = disk.visible.rawValue
        let wasEvicted = disk.remembersEviction(of: key)
        memory.change(hash) { shard, discarded in
            shard.noteMiss(hash, cause, wasEvicted: wasEvicted)
            if asker == .caller { shard.noteAbsent(key, hash, upTo: seen, &discarded) }
        }
        return nil
    }

    /// What is known of a key that memory has not without waiting.
    @usableFromInline
    enum FoundAtOnce {
        case entry(MemoryEntry<Key, Value>)
        /// There is none; a miss was counted.
        case absent
        /// Nothing was counted: the way that may wait looks again.
        case unknown
    }

    /// What the disk can tell without waiting: an entry, brought to memory if it is worth it, or that there is none. Not
    /// where the key was written or removed meanwhile, which only a flight can tell, nor where reads move a deadline.
    @inlinable
    func fetchAtOnce(_ key: Key, _ hash: UInt64, for asker: Asker) throws(VarveError) -> FoundAtOnce {
        guard let disk else { return .unknown }
        try gate.enter()
        defer { gate.leave() }
        guard let before = memory.withShard(hash, { $0.changesBeforeRead(of: key, hash) }) else { return .unknown }
        let began = Latencies.now()
        // Not as the closure's result, which a function that is generic in it copies more often than it looks.
        var found = DiskTier.Probe.wouldBlock
        try key.withKeyBytes { (bytes) throws(VarveError) in found = try disk.probe(bytes) }
        switch consume found {
        case .entry(let stored):
            guard key.withKeyBytes({ disk.keeps(stored, of: $0) }), !stored.hasExtensions,
                let entry = decodeUncounted(stored, key, hash),
                memory.change(hash, { $0.comeHome(entry, ifStill: before, &$1) })
            else { return .unknown }
            noteDiskHit(since: began)
            return .entry(entry)
        case .absent(let cause):
            return asker != .loadCaller && isMissingFromBoth(key, hash, ifStill: before, cause) ? .absent : .unknown
        case .wouldBlock: return .unknown
        }
    }

    /// Whether neither tier has a key that the disk has not; the miss is counted then.
    @usableFromInline
    func isMissingFromBoth(_ key: Key, _ hash: UInt64, ifStill before: UInt64, _ cause: MissCause?) -> Bool {
        // What is hidden is memory's to tell.
        if let disk, disk.isHidden(key) { return false }
        let wasEvicted = disk?.remembersEviction(of: key) ?? false
        return memory.withShard(hash) { $0.missesBoth(key, hash, ifStill: before, cause, wasEvicted: wasEvicted) }
    }

    @usableFromInline
    func noteDiskHit(since began: Int64) {
        counts.add(.diskHit)
        latencies.diskRead.add(since: began)
    }

    /// Takes an entry from disk to memory, if it may be served. It was read.
    func admit(_ stored: StoredEntry, _ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        guard let disk, key.withKeyBytes({ disk.keeps(stored, of: $0) }), var entry = decode(stored, key, hash) else {
            return nil
        }
        let isAlive = memory.change(hash) { shard, discarded in
            if entry.idle.span > 0, !shard.noteRead(&entry, store.clock.now()) { return false }
            _ = shard.publish(entry, .read, &discarded)
            return true
        }
        return isAlive ? entry : nil
    }

    /// An entry as memory holds it; nil for bytes that the coding refuses, which is a miss and counted.
    func decode(_ stored: StoredEntry, _ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        let entry = decodeUncounted(stored, key, hash)
        if entry == nil { counts.add(.undecodable) }
        return entry
    }

    @inlinable
    func decodeUncounted(_ stored: StoredEntry, _ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        var value: Value?
        switch DiskTier.Kind(rawValue: stored.fields.valueType) {
        case .absent: break
        case .value: do { value = try coding.decode(stored.bytes) } catch { return nil }
        case nil: return nil
        }
        let extras = EntryRecord.bytesOfExtras(
            isIdle: stored.hasExtensions, tags: stored.fields.tags.count, sourceVersion: stored.fields.sourceVersion)
        let weight = weight(key, cost: cost(of: value, encoded: stored.bytes), extras: extras)
        var entry = MemoryEntry<Key, Value>(
            front: .init(key: key, value: value, carefreeUntil: .min),
            back: EntryRecord(stored, hash: hash, loadNanoseconds: dearness(of: stored), weight: weight))
        entry.settle()
        return entry
    }

    func makeEntry(
        _ key: Key, _ hash: UInt64, _ value: Value?, version: UInt64, cost: Int, deadlines: Deadlines,
        idle: IdleRule, loadNanoseconds: Int64 = 0, tags: [UInt64], sourceVersion: UInt64, traits: EntryTraits
    ) -> MemoryEntry<Key, Value> {
        let extras = EntryRecord.bytesOfExtras(
            isIdle: idle.span > 0, tags: tags.count, sourceVersion: sourceVersion)
        return MemoryEntry(
            key: key, value: value, hash: hash, version: version, deadlines: deadlines, idle: idle,
            loadNanoseconds: loadNanoseconds, tags: tags, sourceVersion: sourceVersion,
            weight: weight(key, cost: cost, extras: extras), traits: traits)
    }

    /// What an entry takes of the memory's limit: its key and value, and all that is kept beside them.
    @inlinable
    func weight(_ key: Key, cost: Int, extras: Int) -> Int {
        if memory.countsEntries { return 1 }
        let keyBytes = key.withKeyBytes { $0.byteCount }
        // What a key holds outside of itself, as a string or an array does beyond what fits in.
        let outside = !_isPOD(Key.self) && keyBytes > MemoryLayout<Key>.size - 1 ? keyBytes + 32 : 0
        // The cost may be anything that a closure of the user's says.
        return MemoryShard<Key, Value>.bytesOfEntry + outside + extras + min(max(0, cost), Int(UInt32.max))
    }

    /// What a value takes in memory, where that counts. It may run code of the user's, and encode the value: under no lock.
    @inlinable
    func cost(of value: Value?, encoded: [UInt8]?) -> Int {
        if memory.countsEntries { return 0 }
        return value.map { coding.cost($0, encoded) } ?? 0
    }

    func keyBytes(_ key: Key) -> [UInt8] { key.withKeyBytes { [UInt8](copying: $0) } }

    @usableFromInline
    func noteMiss(_ hash: UInt64) { memory.withShard(hash) { $0.noteMiss(hash) } }
}
