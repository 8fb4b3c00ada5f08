import Foundation
import Synchronization
internal import Varve
internal import VarveEngine

/// `cache_pool`: whether a cache that waits for its disk makes the application wait. Twice as many tasks as the pool has
/// threads read entries that are neither in memory nor in the page cache, and write with a sync; a timer that is due every
/// 10 ms tells by how much it is late. The page cache is dropped before the start where the bench may (root), and with
/// `--cold` four times a second, so that reads stay cold. Where asked to judge, fails when the timer is 20 ms late at the
/// 99th percentile, and where the run cannot tell.
struct CachePoolWorkload: Sendable {
    private static let period: UInt64 = 10_000_000
    /// One in so many operations is a synced write.
    private static let writeEvery: UInt64 = 8
    /// Milliseconds that the timer may be late.
    private static let bar = 20.0
    /// Microseconds.
    private static let pageCacheLasts: UInt32 = 250_000

    let options: BenchOptions
    let folder: BenchFolder

    private final class Work: Sendable {
        let isOver = Atomic<Bool>(false)
        let reads = Atomic<UInt64>(0)
        let writes = Atomic<UInt64>(0)
    }

    func run(_ report: (ResultLine) throws -> Void) async throws {
        try folder.removeStore()
        let source = BenchSource(valueLength: options.valueLength, answersAfter: .zero)
        let filled = try await open()
        try await source.fill(filled.cache, options.records)
        try await filled.store.close()
        let quiet = try await lateness(for: options.seconds / 4)
        // Who asked for cold reads, or for a verdict on them, is told where there are none.
        if options.isCold || options.judges { try PageCache.drop() }
        let isCold = (try? PageCache.drop()) != nil
        let (store, cache) = try await open()
        let work = Work()
        // A thread of its own: to drop the page cache takes as long as it takes.
        let cooling = Thread {
            while options.isCold, !work.isOver.load(ordering: .relaxed) {
                usleep(Self.pageCacheLasts)
                try? PageCache.drop()
            }
        }
        cooling.start()
        let tasks = 2 * ProcessInfo.processInfo.activeProcessorCount
        var measurement = Measurement()
        measurement.before = .now()
        defer { work.isOver.store(true, ordering: .relaxed) }
        let late = try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<tasks {
                group.addTask { try await toil(cache, source, Rng(seed: options.seed, thread: UInt64(task)), work) }
            }
            let late = try await lateness(for: options.seconds)
            work.isOver.store(true, ordering: .relaxed)
            try await group.waitForAll()
            return late
        }
        measurement.after = .now()
        let statistics = cache.statistics
        try await store.close()
        try folder.removeStore()
        try report(line(measurement, work, late, quiet: quiet, diskHits: statistics.diskHits, isCold: isCold, tasks))
        guard options.judges else { return }
        let missed = Self.missed(
            late: late.quantile(0.99) / 1e6, quiet: quiet.quantile(0.99) / 1e6, diskHits: statistics.diskHits,
            writes: work.writes.load(ordering: .relaxed))
        if let missed { throw BenchFailure("cache_pool: " + missed) }
    }

    /// Why a run is not fine; nil: it is. Milliseconds at the 99th percentile, and what the pool did meanwhile.
    static func missed(late: Double, quiet: Double, diskHits: UInt64, writes: UInt64) -> String? {
        if quiet >= bar { return "timers are \(quiet) ms late with nothing to do: this machine cannot tell" }
        if diskHits == 0 || writes == 0 { return "nothing was read from disk, or written: there is nothing to tell" }
        if late < bar { return nil }
        return "timers are \(late) ms late at the 99th percentile, less than \(bar) is to be reached"
    }

    private func open() async throws -> (store: CacheStore, cache: Cache<BenchKey, [UInt8]>) {
        var engine = EngineOptions()
        engine.offersSocket = false
        engine.blockCacheBytes = 1 << 20
        let store = try await CacheStore.open(at: folder.storeDirectory, engine)
        var cache = CacheOptions(memory: .bytes(1 << 20))
        cache.warmRestart = nil
        return (store, try await store.cache(named: "bench", cache))
    }

    private func toil(
        _ cache: Cache<BenchKey, [UInt8]>, _ source: BenchSource, _ random: Rng, _ work: Work
    ) async throws {
        var rng = random
        var count: UInt64 = 0
        while !work.isOver.load(ordering: .relaxed) {
            count += 1
            let id = rng.below(options.records)
            if count % Self.writeEvery == 0 {
                try await cache.set(source.value(of: id), for: BenchKey(id), .init(durability: .synced))
                work.writes.add(1, ordering: .relaxed)
            } else {
                guard try await cache.value(for: BenchKey(id)) != nil else { throw BenchFailure("a record is missing") }
                work.reads.add(1, ordering: .relaxed)
            }
        }
    }

    /// By how much a timer is late, again and again.
    private func lateness(for seconds: Double) async throws -> Histogram {
        var late = Histogram()
        let end = BenchClock.now() &+ UInt64(max(0.1, seconds) * 1e9)
        while BenchClock.now() < end {
            let due = BenchClock.now() &+ Self.period
            try await Task.sleep(nanoseconds: Self.period)
            let now = BenchClock.now()
            late.add(now > due ? now &- due : 0)
        }
        return late
    }

    private func line(
        _ measurement: Measurement, _ work: Work, _ late: Histogram, quiet: Histogram, diskHits: UInt64, isCold: Bool,
        _ tasks: Int
    ) -> ResultLine {
        var line = ResultLine()
        line.add("backend", "varve-cache")
        line.add("config", options.label)
        line.add("workload", "cache_pool")
        line.add("n", options.records)
        line.add("v", options.valueLength)
        line.add("threads", tasks)
        line.add("cold", isCold)
        line.add("secs", measurement.seconds)
        line.add("reads", work.reads.load(ordering: .relaxed))
        line.add("disk_hits", diskHits)
        line.add("read_bytes", measurement.after.readBytes &- measurement.before.readBytes)
        line.add("writes", work.writes.load(ordering: .relaxed))
        line.add("timers", late.count)
        line.add("late_p50_ms", late.quantile(0.5) / 1e6)
        line.add("late_p99_ms", late.quantile(0.99) / 1e6)
        line.add("late_max_ms", Double(late.max) / 1e6)
        line.add("quiet_late_p99_ms", quiet.quantile(0.99) / 1e6)
        return line
    }
}
