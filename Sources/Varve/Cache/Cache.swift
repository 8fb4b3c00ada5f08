internal import Synchronization
public import VarveEngine
internal import VarveIO

/// An async cache that survives restarts: live values in memory in front of a durable store on disk.
///
///     let quotes = try await Cache<String, Quote>.open(
///         at: "/var/lib/app/quotes", .init(memory: .megabytes(256), disk: .gigabytes(10), expiry: .minutes(5)))
///     let quote = try await quotes.value(for: "AAPL") { symbol in try await api.quote(symbol) }
///
/// It may forget, but never lies: an entry may be missing at any time and for any reason, but a value that was
/// overwritten, removed, invalidated or has expired is never served again to anybody who could know: not after a crash,
/// and not because a slow load or a slow disk brought it back. Operations on one key are linearizable.
///
/// Any task may call any member at any time. A hit in memory suspends nowhere and decodes nothing. No member blocks the
/// cooperative pool: what must wait for the disk waits on threads of the cache's own.
public final class Cache<Key: CacheKey, Value: Sendable>: Sendable {
    @usableFromInline let memory: MemoryTier<Key, Value>
    @usableFromInline let disk: DiskTier?
    @usableFromInline let coding: ValueCoding<Value>
    /// As it was opened.
    public let options: CacheOptions
    /// The store that it lives in, with the other caches there.
    public let store: CacheStore
    let loadGuard: LoadGuard<Key>
    let counts = LoadCounts()
    let latencies = Latencies()
    let loadTime = LoadTime()
    /// Nil: nothing is brought back after a restart.
    let warm: WarmKeeper?
    let windows: StatisticsWindows
    let metrics: MetricsReporter
    let log: CacheLog
    /// Where it follows another cache.
    let following = Mutex<CacheFollower?>(nil)
    /// Lets operations in until the cache is closed.
    @usableFromInline let gate = OperationGate()
    let loadsUnderWay = LoadsUnderWay<Value>()
    /// Who writes a key through to its origin does so alone.
    let turns = KeyTurns<Key>()
    /// Below which source versions nothing is served: the disk's, where there is one.
    let floors: FloorRegistry
    /// What a store that came back to its disk has yet to tell it, and who is just telling it what memory alone holds.
    let saving = Mutex(Saving<Key>())
    /// What of that which memory holds alone is written next.
    let keeping: Mutex<KeepRound<Key>>
    /// Held while the disk is told of touches: who has all of them told does not miss those that are on their way.
    let touching = Mutex(())
    private let ownsStore: Bool
    /// Nil where nobody else could open the same.
    private let hold: NameHold?
    /// Under which the store knows how this cache ends; nil once it has.
    private let ending = Mutex<UInt64?>(nil)
    private let closing = Mutex<Task<Result<Void, VarveError>, Never>?>(nil)

    init(
        _ store: CacheStore, _ disk: DiskTier?, coding: ValueCoding<Value>, options: CacheOptions, ownsStore: Bool,
        name: String? = nil, warm: WarmKeeper? = nil, hold: NameHold? = nil
    ) {
        self.store = store
        self.hold = hold
        self.disk = disk
        floors = disk?.floors ?? FloorRegistry()
        self.coding = coding
        self.options = options
        self.ownsStore = ownsStore
        memory = MemoryTier(
            options.memory, policy: options.policy,
            context: MemoryContext(
                clock: store.clock, tags: disk?.tags.registry ?? TagRegistry(), chance: store.chance),
            isAuthority: disk == nil, seed: store.hashSeed)
        if let disk { store.front?.add(memory, of: disk.namespace) }
        loadGuard = LoadGuard(options.loading)
        self.warm = warm
        let began = store.clock.now()
        let interval = (options.warmRestart ?? WarmRestart()).interval
        keeping = Mutex(KeepRound(interval: interval.clampedNanoseconds, opened: began))
        var before = CacheStatistics()
        before.addStore(store, disk)
        windows = StatisticsWindows(began: began, before: before)
        let name = options.observation.name ?? name ?? "default"
        metrics = MetricsReporter(options.observation.metrics, store: store.name, cache: name, before: before)
        log = CacheLog(options.observation.logger, cache: name)
        store.maintain { [weak self] now in
            guard let self, !gate.isClosed else { return .never }
            memory.removeExpired(now)
            memory.removeDropped()
            memory.giveBackRoom()
            observe(at: now)
            return .later
        }
        if disk != nil {
            store.warm { [weak self] _ in self?.touchStep() ?? .never }
            store.warm { [weak self] _ in self?.keepUsedStep() ?? .never }
        }
        if disk?.degraded != nil { store.warm { [weak self] _ in self?.saveStep() ?? .never } }
        let id = store.caches.add(
            OpenCaches.Member(
                refuse: { [weak self] in await self?.refuse() }, finish: { [weak self] in self?.finish() },
                save: { [weak self] in self?.saveAll() },
                ready: { [weak self] in await self?.ready(share: $0, atMost: $1) ?? .timedOut }))
        ending.withLock { $0 = id }
    }

    deinit {
        leaveFront()
        _ = takeEnding()
    }

    /// Ends the cache's use, and with it the store where the cache was opened by itself. Loads that are under way are
    /// cancelled, and who waits for them gets `.closed`; writes and reads of the disk that are under way are completed. Later
    /// calls throw `.closed`, hits in memory aside. A cache of a `CacheStore` can be opened again afterwards.
    ///
    /// Nothing depends on it: a killed process loses no acknowledged write.
    /// - Throws: where the cache was opened by itself, as `CacheStore.close()`.
    public func close() async throws(VarveError) {
        if ownsStore { return try await store.close() }
        let task = closing.withLock { present in
            let task = present ?? Task { await self.closeOnce() }
            present = task
            return task
        }
        try await task.value.get()
    }

    /// Whoever else closes meanwhile waits for this one; and this one for the store, where that is being closed.
    private func closeOnce() async -> Result<Void, VarveError> {
        do throws(VarveError) {
            do throws(VarveError) { try store.gate.enter() } catch { return .success(try await store.close()) }
            defer { store.gate.leave() }
            guard let ending = takeEnding() else { return .success(()) }
            await ending.refuse()
            // A store that is just returning is on disk in a moment.
            await store.degraded?.settled()
            await IOThread.run(name: "varve-cache") {
                ending.save()
                ending.finish()
            }
            hold?.giveBack()
            return .success(())
        } catch {
            return .failure(error)
        }
    }

    /// Ends a cache that its opening could not complete: nobody has used it.
    func abandon() async {
        await takeEnding()?.refuse()
        leaveFront()
        hold?.giveBack()
    }

    private func takeEnding() -> OpenCaches.Member? {
        let id = ending.withLock { id in
            defer { id = nil }
            return id
        }
        return id.flatMap { store.caches.remove($0) }
    }

    /// Lets nothing begin, ends the loads, and returns when nothing is under way on disk.
    private func refuse() async {
        gate.shut()
        following.withLock { $0 }?.stop()
        loadsUnderWay.close(OperationGate.refusal)
        await gate.close()
    }

    /// Nothing is read here any more that the disk should not forget.
    private func leaveFront() {
        if let disk { store.front?.remove(memory, of: disk.namespace) }
    }

    /// Writes what the next start goes by. Blocks.
    private func finish() {
        leaveFront()
        touchAll()
        keepAllUsed()
        noteAll()
        warm?.end()
        metrics.report(statistics)
    }
}

// MARK: Opening

extension Cache {
    /// Opens the cache in a folder, and makes it where there is none. Values keep themselves (`CacheValue`).
    /// - Throws: `.invalidArgument` for an option; `.storeInUse`, naming the process; `.corruption` and `.unsupportedFormat`,
    ///   naming the file; `.io` and `.diskFull` where the folder cannot be made, read or written.
    public static func open(at path: String, _ options: CacheOptions = CacheOptions()) async throws(VarveError) -> Cache
    where Value: CacheValue {
        try await open(at: path, coding: .own, options)
    }

    /// Opens the cache in a folder, and makes it where there is none. Values are kept as JSON.
    /// - Throws: as for values that keep themselves: `.invalidArgument` for an option; `.storeInUse`; `.corruption` and
    ///   `.unsupportedFormat`; `.io` and `.diskFull`.
    public static func open(at path: String, _ options: CacheOptions = CacheOptions()) async throws(VarveError) -> Cache
    where Value: Codable {
        try await open(at: path, coding: .json, options)
    }

    /// The same for values that could do both: they keep themselves.
    /// - Throws: the same.
    public static func open(at path: String, _ options: CacheOptions = CacheOptions()) async throws(VarveError) -> Cache
    where Value: Codable & CacheValue {
        try await open(at: path, coding: .own, options)
    }

    /// Opens the cache in a folder, and makes it where there is none, with a coding of your own.
    /// - Throws: `.invalidArgument` for an option; `.storeInUse`, naming the process; `.corruption` and `.unsupportedFormat`,
    ///   naming the file; `.io` and `.diskFull` where the folder cannot be made, read or written.
    public static func open(
        at path: String, coding: ValueCoding<Value>, _ options: CacheOptions = CacheOptions()
    ) async throws(VarveError) -> Cache {
        try options.validate()
        let store = try await CacheStore.open(
            at: path, disk: options.disk, durability: options.durability, degradation: options.degradation,
            maximumStall: options.maximumStall, observation: options.observation)
        return try await store.cache(named: nil, coding: coding, options, ownsStore: true)
    }

    /// A cache that lives in memory alone and with its process: the same type, where nothing is to be kept. Values say
    /// themselves what they cost (`CacheValue`).
    /// - Throws: `.invalidArgument` for an option; `.io` where the system gives no thread.
    public static func inMemory(_ options: CacheOptions = CacheOptions()) throws(VarveError) -> Cache
    where Value: CacheValue {
        try inMemory(coding: .own, options)
    }

    /// A cache that lives in memory alone. What a value costs is estimated by its JSON (``ValueCoding/json``): where the
    /// limit is in bytes, each is encoded once when it is written. Where that is too dear, `inMemory(_:cost:)` takes what you know.
    /// - Throws: as for values that say themselves what they cost.
    public static func inMemory(_ options: CacheOptions = CacheOptions()) throws(VarveError) -> Cache
    where Value: Codable {
        try inMemory(coding: .json, options)
    }

    /// The same for values that could do both: they say themselves what they cost.
    /// - Throws: the same.
    public static func inMemory(_ options: CacheOptions = CacheOptions()) throws(VarveError) -> Cache
    where Value: Codable & CacheValue {
        try inMemory(coding: .own, options)
    }

    /// A cache that lives in memory alone, with values of which you say what they cost.
    /// - Parameter cost: about how many bytes a value takes in memory, beside the cache's own overhead, which is counted. It
    ///   is asked once a write, and only where the limit is in bytes.
    /// - Throws: `.invalidArgument` for an option; `.io` where the system gives no thread.
    public static func inMemory(
        _ options: CacheOptions = CacheOptions(), cost: @escaping @Sendable (Value) -> Int
    ) throws(VarveError) -> Cache {
        try inMemory(coding: .none(cost: cost), options)
    }

    /// A cache that lives in memory alone, with values that are neither `Codable` nor say what they cost. Their layout alone
    /// is counted, not what they refer to: a limit in bytes bounds those that hold nothing elsewhere. For others give the
    /// limit in entries, or the cost.
    /// - Throws: `.invalidArgument` for an option; `.io` where the system gives no thread.
    public static func inMemory(_ options: CacheOptions = CacheOptions()) throws(VarveError) -> Cache {
        try inMemory(coding: .none, options)
    }

    private static func inMemory(coding: ValueCoding<Value>, _ options: CacheOptions) throws(VarveError) -> Cache {
        try options.validate()
        return Cache(try CacheStore.inMemory(), nil, coding: coding, options: options, ownsStore: true)
    }
}

extension CacheStore {
    /// A cache in memory alone, on a clock of one's own.
    package func cacheInMemory<Key: CacheKey, Value: Sendable>(
        of keys: Key.Type = Key.self, to values: Value.Type = Value.self, _ options: CacheOptions = CacheOptions()
    ) throws(VarveError) -> Cache<Key, Value> {
        try options.validate()
        return Cache(self, nil, coding: .none, options: options, ownsStore: false)
    }

    /// The cache of that name in this store, made where there is none. One name is for one type of key and value; "default" is
    /// that of the cache which was opened by itself.
    /// - Throws: `.invalidArgument` for an option, for one of the store's that `CacheStore.open` takes (`disk`, `degradation`,
    ///   `maximumStall`: they are left at their defaults here), and where the name is open already: two memories in front of one disk
    ///   would know nothing of each other. It can be opened again after `close`, or when the last reference is gone.
    public func cache<Key: CacheKey, Value: CacheValue>(
        named name: String, of keys: Key.Type = Key.self, to values: Value.Type = Value.self,
        _ options: CacheOptions = CacheOptions()
    ) async throws(VarveError) -> Cache<Key, Value> {
        try await cache(named: name, coding: .own, options, ownsStore: false)
    }

    /// The same with values kept as JSON.
    public func cache<Key: CacheKey, Value: Codable & Sendable>(
        named name: String, of keys: Key.Type = Key.self, to values: Value.Type = Value.self,
        _ options: CacheOptions = CacheOptions()
    ) async throws(VarveError) -> Cache<Key, Value> {
        try await cache(named: name, coding: .json, options, ownsStore: false)
    }

    /// The same for values that could do both: they keep themselves.
    public func cache<Key: CacheKey, Value: Codable & CacheValue>(
        named name: String, of keys: Key.Type = Key.self, to values: Value.Type = Value.self,
        _ options: CacheOptions = CacheOptions()
    ) async throws(VarveError) -> Cache<Key, Value> {
        try await cache(named: name, coding: .own, options, ownsStore: false)
    }

    /// The same with a coding of your own.
    public func cache<Key: CacheKey, Value: Sendable>(
        named name: String, of keys: Key.Type = Key.self, to values: Value.Type = Value.self,
        coding: ValueCoding<Value>, _ options: CacheOptions = CacheOptions()
    ) async throws(VarveError) -> Cache<Key, Value> {
        try await cache(named: name, coding: coding, options, ownsStore: false)
    }

    func cache<Key: CacheKey, Value: Sendable>(
        named given: String?, coding: ValueCoding<Value>, _ options: CacheOptions, ownsStore: Bool
    ) async throws(VarveError) -> Cache<Key, Value> {
        // The unnamed cache has a name among the store's: whoever opens it by that gets the same one, and no second memory.
        let name = given == Namespace.default.name ? nil : given
        try options.validate()
        if !ownsStore { try options.validateAsShared() }
        try gate.enter()
        defer { gate.leave() }
        let hold = try await hold(name)
        guard let engines else {
            return Cache(self, nil, coding: coding, options: options, ownsStore: ownsStore, name: name, hold: hold)
        }
        let namespace = if let name { try await engines.current.namespace(named: name) } else { Namespace.default }
        let floors = degraded?.floors(of: namespace) ?? FloorRegistry()
        let (tags, damage) = try await loadInvalidations(engines, namespace, floors)
        let shadow = degraded?.shadow(of: namespace)
        let cache = try await IOThread.run(name: "varve-cache") { () throws(VarveError) -> Cache<Key, Value> in
            let disk = DiskTier(
                engines: engines, namespace: namespace, tags: tags, floors: floors, eviction: self.policy,
                degraded: self.degraded, shadow: shadow)
            try disk.setQuota(options.diskQuota)
            let notes = WarmNotes(engines: engines, namespace: namespace)
            guard let warmRestart = options.warmRestart else {
                let cache = Cache<Key, Value>(
                    self, disk, coding: coding, options: options, ownsStore: ownsStore, name: name, hold: hold)
                cache.clear(notes)
                return cache
            }
            let found = notes.read()
            let warm = WarmKeeper(warmRestart, notes, found, now: self.clock.now())
            let cache = Cache<Key, Value>(
                self, disk, coding: coding, options: options, ownsStore: ownsStore, name: name, warm: warm,
                hold: hold)
            cache.takeUp(found)
            self.warm { [weak cache] _ in cache?.warmStep() ?? .never }
            return cache
        }
        if damage.all.isEmpty { return cache }
        for error in damage.all { degraded?.noteDamage(error) }
        // Which of its entries were invalidated cannot be told: so all of them go, before anybody can ask for one.
        do throws(VarveError) { try await cache.removeAll(durability: .synced) } catch {
            await cache.abandon()
            throw error
        }
        // The record of its floors is written anew, so that the next opening is no cold one. Where it cannot be, that is.
        if damage.floors != nil { try? await cache.removeAll(olderThan: 0) }
        return cache
    }

    /// For what a store that does not throw for it has begun a cache cold.
    private struct InvalidationDamage {
        var tags: VarveError?
        var floors: VarveError?
        /// That of the drops, which stays until the store is repaired, comes last: health names the last one.
        var all: [VarveError] { [floors, tags].compactMap { $0 } }
    }

    /// The drops of tags that the disk knows of, and those that an earlier cache of that name made in memory; also its floors.
    /// Within a change, so that none is on its way from there to the disk meanwhile. With the damage for which not all of them
    /// can be read, in a store that does not throw for it.
    private func loadInvalidations(
        _ engines: EngineCell, _ namespace: Namespace, _ floors: FloorRegistry
    ) async throws(VarveError) -> (TagStore, InvalidationDamage) {
        _ = await degraded?.begin()
        defer { degraded?.end() }
        // A look through what may be long: not on a thread of the cooperative pool.
        return try await IOThread.run(name: "varve-cache") { () throws(VarveError) -> (TagStore, InvalidationDamage) in
            let tags = TagStore(namespace: namespace, registry: TagRegistry())
            for (tag, version) in self.degraded?.shadow(of: namespace).changes.tags ?? [:] {
                tags.registry.note(tag, at: version)
            }
            var damage = InvalidationDamage()
            do throws(VarveError) { try tags.load(from: engines.current) } catch {
                guard self.degraded != nil, error.code == .corruption else { throw error }
                damage.tags = error
            }
            do throws(VarveError) { try floors.load(namespace, from: engines.current) } catch {
                guard self.degraded != nil, error.code == .corruption else { throw error }
                let text = "late writers of what was removed with a prefix are no longer refused"
                damage.floors = VarveError(
                    .corruption, "\(error.message); \(text)", path: error.path, underlying: error)
            }
            self.judge?.add(tags.registry, floors, of: namespace)
            return (tags, damage)
        }
    }

    /// The name for one cache alone. Of a cache that was let go a moment ago the background may have a piece of work in
    /// hand; that is waited for.
    private func hold(_ name: String?) async throws(VarveError) -> NameHold {
        for attempt in 0..<20 {
            if attempt > 0 { try? await Task.sleep(for: .milliseconds(10)) }
            if let hold = NameHold(name, in: caches) { return hold }
        }
        let what = name.map { "the cache \"\($0)\"" } ?? "the unnamed cache"
        throw VarveError(.invalidArgument, "\(what) is open in this store already: share it, or close it first")
    }
}
