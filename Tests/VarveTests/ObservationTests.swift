import CoreMetrics
import Logging
import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

struct WindowTests {
    @Test("What happened in the last minute, in the last hour and since the start add up")
    func windows() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.memory, Int.self)
        func pass(_ span: Duration) {
            // The maintenance thread may look as well; nothing happens in between, so it sees the same.
            rig.clock.advance(by: span)
            cache.observe(at: cache.store.clock.now())
        }
        func hit(_ times: Int) async throws { for _ in 0..<times { _ = try await cache.value(for: "a") } }
        try await cache.set(1, for: "a")
        try await hit(5)
        pass(.seconds(1))
        try await hit(7)
        #expect(cache.statistics(over: .lastMinute).memoryHits == 12)
        #expect(cache.statistics(over: .lastMinute).span == .seconds(1))
        for _ in 0..<59 { pass(.seconds(1)) }
        // The first five are a minute old now.
        #expect(cache.statistics(over: .lastMinute).memoryHits == 12)
        pass(.seconds(1))
        #expect(cache.statistics(over: .lastMinute).memoryHits == 7)
        pass(.seconds(1))
        #expect(cache.statistics(over: .lastMinute).memoryHits == 0)
        #expect(cache.statistics(over: .lastMinute).span == .seconds(60))
        #expect(cache.statistics(over: .lastHour).memoryHits == 12)
        try await hit(3)
        for _ in 0..<60 { pass(.seconds(60)) }
        #expect(cache.statistics(over: .lastHour).memoryHits == 3)
        #expect(cache.statistics(over: .lastMinute).memoryHits == 0)
        for _ in 0..<3 { pass(.seconds(60)) }
        #expect(cache.statistics(over: .lastHour).memoryHits == 0)
        #expect(cache.statistics(over: .sinceStart).memoryHits == 15)
        #expect(cache.statistics.memoryHits == 15)
        #expect(cache.statistics(over: .lastHour).memoryEntries == 1)
    }

    @Test(
        "Two windows that follow each other are one: no count is lost or told twice", arguments: 0..<5 as Range<UInt64>)
    func windowsAddUp(_ seed: UInt64) {
        var random = SplitMix(seed)
        let windows = StatisticsWindows(began: 0)
        var counts = CacheStatistics()
        var byMinute: [UInt64] = []
        for _ in 0..<30 {
            for second in 0..<60 {
                counts.memoryHits += .random(in: 0...9, using: &random)
                let now = Int64(byMinute.count * 60 + second + 1) * 1_000_000_000
                windows.sample(counts, at: now)
            }
            let now = Int64(byMinute.count + 1) * 60_000_000_000
            byMinute.append(windows.counts(counts, over: .lastMinute, at: now).memoryHits)
        }
        #expect(byMinute.reduce(0, +) == counts.memoryHits, "seed \(seed)")
        #expect(windows.counts(counts, over: .lastHour, at: 1_800_000_000_000).memoryHits == counts.memoryHits)
    }

    @Test("Of two who look in the same second, one counts: not who read the clock then and the counts later")
    func lateLook() {
        let windows = StatisticsWindows(began: 0)
        let second: Int64 = 1_000_000_000
        var counts = CacheStatistics()
        counts.memoryHits = 5
        #expect(windows.sample(counts, at: second))
        counts.memoryHits = 12
        #expect(!windows.sample(counts, at: second))
        #expect(windows.sample(counts, at: 3 * second))
        counts.memoryHits = 20
        #expect(!windows.sample(counts, at: 2 * second))
        #expect(windows.counts(counts, over: .lastMinute, at: 61 * second).memoryHits == 15)
        #expect(windows.counts(counts, over: .lastMinute, at: 63 * second).memoryHits == 8)
    }

    @Test("Every count is of its window alone")
    func allCounts() {
        var counts = CacheStatistics()
        counts.memoryHits = 1
        counts.diskHits = 2
        for cause in MissCause.allCases { counts.misses[cause] = 3 }
        counts.loads = 4
        counts.loadFailures = 5
        counts.loadsRefused = 6
        counts.loadTimeouts = 7
        counts.loadsShared = 8
        counts.loadsOutdated = 9
        counts.loadsUnstored = 10
        counts.diskWritesAvoided = 11
        counts.staleServed = 12
        counts.undecodable = 13
        counts.evictions = 14
        counts.expired = 15
        counts.refusedByFloor = 16
        (counts.readsFailed, counts.writesFailed) = (17, 18)
        counts.keptForUse = 19
        var disk = CacheStatistics.DiskUse()
        (disk.bytesLogged, disk.bytesRewritten) = (1, 2)
        (disk.entriesLogged, disk.entriesRewritten, disk.entriesEvicted) = (3, 4, 5)
        (disk.writesDelayed, disk.writesStalled, disk.nanosecondsWaited) = (6, 7, 8)
        counts.disk = disk
        var own = CacheStatistics.OwnDiskUse()
        (own.bytesLogged, own.bytesRewritten) = (1, 2)
        (own.entriesLogged, own.entriesRewritten, own.entriesEvicted) = (3, 4, 5)
        counts.ownDisk = own
        /// The counts among a value's fields, but for those that say how things are now.
        func numbers(_ value: Any) -> [String: UInt64] {
            var found: [String: UInt64] = [:]
            for child in Swift.Mirror(reflecting: value).children {
                guard let name = child.label, let number = child.value as? UInt64 else { continue }
                if !["tableBytes", "logBytes", "entries", "bytes"].contains(name) { found[name] = number }
            }
            return found
        }
        let all = [numbers(counts), numbers(disk), numbers(own)]
        #expect(all.map(\.count) == [18, 8, 5])
        #expect(all.allSatisfy { $0.values.allSatisfy { $0 > 0 } }, "one is not set above: \(all)")
        let windows = StatisticsWindows(began: 0)
        windows.sample(counts, at: 1_000_000_000)
        let later = windows.counts(counts, over: .lastMinute, at: 62_000_000_000)
        #expect(numbers(later).values.allSatisfy { $0 == 0 }, "\(numbers(later))")
        #expect(later.misses.values.allSatisfy { $0 == 0 })
        #expect(later.disk.map { numbers($0).values.allSatisfy { $0 == 0 } } == true)
        #expect(later.ownDisk.map { numbers($0).values.allSatisfy { $0 == 0 } } == true)
    }

    @Test(
        "A histogram's percentiles are right within an eighth, and histograms add up", arguments: 0..<5 as Range<UInt64>
    )
    func histogram(_ seed: UInt64) {
        var random = SplitMix(seed)
        let (one, two) = (LatencyRecorder(), LatencyRecorder())
        var all: [Int64] = []
        for _ in 0..<5000 {
            let time = Int64(1) << Int64.random(in: 8..<36, using: &random)
            let exact = time + .random(in: 0..<time, using: &random)
            all.append(exact)
            (Bool.random(using: &random) ? one : two).add(exact)
        }
        all.sort()
        let sum = one.histogram + two.histogram
        #expect(sum.count == 5000)
        #expect(sum.mean == .nanoseconds(all.reduce(0, +) / 5000))
        for share in [0.01, 0.5, 0.9, 0.99, 1] {
            let exact = Duration.nanoseconds(all[max(0, Int((5000 * share).rounded(.up)) - 1)])
            let told = sum.percentile(share)
            #expect(told >= exact && told <= exact * 1.125 + .nanoseconds(1), "seed \(seed), \(share)")
        }
        #expect(sum.since(one.histogram) == two.histogram)
        #expect(LatencyHistogram().percentile(0.5) == .zero)
        one.add(-5)
        one.add(.max)
        #expect(one.histogram.percentile(1) > .seconds(200))
    }

    @Test("Reads from disk, loads and writes are timed, and the disk's use is told")
    func timed() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", CacheOptions(memory: .entries(10)))
        for number in 0..<20 { try await cache.set(number, for: "\(number)") }
        for number in 0..<20 { _ = try await cache.value(for: "\(number)") }
        for number in 20..<25 { _ = try await cache.value(for: "\(number)") { _ in 1 } }
        let statistics = cache.statistics
        #expect(statistics.writeLatency.count == 25)
        #expect(statistics.loadLatency.count == 5)
        #expect(statistics.diskReadLatency.count == statistics.diskHits)
        #expect(statistics.diskHits > 0)
        #expect(statistics.memoryUse == 1)
        let disk = try #require(statistics.disk)
        #expect(disk.entriesLogged >= 25 && disk.bytesLogged > 0 && disk.bytes > 0)
        try await cache.store.close()
    }
}

/// How full the disk is, and what a cache that is younger than its store counts.
struct DiskUseTests {
    @Test("A disk that is bounded in entries says how full it is")
    func entries() async throws {
        let rig = CacheRig()
        let store = try await rig.store { options in try? options.setDiskLimit(.entries(400)) }
        let cache: Cache<Int, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(10)))
        #expect(cache.statistics.disk?.use == 0)
        for number in 0..<200 { try await cache.set(number, for: number) }
        try await store.engine?.flush()
        let half = try #require(cache.statistics.disk)
        #expect(half.limit == nil && half.entryLimit == 391)
        #expect(half.entries >= 190 && half.entries <= 210 && half.use == Double(half.entries) / 391, "\(half)")
        for number in 200..<1000 { try await cache.set(number, for: number) }
        try await store.engine?.flush()
        while store.engine?.isSettled == false { try await Task.sleep(for: .milliseconds(2)) }
        let full = try #require(cache.statistics.disk)
        #expect(full.entriesEvicted > 0 && full.use ?? 0 > 0.5 && full.use ?? 2 <= 1, "\(full)")
        try await store.close()
    }

    @Test(
        "What a store did before a cache was opened is in no window of the cache's, and told to metrics by none",
        arguments: 1...3 as ClosedRange<UInt64>)
    func younger(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let rig = CacheRig()
        let store = try await rig.store()
        let backend = RecordingMetrics()
        var options = CacheOptions(memory: .entries(10))
        options.warmRestart = nil
        options.observation.metrics = backend
        let logged = "varve_cache_disk_logged_entries_total store=cache cache=c"
        var all: UInt64 = 0
        for _ in 0..<4 {
            let cache: Cache<Int, Int> = try await store.cache(named: "c", options)
            let count = UInt64.random(in: 1...30, using: &random)
            for number in 0..<count { try await cache.set(Int(number), for: Int(number)) }
            all += count
            for window in [StatisticsWindow.lastMinute, .lastHour] {
                let statistics = cache.statistics(over: window)
                #expect(statistics.ownDisk?.entriesLogged == count, "seed \(seed), \(window)")
                #expect(statistics.disk?.entriesLogged == count, "seed \(seed), \(window)")
            }
            #expect(cache.statistics(over: .sinceStart).ownDisk?.entriesLogged == all, "seed \(seed)")
            try await cache.close()
            #expect(backend[logged] == Int64(all), "seed \(seed)")
            rig.clock.advance(by: .seconds(Int64.random(in: 1...90, using: &random)))
        }
        try await store.close()
    }
}

/// What a store that does not go on in memory tells of a disk that fails it.
struct FailingDiskTests {
    @Test("Changes and reads that throw for the disk's sake are counted; the store is neither healthy nor writable")
    func throwing() async throws {
        let rig = DegradedRig()
        let backend = RecordingMetrics()
        var options = rig.options
        options.observation.metrics = backend
        let store = try await rig.store(.throwing) { $0.blockCacheBytes = 0 }
        let cache: Cache<String, String> = try await store.cache(named: "c", options)
        for number in 0..<100 { try await cache.set("\(number)", for: "key \(number)", EntryOptions(tags: ["t"])) }
        try await store.engine?.flush()
        let base = "store=cache cache=c"
        func gauges() async -> [Int64?] {
            rig.rig.clock.advance(by: .seconds(1))
            await store.maintained()
            return [backend["varve_cache_healthy \(base)"], backend["varve_cache_writable \(base)"]]
        }
        #expect(await gauges() == [1, 1])
        let table = try #require(try rig.files.list(CacheRig.path).first { $0.hasSuffix(".sst") })
        try rig.files.corrupt(CacheRig.path + "/" + table, at: 40)
        var failed: UInt64 = 0
        for number in 0..<90 where await code({ _ = try await cache.value(for: "key \(number)") }) != nil {
            failed += 1
        }
        #expect(failed > 0 && cache.statistics.readsFailed == failed)
        #expect(cache.statistics.writesFailed == 0)
        rig.failLog()
        #expect(await code { try await cache.set("new", for: "a") } != nil)
        #expect(await code { try await cache.remove("key 1") } != nil)
        #expect(await code { try await cache.remove(taggedWith: "t") } != nil)
        #expect(await code { try await cache.removeAll() } != nil)
        #expect(cache.statistics.writesFailed == 4)
        #expect(!cache.health.isHealthy && !cache.health.isWritable)
        #expect(await gauges() == [0, 0])
        #expect(backend["varve_cache_write_failures_total \(base)"] == 4)
        #expect(backend["varve_cache_read_failures_total \(base)"] == Int64(failed))
        rig.files.clearFaults()
        _ = try? await store.close()
    }

    @Test("A store that goes on in memory takes writes, and is not healthy")
    func degraded() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        try await rig.fillDisk(cache)
        #expect(!cache.statistics.isHealthy && cache.statistics.isWritable && cache.statistics.writesFailed == 0)
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        #expect(cache.statistics.isHealthy && cache.statistics.isWritable)
        try await cache.store.close()
    }
}

struct MissCauseTests {
    private func missed(_ cache: Cache<String, Int>, _ keys: [String]) async throws -> [MissCause: UInt64] {
        let before = cache.statistics.misses
        for key in keys { #expect(try await cache.value(for: key) == nil) }
        return cache.statistics.misses.merging(before) { $0 - $1 }.filter { $0.value > 0 }
    }

    /// The causes of those of the keys that are missing.
    private func causes(_ cache: Cache<String, Int>, _ keys: [String]) async throws -> [MissCause: UInt64] {
        let before = cache.statistics.misses
        for key in keys { _ = try await cache.value(for: key) }
        return cache.statistics.misses.merging(before) { $0 - $1 }.filter { $0.value > 0 }
    }

    @Test("What memory alone let go for want of room is told as evicted")
    func evictedFromMemory() async throws {
        let cache: Cache<String, Int> = try await CacheRig().cache(
            .memory, Int.self, CacheOptions(memory: .entries(10)))
        for number in 0..<30 { try await cache.set(number, for: "\(number)") }
        // What memory remembers is bounded, and few places are taken for many keys.
        let causes = try await causes(cache, (0..<30).map { "\($0)" })
        #expect(causes[.evicted] ?? 0 >= 14 && causes.values.reduce(0, +) == 20, "\(causes)")
        #expect(try await missed(cache, ["never"]) == [.cold: 1])
        try await cache.close()
    }

    /// What a cache misses that has been opened anew, so that its memory remembers nothing, once the disk has let entries go.
    private func causesOnDisk(
        _ options: CacheOptions, _ count: Int, _ adjust: (inout EngineOptions) -> Void
    ) async throws -> [MissCause: UInt64] {
        let store = try await CacheRig().store(adjust)
        var options = options
        options.warmRestart = nil
        let first: Cache<String, Int> = try await store.cache(named: "c", options)
        for number in 0..<count { try await first.set(number, for: "\(number)") }
        try await store.engine?.flush()
        while store.engine?.isSettled == false { try await Task.sleep(for: .milliseconds(2)) }
        let evicted = try #require(first.statistics.ownDisk).entriesEvicted
        try await first.close()
        let cache: Cache<String, Int> = try await store.cache(named: "c", options)
        let causes = try await causes(cache, (0..<count).map { "\($0)" })
        #expect(evicted > 50 && causes.values.reduce(0, +) == evicted, "\(causes), of \(evicted)")
        #expect(try await missed(cache, (0..<20).map { "never \($0)" }) == [.cold: 20])
        try await store.close()
        return causes
    }

    @Test("What sweeps of a full disk let go is told as evicted")
    func evictedFromDisk() async throws {
        let causes = try await causesOnDisk(CacheOptions(memory: .entries(10)), 600) {
            try? $0.setDiskLimit(.entries(400))
        }
        #expect(causes[.evicted] ?? 0 > (causes[.cold] ?? 0) * 20, "\(causes)")
    }

    @Test("What a cache's quota let go is told as evicted")
    func evictedByQuota() async throws {
        var options = CacheOptions(memory: .entries(10))
        options.diskQuota = .entries(500)
        let causes = try await causesOnDisk(options, 1500) {
            $0.diskBudgetBytes = 64 << 20
            $0.memtableEntries = 200
        }
        #expect(Set(causes.keys) == [.evicted], "\(causes)")
    }

    @Test("What a full disk was spared is told as evicted once memory has lost it")
    func spared() async throws {
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        var options = CacheOptions(memory: .entries(10))
        options.warmRestart = nil
        let first: Cache<String, Int> = try await store.cache(named: "c", options)
        eviction.noteOccupancy(1)
        #expect(try await first.value(for: "once") { _ in 1 } == 1)
        #expect(first.statistics.diskWritesAvoided == 1 && first.statistics.misses[.cold] == 1)
        try await first.close()
        let cache: Cache<String, Int> = try await store.cache(named: "c", options)
        #expect(try await missed(cache, ["once", "never"]) == [.evicted: 1, .cold: 1])
        try await store.close()
    }

    @Test("A miss is told by its cause, also where only the disk knows it")
    func causes() async throws {
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(10))
        options.warmRestart = nil
        var store = try await rig.store()
        var cache: Cache<String, Int> = try await store.cache(named: "c", options)
        for number in 0..<40 {
            try await cache.set(number, for: "brief \(number)", EntryOptions(expiry: .seconds(10)))
            try await cache.set(number, for: "tagged \(number)", EntryOptions(tags: ["tag"]))
            try await cache.set(number, for: "removed \(number)")
        }
        func keys(_ kind: String, _ numbers: Range<Int>) -> [String] { numbers.map { "\(kind) \($0)" } }
        for key in keys("removed", 0..<40) { _ = try await cache.remove(key) }
        rig.clock.advance(by: .seconds(11))
        // Memory has had them all, and let most of them go for want of room.
        #expect(try await missed(cache, keys("brief", 0..<20)) == [.expired: 20])
        // What memory remembers is bounded, and few places are taken for many keys.
        #expect(try await missed(cache, keys("removed", 0..<20))[.invalidated] ?? 0 > 12)
        try await cache.remove(taggedWith: "tag")
        #expect(try await missed(cache, keys("tagged", 0..<20)) == [.invalidated: 20])
        #expect(try await missed(cache, keys("never", 0..<20)) == [.cold: 20])
        try await store.close()
        // Memory has had none of them.
        store = try await rig.store()
        cache = try await store.cache(named: "c", options)
        #expect(try await missed(cache, keys("brief", 20..<40)) == [.expired: 20])
        #expect(try await missed(cache, keys("tagged", 20..<40)) == [.invalidated: 20])
        #expect(try await missed(cache, keys("never", 20..<40)) == [.cold: 20])
        try await store.close()
    }
}

struct MetricsTests {
    @Test("A metrics backend sees the numbers, under the cache's name")
    func backend() async throws {
        let backend = RecordingMetrics()
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(10))
        options.observation.metrics = backend
        let cache: Cache<String, Int> = try await rig.store().cache(named: "quotes", options)
        for number in 0..<20 { try await cache.set(number, for: "\(number)") }
        for number in 0..<20 { _ = try await cache.value(for: "\(number)") }
        _ = try await cache.value(for: "missing")
        let base = "store=cache cache=quotes"
        // The maintenance thread tells all that is new once a second.
        rig.clock.advance(by: .seconds(1))
        while backend["varve_cache_write_seconds \(base)"] != 20 { try await Task.sleep(for: .milliseconds(5)) }
        _ = try await cache.value(for: "missing")
        let statistics = cache.statistics
        // Closing tells the rest.
        try await cache.store.close()
        #expect(backend["varve_cache_hits_total \(base) tier=memory"] == Int64(statistics.memoryHits))
        #expect(backend["varve_cache_hits_total \(base) tier=disk"] == Int64(statistics.diskHits))
        #expect(backend["varve_cache_misses_total \(base) cause=cold"] == 2)
        #expect(backend["varve_cache_evictions_total \(base) tier=memory"] == Int64(statistics.evictions))
        #expect(backend["varve_cache_memory_entries \(base)"] == 10)
        #expect(backend["varve_cache_memory_limit \(base)"] == 10)
        #expect((backend["varve_cache_disk_used_bytes \(base)"] ?? 0) > 0)
        #expect(backend["varve_cache_write_seconds \(base)"] == 20)
        #expect(backend.strangers.load(ordering: .relaxed) == 0, "a request, or its task, called the backend")
    }

    @Test("Each cache tells what it has on disk under its own name, and what the disk was spared")
    func ownDisk() {
        let backend = RecordingMetrics()
        let reporter = MetricsReporter(backend, store: "s", cache: "c")
        var statistics = CacheStatistics()
        statistics.diskWritesAvoided = 7
        var own = CacheStatistics.OwnDiskUse()
        (own.entries, own.bytes, own.quota) = (10, 2000, .entries(40))
        (own.entriesLogged, own.bytesLogged) = (50, 5000)
        (own.entriesRewritten, own.bytesRewritten, own.entriesEvicted) = (6, 6000, 3)
        statistics.ownDisk = own
        reporter.report(statistics)
        let told = [
            "disk_writes_avoided_total": 7, "disk_entries": 10, "disk_bytes": 2000, "disk_quota": 40,
            "disk_logged_entries_total": 50, "disk_logged_bytes_total": 5000, "disk_rewritten_entries_total": 6,
            "disk_rewritten_bytes_total": 6000,
        ]
        for (name, value) in told { #expect(backend["varve_cache_\(name) store=s cache=c"] == Int64(value), "\(name)") }
        #expect(backend["varve_cache_evictions_total store=s cache=c tier=disk"] == 3)
    }

    @Test("A counter that dips for a moment is not told twice, nor as a leap")
    func dips() {
        let backend = RecordingMetrics()
        let reporter = MetricsReporter(backend, store: "s", cache: "c")
        var statistics = CacheStatistics()
        for evictions in [10, 7, 9, 12] as [UInt64] {
            statistics.evictions = evictions
            reporter.report(statistics)
        }
        #expect(backend["varve_cache_evictions_total store=s cache=c tier=memory"] == 12)
        var later = CacheStatistics()
        (later.evictions, statistics.evictions) = (7, 10)
        later.subtract(statistics)
        #expect(later.evictions == 0, "a window does not lead back beyond its beginning")
    }

    @Test("However many times there are, a timer gets a bounded sample of them, in their proportions")
    func sampled() {
        let backend = RecordingMetrics()
        let reporter = MetricsReporter(backend, store: "s", cache: "c")
        let recorder = LatencyRecorder()
        for _ in 0..<90_000 { recorder.add(1_000) }
        for _ in 0..<10_000 { recorder.add(1_000_000) }
        var statistics = CacheStatistics()
        statistics.loadLatency = recorder.histogram
        reporter.report(statistics)
        reporter.report(statistics)
        let times = backend.times["varve_cache_load_seconds store=s cache=c"] ?? []
        #expect(times.count > 100 && times.count <= 128)
        let slow = times.filter { $0 > 500_000 }.count
        #expect(slow > 8 && slow < 18)
    }
}

struct LogTests {
    @Test("What goes wrong often is told once a minute, with how often")
    func rateLimited() async throws {
        let lines = Lines()
        let rig = CacheRig()
        let texts: Cache<String, String> = try await rig.store().cache(named: "c")
        try await texts.set("no number", for: "a")
        try await texts.store.close()
        var options = CacheOptions()
        options.observation.logger = lines.logger
        let numbers: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        await numbers.ready()
        let before = numbers.statistics.undecodable
        for _ in 0..<100 { _ = try await numbers.value(for: "a") }
        func pass(_ span: Duration) {
            rig.clock.advance(by: span)
            numbers.observe(at: numbers.store.clock.now())
        }
        let known: @Sendable () -> [String] = { lines.all.filter { $0.contains("decoded") } }
        // The warm-up met it first, perhaps.
        for _ in 0..<30 { pass(.seconds(1)) }
        #expect(known().count == 1)
        #expect(known().first?.hasPrefix("warning") == true)
        for _ in 0..<10 { _ = try await numbers.value(for: "a") }
        pass(.seconds(40))
        #expect(known().count == 2)
        #expect(known().last?.contains("times=10") == true)
        #expect(numbers.statistics.undecodable == before + 110)
        #expect(!lines.all.contains { $0.hasPrefix("error") })
        try await numbers.store.close()
    }

    @Test("No request logs anything itself, however much goes wrong", arguments: 1...3 as ClosedRange<UInt64>)
    func offTheRequestsPath(seed: UInt64) async throws {
        struct SourceDown: Error {}
        var random = SplitMix(seed)
        let lines = Lines()
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(5), expiry: .seconds(10))
        options.observation.logger = lines.logger
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        let before = lines.strangers.load(ordering: .relaxed)
        for _ in 0..<300 {
            let key = "\(random.next() % 20)"
            switch random.next() % 5 {
            case 0: try await cache.set(1, for: key)
            case 1: _ = try? await cache.value(for: key) { _ in throw SourceDown() }
            case 2: try await cache.remove(key)
            case 3: rig.clock.advance(by: .seconds(5))
            default: _ = try await cache.value(for: key)
            }
        }
        #expect(lines.strangers.load(ordering: .relaxed) == before, "seed \(seed)")
        // There was something to tell.
        rig.clock.advance(by: .seconds(60))
        while !lines.all.contains(where: { $0.contains("loads fail") }) { try await Task.sleep(for: .milliseconds(5)) }
        try await cache.store.close()
    }

    @Test("A disk that fails and comes back is told as it happens; a store that stopped is an error")
    func troubles() {
        let lines = Lines()
        let log = StoreLog(lines.logger, store: "/s")
        let full = VarveError(.diskFull, "full")
        let minute: Int64 = 60_000_000_000
        log.look(at: Engine.Troubles(), now: 0)
        for second in 1..<20 { log.look(at: Engine.Troubles(passing: full), now: Int64(second)) }
        #expect(lines.all.count == 1 && lines.all[0].hasPrefix("warning"))
        log.look(at: Engine.Troubles(), now: 20)
        #expect(lines.all.count == 2 && lines.all[1].hasPrefix("notice"))
        log.look(at: Engine.Troubles(passing: full), now: 21)
        #expect(lines.all.count == 2)
        log.look(at: Engine.Troubles(passing: full), now: 2 * minute)
        #expect(lines.all.count == 3)
        for _ in 0..<5 { log.look(at: Engine.Troubles(failure: full), now: 3 * minute) }
        #expect(lines.all.count == 4 && lines.all[3].hasPrefix("error"))
    }

    @Test("A table round which compactions go is an error, told once for each")
    func damagedTables() {
        let lines = Lines()
        let log = StoreLog(lines.logger, store: "/s")
        for path in ["a", "a", nil, "a", "b", "b"] {
            let damage = path.map { VarveError(.corruption, "damaged", path: $0) }
            for second in 0..<3 { log.look(at: Engine.Troubles(damage: damage), now: Int64(second)) }
        }
        #expect(lines.all.count == 3 && lines.all.allSatisfy { $0.hasPrefix("error a table is damaged") })
    }
}

/// Keeps what is logged.
final class Lines: Sendable {
    private let kept = Mutex<[String]>([])
    /// Lines that came from elsewhere than a thread of the store's own.
    let strangers = Atomic<Int>(0)
    var all: [String] { kept.withLock { $0 } }
    /// A backend that hangs, while it is closed.
    let door = Watched(true)

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(lines: self) }
        logger.logLevel = .debug
        return logger
    }

    struct Handler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            lines.door.wait { $0 }
            if !IOThread.isOnOne { lines.strangers.add(1, ordering: .relaxed) }
            let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
            let text = all.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
            lines.kept.withLock { $0.append("\(event.level) \(event.message) \(text)") }
        }
    }
}

/// A metrics backend that remembers: sums of counters, last values of gauges, how many times of timers.
final class RecordingMetrics: MetricsFactory {
    private let values = Mutex<[String: Int64]>([:])
    private let recorded = Mutex<[String: [Int64]]>([:])
    /// Calls that came from elsewhere than a thread of the store's own.
    let strangers = Atomic<Int>(0)

    subscript(name: String) -> Int64? { values.withLock { $0[name] } }
    var times: [String: [Int64]] { recorded.withLock { $0 } }

    private final class Handler: CounterHandler, RecorderHandler, TimerHandler {
        let name: String
        let backend: RecordingMetrics
        init(_ name: String, _ backend: RecordingMetrics) {
            self.name = name
            self.backend = backend
        }
        private func noteCaller() { if !IOThread.isOnOne { backend.strangers.add(1, ordering: .relaxed) } }
        func increment(by amount: Int64) {
            noteCaller()
            backend.values.withLock { $0[name, default: 0] += amount }
        }
        func reset() {}
        func record(_ value: Int64) {
            noteCaller()
            backend.values.withLock { $0[name] = value }
        }
        func record(_ value: Double) { record(Int64(value)) }
        func recordNanoseconds(_ duration: Int64) {
            noteCaller()
            backend.values.withLock { $0[name, default: 0] += 1 }
            backend.recorded.withLock { $0[name, default: []].append(duration) }
        }
    }

    private func make(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        Handler(([label] + dimensions.map { "\($0)=\($1)" }).joined(separator: " "), self)
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { make(label, dimensions) }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        make(label, dimensions)
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { make(label, dimensions) }
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}
