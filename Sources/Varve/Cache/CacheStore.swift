internal import Synchronization
public import VarveEngine
package import VarveIO

/// One store on disk, and the caches in it: they share its log, its budget on disk and its threads, and have names,
/// limits, policies, default expiry and statistics of their own.
///
///     let store = try await CacheStore.open(at: "/var/lib/app/cache", disk: .gigabytes(20))
///     let quotes = try await store.cache(named: "quotes", of: String.self, to: Quote.self)
///     let sessions = try await store.cache(named: "sessions", of: UUID.self, to: Session.self, .init(expiry: .hours(1)))
///
/// Any task may call any member, at any time.
public final class CacheStore: Sendable {
    /// Nil: memory alone.
    let engines: EngineCell?
    package var engine: Engine? { engines?.current }
    let clock: CacheClock
    let hashSeed: UInt64
    /// Names the history in which this store's versions are places.
    var history: UInt64 { engines?.history ?? ownHistory }
    private let ownHistory: UInt64
    /// Names the store in metrics and log: its folder's last component.
    let name: String
    /// Decides what the store and its caches forget when they are full, and what they need not take; nil without a disk.
    let policy: S3FIFOEviction?
    private let evictionMemory: EvictionMemory?
    /// Decides with the caches' tags and floors what compaction lets go; nil without a disk.
    let judge: CacheJudge?
    /// Tells compaction what the caches' memory is asked for; nil without a disk.
    let front: MemoryInFront?
    /// Gives back the memory of what has expired, and samples counters.
    private let maintenance: BackgroundWork
    /// Warms memory and takes notes for the next start; may wait for the disk. Nil where there is none.
    private let warming: BackgroundWork?
    /// The caches that are open here.
    let caches = OpenCaches()
    /// Lets caches be opened until the store is closed.
    let gate = OperationGate()
    let chance = Chance()
    private let closing = Mutex<Task<Result<Void, VarveError>, Never>?>(nil)
    /// Numbers the writes of caches without a disk.
    private let lastVersion = Atomic<UInt64>(0)
    /// Numbers the loads whose results memory alone holds. Begins anywhere: such a version may outlive the process as text.
    private let lastLoad = Atomic<UInt64>(.random(in: 1 ... .max / 2))

    private let log: StoreLog
    /// How the store goes on without its disk; nil: it does not, or there is none.
    let degraded: DegradedMode?
    /// Why it does without its store altogether; nil: it does not.
    let outage: DiskOutage?

    private init(
        _ engine: Engine?, _ clock: any SystemClock, _ policy: S3FIFOEviction? = nil,
        _ evictionMemory: EvictionMemory? = nil, _ judge: CacheJudge? = nil, _ front: MemoryInFront? = nil,
        degrades: Bool = false, outage: DiskOutage? = nil, _ observation: CacheObservation = CacheObservation()
    ) throws(VarveError) {
        self.outage = outage
        engines = engine.map { EngineCell($0, mayBeReplaced: degrades) }
        self.policy = policy
        self.evictionMemory = evictionMemory
        self.judge = judge
        self.front = front
        self.clock = CacheClock(clock, storeTime: engine?.storeTime)
        ownHistory = .random(in: 1 ... .max)
        hashSeed = engine?.hashSeed ?? .random(in: 0 ... .max)
        let directory = engine?.directory ?? outage?.directory
        name = directory?.split(separator: "/").last.map { String($0) } ?? "memory"
        log = StoreLog(observation.logger, store: directory ?? name)
        let time = self.clock
        if degrades, let engines { degraded = DegradedMode(engines, time, log) } else { degraded = nil }
        do throws(IOError) {
            maintenance = try BackgroundWork(name: "varve-cache", time)
            warming = engine == nil ? nil : try BackgroundWork(name: "varve-warm", time)
        } catch {
            throw VarveError(error)
        }
        warming?.add { [evictionMemory] now in
            guard let evictionMemory else { return .never }
            evictionMemory.saveIfDue(at: now)
            return .later
        }
        if let outage {
            maintenance.add { [log] _ in
                outage.tell(log)
                return .never
            }
        }
        maintenance.add { [weak engines, log] now in
            guard let engine = engines?.current else { return .never }
            log.look(at: engine.troubles, now: now)
            return .later
        }
        if let degraded {
            maintenance.add { [weak degraded] now in
                guard let degraded else { return .never }
                degraded.tell(at: now)
                return .later
            }
            warming?.add { [weak degraded] _ in
                guard let degraded else { return .never }
                degraded.attend()
                return .later
            }
        }
    }

    deinit {
        warming?.stop()
        maintenance.stop()
    }

    /// Opens the store in a folder, and makes it where there is none.
    /// - Parameters:
    ///   - disk: what it may take there, at least 16 MiB or 32 entries; nil: no bound.
    ///   - durability: of what the store writes by itself.
    ///   - degradation: what happens while the disk is full, failing or damaged. With `.memoryOnly` a store that cannot be
    ///     opened for that is none the less, and `health` says so.
    ///   - maximumStall: how long a write may wait for background work before it throws `.stalled`; 10 ms to 1 hour.
    ///   - observation: where the store says what it does; its caches have their own.
    /// - Throws: `.invalidArgument` for an option; `.storeInUse`, naming the process; `.corruption`, `.missingFile` and
    ///   `.unsupportedFormat`, naming the file; `.io` and `.diskFull` where the folder cannot be made, read or written.
    public static func open(
        at path: String, disk: CacheLimit? = .gigabytes(1), durability: Durability = .interval,
        degradation: Degradation = .throwing, maximumStall: Duration = .seconds(5),
        observation: CacheObservation = CacheObservation()
    ) async throws(VarveError) -> CacheStore {
        var options = EngineOptions()
        options.durability = durability
        guard maximumStall >= .milliseconds(10), maximumStall <= .seconds(3600) else {
            throw VarveError(.invalidArgument, "a write's stall is bounded by 10 ms to 1 hour")
        }
        options.stallLimit = maximumStall
        options.keepsDegradedMark = degradation == .memoryOnly
        try options.setDiskLimit(disk)
        return try await open(at: path, options, observation: observation)
    }

    /// The same with the engine's options in hand.
    package static func open(
        at path: String, _ options: EngineOptions, fileSystem: any FileSystem = PosixFileSystem(),
        observation: CacheObservation = CacheObservation()
    ) async throws(VarveError) -> CacheStore {
        var options = options
        let clock: any SystemClock
        if let given = options.clock {
            clock = given
        } else {
            do throws(IOError) { clock = try KernelClock() } catch { throw VarveError(error) }
        }
        options.clock = clock
        let began = Latencies.now()
        let isBounded = options.diskBudgetBytes != nil || options.diskBudgetEntries != nil
        let policy = options.eviction as? S3FIFOEviction
        let evictionMemory = isBounded ? policy.map { EvictionMemory($0, in: path, fileSystem) } : nil
        if let evictionMemory { await IOThread.run(name: "varve-open") { evictionMemory.restore() } }
        guard options.judge == nil, options.front == nil else {
            throw VarveError(.invalidArgument, "a store's own caches set `judge` and `front`")
        }
        let (judge, front) = (CacheJudge(), MemoryInFront())
        options.judge = judge
        options.front = front
        let engine: Engine
        let refusal: VarveError?
        do throws(VarveError) { (engine, refusal) = try await openEngine(at: path, options, fileSystem) } catch {
            guard let outage = try await outage(error, at: path, options, fileSystem, clock) else { throw error }
            return try CacheStore(nil, clock, outage: outage, observation)
        }
        let store = try CacheStore(
            engine, clock, policy, evictionMemory, judge, front, degrades: options.keepsDegradedMark, observation)
        store.log.opened(engine, took: Latencies.now() &- began)
        // Nothing is acknowledged before the mark is durable; reads and loads go on in any case.
        if let refusal { await store.degraded?.enter(refusal, of: engine) }
        return store
    }

    /// The store's engine; or, where the disk takes no writes and the store may go on in memory, one that is only read, and
    /// why.
    private static func openEngine(
        at path: String, _ options: EngineOptions, _ fileSystem: any FileSystem
    ) async throws(VarveError) -> (Engine, refusal: VarveError?) {
        do throws(VarveError) {
            return (try await Engine.open(at: path, options, fileSystem: fileSystem), nil)
        } catch {
            guard options.keepsDegradedMark, DegradedMode.isRefusal(error) else { throw error }
            // What hinders the stand-in as well is told by the first error.
            guard let engine = try? await Engine.openStandIn(at: path, options, fileSystem: fileSystem) else {
                throw error
            }
            return (engine, error)
        }
    }

    /// How the store goes on without what could not be opened; nil where it is not to, or somebody else has the folder.
    private static func outage(
        _ cause: VarveError, at path: String, _ options: EngineOptions, _ files: any FileSystem,
        _ clock: any SystemClock
    ) async throws(VarveError) -> DiskOutage? {
        guard options.keepsDegradedMark, DiskOutage.allows(cause) else { return nil }
        // What hinders this as well is told by the first error.
        let held = await IOThread.run(name: "varve-open") { try? HeldStore.hold(at: path, files) }
        return held.map { DiskOutage(cause, $0, in: path, CacheClock(clock, storeTime: nil)) }
    }

    package static func inMemory(clock: (any SystemClock)? = nil) throws(VarveError) -> CacheStore {
        let time: any SystemClock
        if let clock {
            time = clock
        } else {
            do throws(IOError) { time = try KernelClock() } catch { throw VarveError(error) }
        }
        return try CacheStore(nil, time)
    }

    /// Closes the store and with it every cache that lives in it (see `Cache.close`). Later calls throw `.closed`, hits in
    /// memory aside.
    /// - Throws: where what the log holds cannot be synced, or the folder not be left in order: `.io`, `.diskFull`,
    ///   `.failedStop`. Who closes again gets the same.
    public func close() async throws(VarveError) {
        let task = closing.withLock { present in
            let task = present ?? Task { await self.closeOnce() }
            present = task
            return task
        }
        try await task.value.get()
    }

    /// Whoever else closes meanwhile waits for this one.
    private func closeOnce() async -> Result<Void, VarveError> {
        do throws(VarveError) { return .success(try await carryOutClose()) } catch { return .failure(error) }
    }

    private func carryOutClose() async throws(VarveError) {
        await gate.close()
        let endings = caches.removeAll()
        for ending in endings { await ending.refuse() }
        // Waits for what the threads have in hand: not on a thread of the cooperative pool.
        await IOThread.run(name: "varve-cache") { [warming, maintenance] in
            warming?.stop()
            maintenance.stop()
        }
        if let degraded, degraded.isInMemory {
            // Else the next opening begins cold.
            _ = await IOThread.run(name: "varve-return") { degraded.tryReturn() }
        }
        await IOThread.run(name: "varve-cache") { [evictionMemory, degraded, clock] in
            for ending in endings {
                ending.save()
                ending.finish()
            }
            evictionMemory?.save()
            degraded?.tell(at: clock.now(), isLast: true)
        }
        if let outage { await IOThread.run(name: "varve-close") { outage.end() } }
        guard let engines else { return }
        try await engines.current.close()
        log.closed()
    }

    // MARK: Caches that are not open

    /// The names of all caches in the store, open or not; that of one which was opened by itself is "default".
    /// - Throws: what reading the store does: `.corruption`, `.missingFile`, `.io`; `.closed`.
    public func cacheNames() async throws(VarveError) -> [String] {
        try gate.enter()
        defer { gate.leave() }
        if let outage { throw outage.refusal(of: "which caches it has cannot be told") }
        guard let engine else { return [] }
        return try await IOThread.run(name: "varve-cache") { () throws(VarveError) in
            try engine.namespaces().map(\.name)
        }
    }

    /// Removes every entry of a cache that is not open, whatever its keys and values are, with one small write; nothing where
    /// there is no cache of that name. What it knows of source versions and dropped tags stays.
    ///
    /// Meanwhile the name counts as open, and whoever opens it may be told so.
    /// - Parameter name: nil or "default": of a cache that was opened by itself.
    /// - Throws: `.invalidArgument` where the cache is open here: `Cache.removeAll` is for that; else as
    ///   `Cache.remove(_:durability:)`.
    public func removeAll(inCacheNamed name: String?, durability: Durability? = nil) async throws(VarveError) {
        guard try await cacheNames().contains(name ?? Namespace.default.name) else { return }
        // All that a removal has to be beside, the disk that takes no writes above all, an open cache is. It reads nothing.
        var options = CacheOptions(memory: .entries(1))
        options.warmRestart = nil
        let cache: Cache<[UInt8], [UInt8]> = try await cache(named: name, coding: .own, options, ownsStore: false)
        do throws(VarveError) { try await cache.removeAll(durability: durability) } catch {
            try? await cache.close()
            throw error
        }
        try await cache.close()
    }

    func nextVersion() -> UInt64 { lastVersion.add(1, ordering: .acquiringAndReleasing).newValue }
    func nextLoad() -> UInt64 { lastLoad.add(1, ordering: .relaxed).newValue }
    var presentVersion: UInt64 { lastVersion.load(ordering: .acquiring) }

    /// Has small work done every so often, which never waits.
    func maintain(_ work: @escaping BackgroundWork.Work) { maintenance.add(work) }
    /// Returns when all of that had its turn since: for tests of what is promised to happen by itself.
    func maintained() async { await maintenance.attended() }
    /// Has work done every so often that may wait for the disk.
    func warm(_ work: @escaping BackgroundWork.Work) { warming?.add(work) }
    /// As `maintained`.
    func warmed() async { await warming?.attended() }
}

extension EngineOptions {
    /// Bounds the disk, and scales the memtable and log to a small bound.
    mutating func setDiskLimit(_ limit: CacheLimit?) throws(VarveError) {
        guard let limit else { return }
        guard limit.unit == .bytes else { return try setDiskEntries(limit.amount) }
        guard limit.amount >= 16 << 20 else {
            throw VarveError(.invalidArgument, "the disk's bound is at least 16 megabytes")
        }
        diskBudgetBytes = UInt64(limit.amount)
        // Memtables and log are part of what the disk takes: a small bound gets small ones.
        memtableBytes = min(memtableBytes, max(256 << 10, limit.amount / 32))
        logSegmentBytes = min(logSegmentBytes, max(256 << 10, limit.amount / 32))
        // And so is the log that is kept for feeds.
        logRetentionBytes = min(logRetentionBytes, UInt64(limit.amount / 4))
        compaction = .scaled(toMemtable: UInt64(memtableBytes))
        // As many entries as there turn out to be. Some 20 bytes of memory each, so the number is bounded; beyond it what was
        // read and seen longest ago is forgotten early.
        eviction = S3FIFOEviction(expectedEntries: min(1 << 16, limit.amount / 1024), mostEntries: 1 << 21)
    }

    /// Bounds the entries on disk, however large they are. Those that wait in memtables count, and so do those of the
    /// table that a flush adds before the sweep which makes room for it.
    private mutating func setDiskEntries(_ count: Int) throws(VarveError) {
        guard count >= 32 else {
            throw VarveError(
                .invalidArgument,
                "the disk's bound is at least 32 entries: it lets them go by tables, and fewer are too few to choose among"
            )
        }
        let runs = 128
        let memtable = max(1, count / runs)
        memtableEntries = memtable
        sealedMemtables = 1
        diskBudgetEntries = UInt64(count - 3 * memtable)
        compaction.runs = runs
        eviction = S3FIFOEviction(expectedEntries: count, ghostShare: 1.5, credits: 2)
    }
}
