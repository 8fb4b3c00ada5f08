import Glibc
import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What metrics and log get of a store that meets damage, goes over to memory and comes back.
struct DegradedObservationTests {
    private func rig(_ lines: Lines, _ metrics: RecordingMetrics? = nil) -> DegradedRig {
        var rig = DegradedRig()
        rig.rig.observation.logger = lines.logger
        rig.options.observation.logger = lines.logger
        rig.options.observation.metrics = metrics
        return rig
    }

    private func pass(_ span: Duration, _ rig: DegradedRig, _ cache: Cache<String, String>) async {
        rig.rig.clock.advance(by: span)
        await cache.store.maintained()
    }

    @Test(
        "Damage that reads meet is told once a minute, with how often, and by no request",
        arguments: 1...3 as ClosedRange<UInt64>)
    func damage(seed: UInt64) async throws {
        var random = SplitMix(seed)
        let lines = Lines()
        let rig = rig(lines)
        let keys = (0..<200).map { "key \($0)" }
        let filled = try await rig.cache { $0.blockCacheBytes = 0 }
        for key in keys {
            let value = (0..<20).map { _ in String(random.next(), radix: 16) }.joined()
            try await filled.set(value, for: key)
        }
        try await filled.store.engine?.flush()
        try await filled.store.close()
        let table = try #require(try rig.files.list(CacheRig.path).first { $0.hasSuffix(".sst") })
        // Beyond what tells of tags.
        for offset in [8000, 40_000] { try rig.files.corrupt(CacheRig.path + "/" + table, at: offset) }
        let cache = try await rig.cache { $0.blockCacheBytes = 0 }
        await cache.store.maintained()
        let before = lines.strangers.load(ordering: .relaxed)
        var blocks: [UInt64: String] = [:]
        var misses = 110
        for key in keys where try await cache.value(for: key) == nil {
            misses += 1
            blocks[try #require(cache.health.lastDamage?.offset)] = key
        }
        #expect(blocks.count == 2)
        let damaged = Array(blocks.values)
        for _ in 0..<100 { #expect(try await cache.value(for: damaged[Int(random.next() % 2)]) == nil) }
        #expect(lines.strangers.load(ordering: .relaxed) == before, "seed \(seed)")
        let told = { lines.all.filter { $0.contains("met damage") } }
        await pass(.seconds(1), rig, cache)
        #expect(told().count == 1 && told().first?.hasPrefix("error") == true, "\(told())")
        for _ in 0..<10 { _ = try await cache.value(for: damaged[Int(random.next() % 2)]) }
        await pass(.seconds(30), rig, cache)
        #expect(told().count == 1)
        await pass(.seconds(40), rig, cache)
        // The store's thread may have told the first before all of them had come.
        let times = told().compactMap { line in
            line.split(separator: "times=").last.flatMap { Int($0.prefix { $0.isNumber }) }
        }
        #expect(times.count == 2 && times.reduce(0, +) == misses, "\(misses): \(told())")
        await pass(.seconds(100), rig, cache)
        #expect(told().count == 2)
        try await cache.store.close()
    }

    @Test("A log backend that hangs holds nobody up while the store goes over to memory and comes back")
    func hangingLog() async throws {
        let lines = Lines()
        let rig = rig(lines)
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        await cache.store.maintained()
        let before = lines.strangers.load(ordering: .relaxed)
        lines.door.update { $0 = false }
        rig.failLog()
        try await cache.set("new", for: "a")
        #expect(cache.isDegraded)
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        try await cache.set("newer", for: "a")
        lines.door.update { $0 = true }
        await pass(.seconds(1), rig, cache)
        let told = lines.all.filter { !$0.hasPrefix("debug") && !$0.hasPrefix("error") }
        #expect(told.count == 3, "\(told)")
        for (line, part) in zip(told, ["going on in memory", "opened anew", "back on disk"]) {
            #expect(line.contains(part))
        }
        #expect(zip(told, ["warning", "notice", "notice"]).allSatisfy { $0.hasPrefix($1) })
        #expect(told.last?.contains("changes=1") == true)
        #expect(lines.strangers.load(ordering: .relaxed) == before)
        try await cache.store.close()
    }

    @Test(
        "A mark that cannot be made durable is told; what is left to tell is told when the store is closed")
    func refusedMark() async throws {
        let lines = Lines()
        let rig = rig(lines)
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        rig.files.fail(EIO, sticky: true) { _ in true }
        #expect(await code { try await cache.set("new", for: "a") } != nil)
        rig.files.clearFaults()
        try await cache.store.close()
        #expect(lines.all.contains { $0.hasPrefix("warning") && $0.contains("cannot be made durable") })
        #expect(lines.all.contains { $0.hasPrefix("notice") && $0.contains("back on disk") })
    }

    @Test("Metrics say whether, and for how long, a store goes on in memory, what it refused, and what reads met")
    func metrics() async throws {
        let backend = RecordingMetrics()
        let rig = rig(Lines(), backend)
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        let told = { (name: String) in backend["varve_cache_\(name) store=cache cache=c"] }
        await pass(.seconds(1), rig, cache)
        #expect(told("degraded") == 0)
        rig.files.fail(EIO, sticky: true) { _ in true }
        for _ in 0..<2 { #expect(await code { try await cache.set("new", for: "a") } != nil) }
        await pass(.seconds(7), rig, cache)
        #expect(told("degraded") == 1)
        #expect(told("degraded_seconds_total") == 7)
        #expect(told("writes_refused_total") == 2)
        #expect(told("damaged_reads_total") == nil)
        let degraded = try #require(cache.store.degraded)
        for _ in 0..<3 { degraded.noteDamage(VarveError(.corruption, "a block is damaged")) }
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        await pass(.seconds(5), rig, cache)
        #expect(told("degraded") == 0)
        #expect(told("degraded_seconds_total") == 7)
        #expect(told("damaged_reads_total") == 3)
        #expect(backend.strangers.load(ordering: .relaxed) == 0)
        try await cache.store.close()
    }
}
