import Foundation
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What a run of concurrent clients is like.
struct HistoryPlan: Sendable {
    enum Ending: Sendable { case kill, powerCut }

    var registers = ["a/1", "a/2", "ab/1", "b/1"]
    var counters = ["n/1", "n/2"]
    /// Keys that are written through to an origin, and loaded from there.
    var origins: [String] = []
    var prefixes = ["a/", "a", "b/"]
    var tags = ["red", "blue"]
    var durabilities: [Durability?] = [nil]
    var clients = 8
    /// Of each client, in the last life.
    var operations = 120
    var home = CacheRig.Home.disk
    /// Few, so that entries go back and forth between memory and disk.
    var memoryEntries = 3
    /// How the process ends after each round but the last.
    var endings: [Ending] = []
    /// Whether values expire, and the clock moves meanwhile.
    var expires = false

    /// Whether values are due for a refresh after a while, and the clock moves meanwhile; nil: they are not. So long callers
    /// wait for it while they may have the stale value; `.some(nil)`: as long as it takes.
    var refreshes: Duration??

    /// Whether sources fail now and then.
    var sourcesFail = false

    /// Whether a source that fails is left alone for some milliseconds of the clock: by back-off of keys, and as a whole.
    var sparesSources = false

    /// Whether the store goes over to memory and comes back meanwhile, again and again.
    var degrades = false

    /// Whether caches remember what their source has not; loads that find none come either way.
    var remembersAbsence = false

    /// Whether values and removals carry source versions, some of them late.
    var isVersioned = false

    /// Whether the disk has room for few entries, and others come beside the registers.
    var isCrowded = false

    /// Whether what loads brought to memory alone is written to disk as soon as it is used.
    var keepsUsed = false

    /// Whether other keys that share the registers' floors come and go meanwhile, of source versions as new.
    var sharesFloors = false

    /// Whether somebody follows the cache's feed.
    var isObserved = false

    var keys: [String] { registers + counters + origins }

    /// A miss is right where entries may be forgotten: in memory alone, or by time, whose moment no client knows. A write
    /// that is on disk, but not acknowledged yet, is lost to a drop of its tag, though readers may see what was before it
    /// until both are over.
    var mayForget: Bool {
        degrades || expires || isCrowded || sharesFloors || !tags.isEmpty || (home == .memory && memoryEntries < 1000)
    }

    /// Half of the runs are without tags, so that each miss is judged too.
    func varied(_ seed: UInt64) -> HistoryPlan {
        var plan = self
        if seed % 2 == 0 { plan.tags = [] }
        plan.remembersAbsence = seed % 4 < 2
        return plan
    }
}

/// Runs a plan and judges it.
struct HistoryRun {
    let plan: HistoryPlan
    let seed: UInt64
    let recorder: HistoryRecorder
    let clock = ManualClock()
    private let observer = FeedObserver()
    private let origin = HistoryOrigin()

    init(_ plan: HistoryPlan, seed: UInt64) {
        self.plan = plan
        self.seed = seed
        recorder = HistoryRecorder(keys: plan.keys)
    }

    /// How many seeds to run: a slice in `swift test`, as many as VARVE_HISTORY_SEEDS says elsewhere, from
    /// VARVE_HISTORY_FROM on.
    static func seeds(_ slice: Int) -> [UInt64] {
        let environment = ProcessInfo.processInfo.environment
        let first = environment["VARVE_HISTORY_FROM"].flatMap { UInt64($0) } ?? 1
        let count = environment["VARVE_HISTORY_SEEDS"].flatMap { UInt64($0) } ?? UInt64(slice)
        return (0..<count).map { first + $0 }
    }

    /// What is wrong with the history; empty: nothing.
    func violations() async throws -> [String] {
        var random = SplitMix(course: seed)
        var files = SimulatedFileSystem()
        var complaints: [String] = []
        for round in 0...plan.endings.count {
            let ending = round < plan.endings.count ? plan.endings[round] : nil
            let cache = try await open(files)
            complaints += try await compareWithOrigin(cache)
            files = try await run(cache, files, ending, &random, &complaints)
        }
        let violations = recorder.violations(mayForget: plan.mayForget, losesLoads: plan.degrades)
        return (violations + observer.violations + complaints).map { "seed \(seed): \($0)" }
    }

    /// While nobody does anything.
    private func compareWithOrigin(_ cache: Cache<String, Int>) async throws -> [String] {
        var complaints: [String] = []
        for key in plan.origins {
            let held = try await cache.value(for: key)
            if let complaint = origin.complaint(key, held: held) { complaints.append(complaint) }
        }
        return complaints
    }

    private func open(_ files: SimulatedFileSystem) async throws -> Cache<String, Int> {
        var options = CacheOptions(memory: .entries(plan.memoryEntries), policy: .lru)
        if plan.isCrowded { options.diskQuota = .entries(32) }
        if let patience = plan.refreshes { options.loading.softTimeout = patience }
        if plan.sparesSources {
            options.loading.backOff = .init(initial: .milliseconds(1), maximum: .milliseconds(2))
            options.loading.breaker = .init(failures: 4, pause: .milliseconds(2))
        }
        if plan.remembersAbsence { options.loading.absence = .seconds(1000) }
        guard plan.home == .disk else { return try CacheStore.inMemory(clock: clock).cacheInMemory(options) }
        var engine = EngineOptions()
        engine.clock = clock
        engine.offersSocket = false
        engine.memtableBytes = 64 << 10
        engine.logSegmentBytes = 64 << 10
        engine.blockCacheBytes = 0
        engine.durability = .interval(.milliseconds(5))
        engine.keepsDegradedMark = plan.degrades
        let store = try await CacheStore.open(at: CacheRig.path, engine, fileSystem: files)
        return try await store.cache(named: "test", coding: .own, options, ownsStore: true)
    }

    /// One life of a process. Returns what the next one finds.
    private func run(
        _ cache: Cache<String, Int>, _ files: SimulatedFileSystem, _ ending: HistoryPlan.Ending?,
        _ random: inout SplitMix, _ complaints: inout [String]
    ) async throws -> SimulatedFileSystem {
        let life = origin.beginLife()
        let seeds = (0..<plan.clients).map { _ in random.next() }
        let (crashSeed, patience) = (random.next(), Int(random.next() % 1500))
        let unrest = Task { await disturb(cache, files, seed: crashSeed) }
        let observation = Task { [observer] in if plan.isObserved { await observer.follow(cache) } }
        defer { observation.cancel() }
        var image = files
        var crash: (from: Int, to: Int)?
        await withTaskGroup(of: Void.self) { group in
            for seed in seeds {
                group.addTask {
                    var client = HistoryClient(cache, recorder, plan, clock, origin, life: life, seed: seed)
                    // Until the end, where one comes.
                    await client.run(ending == nil ? plan.operations : .max)
                }
            }
            guard let ending else { return await group.waitForAll() }
            let enough = recorder.operationCount + patience
            // A test that is ended cancels its clients, and nothing more is recorded.
            while recorder.operationCount < enough, !Task.isCancelled { await Task.yield() }
            // Whatever has reached the origin by now came before the crash.
            origin.endLife()
            let from = recorder.tick()
            if ending == .powerCut {
                files.cutPower()
            } else {
                observer.processDies()
                image = files.killProcess()
            }
            crash = (from, recorder.tick())
            // What the dead process does from here on reaches no disk that anybody will see.
            files.cutPower()
            group.cancelAll()
            await group.waitForAll()
        }
        unrest.cancel()
        await unrest.value
        if let crash, let ending {
            observation.cancel()
            await observation.value
            try? await cache.close()
            if ending == .powerCut {
                image = files.crash(seed: crashSeed)
                clock.reboot()
            }
            recorder.recordCrash(from: crash.from, to: crash.to, power: ending == .powerCut)
        } else {
            var client = HistoryClient(cache, recorder, plan, clock, origin, life: life, seed: 0)
            await client.readAll()
            complaints += try await compareWithOrigin(cache)
            if plan.isObserved { _ = try await observer.judge(cache, keys: plan.keys) }
            observation.cancel()
            await observation.value
            // A log that failed since the last write is told by closing.
            do { try await cache.close() } catch { guard plan.degrades, error.code == .failedStop else { throw error } }
        }
        return image
    }

    /// What else happens: flushes and compactions, files that are read slowly, time that passes.
    private func disturb(_ cache: Cache<String, Int>, _ files: SimulatedFileSystem, seed: UInt64) async {
        var random = SplitMix(seed)
        files.observe { call in
            // Now and then another thread gets ahead of this one.
            if (UInt64(call.number) &* 0x9E37_79B9_7F4A_7C15) >> 62 == 0 { sched_yield() }
        }
        let neighbours = plan.sharesFloors ? plan.registers.compactMap { $0.sharingFloor(in: cache) } : []
        while !Task.isCancelled {
            for _ in 0..<(random.next() % 40) { await Task.yield() }
            if !neighbours.isEmpty, random.next() % 4 == 0 {
                let neighbour = neighbours[Int(random.next() % UInt64(neighbours.count))]
                _ = try? await cache.set(1, for: neighbour, EntryOptions(sourceVersion: UInt64(recorder.tick())))
                try? await cache.remove(neighbour)
            }
            if plan.expires || plan.refreshes != nil, random.next() % 8 == 0 {
                let from = recorder.tick()
                clock.advance(by: .milliseconds(1))
                let now = cache.store.clock.now()
                recorder.record(HistoryOperation(.clock(now), from: from, to: recorder.tick()))
            }
            guard let engine = cache.store.engine else { continue }
            if plan.keepsUsed { await IOThread.run(name: "history-keep") { cache.keepAllUsed() } }
            if plan.isCrowded {
                for _ in 0..<4 {
                    _ = try? await cache.set(1, for: "x/\(random.next() % 96)", EntryOptions(sourceVersion: 1))
                }
            }
            if let degraded = cache.store.degraded, random.next() % 2 == 0 {
                if random.next() % 2 == 0 {
                    // Whoever writes next meets a log that has failed for good.
                    files.fail(EIO) { $0.operation == .sync && $0.path.contains(".log") }
                    try? await engine.sync()
                    files.clearFaults()
                } else {
                    let full = IOError(code: ENOSPC, operation: "allocate", path: CacheRig.path)
                    await degraded.enter(VarveError(full), of: degraded.engine)
                }
                for _ in 0..<(random.next() % 40) { await Task.yield() }
                _ = await cache.tryReturn()
            }
            try? await engine.flush()
            if random.next() % 4 == 0 { try? await engine.compact() }
        }
        files.observe(nil)
    }
}
