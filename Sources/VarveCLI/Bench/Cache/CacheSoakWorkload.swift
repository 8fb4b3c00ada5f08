import Foundation
import Synchronization
internal import Varve
internal import VarveEngine

/// `cache_soak`: millions of operations of every kind on a cache whose memory and disk are far too small for its keys, with
/// entries that expire, tags that are dropped, loads that fail and callers that give up. Says every so often what the process
/// takes, and fails where something grows for as long as it is used.
struct CacheSoakWorkload: Sendable {
    private static let samples = 40
    private static let memoryBytes = 16 << 20
    private static let diskBytes = 16 << 20

    let options: BenchOptions
    let folder: BenchFolder
    private var operations: UInt64 { options.operations ?? 10_000_000 }
    private var workers: Int { max(options.threads, 2 * ProcessInfo.processInfo.activeProcessorCount) }

    private struct SourceDown: Error {}

    private final class Progress: Sendable {
        let done = Atomic<UInt64>(0)
        let failedLoads = Atomic<UInt64>(0)
        let conflicts = Atomic<UInt64>(0)
        let hasFailed = Atomic<Bool>(false)
    }

    func run(_ report: (ResultLine) throws -> Void) async throws {
        try folder.removeStore()
        var cacheOptions = CacheOptions(memory: .bytes(Self.memoryBytes), disk: .bytes(Self.diskBytes))
        cacheOptions.expiry = .seconds(30)
        cacheOptions.loading.absence = .milliseconds(500)
        cacheOptions.loading.backOff = .init(initial: .milliseconds(1), maximum: .milliseconds(20))
        let cache = try await Cache<BenchKey, [UInt8]>.open(at: folder.storeDirectory, cacheOptions)
        let progress = Progress()
        let start = BenchClock.now()
        var samples: [SoakSample] = []
        let zipf = Zipf(options.records)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    do { try await work(on: cache, worker, zipf, progress) } catch {
                        progress.hasFailed.store(true, ordering: .relaxed)
                        throw error
                    }
                }
            }
            for step in 1...UInt64(Self.samples) {
                let due = operations / UInt64(workers) * UInt64(workers) * step / UInt64(Self.samples)
                while progress.done.load(ordering: .relaxed) < due, !progress.hasFailed.load(ordering: .relaxed) {
                    try await Task.sleep(for: .milliseconds(50))
                }
                if progress.hasFailed.load(ordering: .relaxed) { break }
                let sample = sample(cache, progress, since: start)
                samples.append(sample)
                try report(line(sample))
            }
            try await group.waitForAll()
        }
        let statistics = cache.statistics
        try await cache.close()
        try folder.removeStore()
        let growth = SoakVerdict.growth(in: samples)
        let breaches = SoakVerdict.breaches(in: samples, memoryBytes: Self.memoryBytes, diskBytes: Self.diskBytes)
        try report(summary(statistics, progress, growth, breaches))
        let unmet = SoakVerdict.unmet(
            evictions: statistics.evictions, expired: statistics.expired,
            diskEvictions: statistics.disk?.entriesEvicted ?? 0)
        let verdict = breaches + growth + unmet
        if !verdict.isEmpty { throw BenchFailure("cache_soak: " + verdict.joined(separator: "; ")) }
    }

    private func work(on cache: Cache<BenchKey, [UInt8]>, _ worker: Int, _ zipf: Zipf, _ progress: Progress)
        async throws
    {
        var rng = Rng(seed: options.seed, thread: UInt64(worker))
        let ranked = Perm(options.records, seed: 9)
        for count in 1...max(1, operations / UInt64(workers)) {
            let id = ranked(zipf(rng.unit()))
            do {
                try await operate(on: cache, id, serial: count &* UInt64(workers) &+ UInt64(worker), &rng, progress)
            } catch let error as VarveError where error.code == .conditionFailed {
                progress.conflicts.add(1, ordering: .relaxed)
            }
            if count % 64 == 0 { progress.done.add(64, ordering: .relaxed) }
        }
        progress.done.add(operations / UInt64(workers) % 64, ordering: .relaxed)
    }

    /// One operation; which, the draw decides. `serial` makes names that never come again.
    private func operate(
        on cache: Cache<BenchKey, [UInt8]>, _ id: UInt64, serial: UInt64, _ rng: inout Rng, _ progress: Progress
    ) async throws {
        let key = BenchKey(id)
        let draw = rng.below(10_000)
        let length = 16 + Int(rng.below(UInt64(2 * options.valueLength)))
        let source = BenchSource(valueLength: length, answersAfter: .zero)
        let expiry = Expiry(
            usable: .milliseconds(Int(100 + rng.below(20_000))), fresh: .milliseconds(Int(50 + rng.below(10_000))),
            idle: draw % 5 == 0 ? .milliseconds(Int(100 + rng.below(1000))) : nil, jitter: 0.2)
        switch draw {
        case ..<6500:
            let tags = draw % 10 == 0 ? ["one/\(serial)", "some/\(id % 1000)"] : []
            await load(cache, key, draw, Loaded(source.value(of: id), .init(expiry: expiry, tags: tags)), progress)
        case ..<8000:
            // Some never expire: they fill the disk however fast the machine is, and eviction has to let them go.
            try await cache.set(source.value(of: id), for: key, .init(expiry: draw % 4 == 0 ? .never : expiry))
        case ..<9000: _ = try await cache.value(for: key)
        case ..<9400: try await cache.remove(key)
        case ..<9600:
            if let entry = try await cache.entry(for: key) {
                _ = try await cache.set(source.value(of: id), for: key, ifVersion: entry.version, .init(expiry: expiry))
            }
        case ..<9700: _ = try await cache.take(key)
        case ..<9800: try await cache.remove(taggedWith: "one/\(serial &- rng.below(1000))")
        case ..<9810: try await cache.remove(taggedWith: "some/\(rng.below(1000))")
        // In the quarter that does not count: what is full after it is to stay so.
        case 9999 where rng.below(25) == 0 && serial < operations / 4: try await cache.removeAll()
        default: await giveUp(cache, key)
        }
    }

    private func load(
        _ cache: Cache<BenchKey, [UInt8]>, _ key: BenchKey, _ draw: UInt64, _ loaded: Loaded<[UInt8]>,
        _ progress: Progress
    ) async {
        do {
            _ = try await cache.value(for: key) { (_: BenchKey) async throws -> Loaded<[UInt8]> in
                if draw % 97 == 0 { throw SourceDown() }
                if draw % 89 == 0 { return Loaded(nil) }
                return loaded
            }
        } catch {
            // The source's failures, what back-off makes of them, and keys that it is known not to have.
            progress.failedLoads.add(1, ordering: .relaxed)
        }
    }

    /// A caller that does not wait for its load. Others may have joined it, so it ends by itself too.
    private func giveUp(_ cache: Cache<BenchKey, [UInt8]>, _ key: BenchKey) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                // What a caller that gave up would have got is nobody's business.
                _ = try? await cache.value(for: key) { _ in
                    try await Task.sleep(for: .milliseconds(2))
                    return []
                }
            }
            await Task.yield()
            group.cancelAll()
        }
    }

    private func sample(_ cache: Cache<BenchKey, [UInt8]>, _ progress: Progress, since start: UInt64) -> SoakSample {
        let files = FileManager.default
        let status = ProcFile.text("/proc/self/status")
        let statistics = cache.statistics
        var sample = SoakSample()
        sample.operations = progress.done.load(ordering: .relaxed)
        sample.seconds = Double(BenchClock.now() &- start) * 1e-9
        sample.anonymousKibibytes = ProcFile.number(after: "RssAnon:", in: status)
        sample.threads = Int(ProcFile.number(after: "Threads:", in: status))
        sample.diskBytes = FolderSize.measure(folder.storeDirectory).blocks
        sample.storeBytes = statistics.disk?.bytes ?? 0
        sample.files = (try? files.contentsOfDirectory(atPath: folder.storeDirectory).count) ?? 0
        sample.descriptors = (try? files.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        sample.memoryEntries = statistics.memoryEntries
        sample.memoryWeight = statistics.memoryWeight
        return sample
    }

    private func line(_ sample: SoakSample) -> ResultLine {
        var line = ResultLine()
        line.add("workload", "cache_soak")
        line.add("ops", sample.operations)
        line.add("secs", sample.seconds)
        line.add("rss_anon_kb", sample.anonymousKibibytes)
        line.add("disk_blocks", sample.diskBytes)
        line.add("store_bytes", sample.storeBytes)
        line.add("files", sample.files)
        line.add("descriptors", sample.descriptors)
        line.add("process_threads", sample.threads)
        line.add("memory_entries", sample.memoryEntries)
        line.add("memory_weight", sample.memoryWeight)
        return line
    }

    private func summary(
        _ statistics: CacheStatistics, _ progress: Progress, _ growth: [String], _ breaches: [String]
    ) -> ResultLine {
        var line = ResultLine()
        line.add("workload", "cache_soak")
        line.add("config", "summary")
        line.add("ops", progress.done.load(ordering: .relaxed))
        line.add("hit_ratio", statistics.hitRatio)
        line.add("evictions", statistics.evictions)
        line.add("expired", statistics.expired)
        line.add("disk_evictions", statistics.disk?.entriesEvicted ?? 0)
        line.add("loads", statistics.loads)
        line.add("failed_loads", progress.failedLoads.load(ordering: .relaxed))
        line.add("conflicts", progress.conflicts.load(ordering: .relaxed))
        line.add("grown", !growth.isEmpty)
        line.add("beyond_bounds", !breaches.isEmpty)
        return line
    }
}
