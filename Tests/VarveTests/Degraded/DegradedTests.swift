import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A store that goes on in memory may forget, but never shows what was changed meanwhile.
struct DegradedTests {
    private let rig = DegradedRig()

    /// Entries of every kind on disk, then no room there.
    private func degradedCache() async throws -> Cache<String, String> {
        let cache = try await rig.cache()
        for name in ["set", "removed", "kept", "prefix/1", "prefix/2", "cas"] { try await cache.set("old", for: name) }
        try await cache.set("old", for: "tagged", EntryOptions(tags: ["t"]))
        try await rig.fillDisk(cache)
        return cache
    }

    private func change(_ cache: Cache<String, String>) async throws {
        try await cache.set("new", for: "set")
        try await cache.remove("removed")
        try await cache.removeAll(withPrefix: "prefix/")
        try await cache.remove(taggedWith: "t")
    }

    private func expectNothingOld(_ cache: Cache<String, String>, _ message: String) async throws {
        #expect([nil, "new"].contains(try await cache.value(for: "set")), "\(message)")
        for name in ["removed", "prefix/1", "prefix/2", "tagged"] {
            #expect(try await cache.value(for: name) == nil, "\(name), \(message)")
        }
    }

    @Test("A full disk: changes go on in memory, and what they changed on disk shows no more, not even after eviction")
    func goesOn() async throws {
        let cache = try await degradedCache()
        try await change(cache)
        #expect(try await cache.value(for: "set") == "new")
        try await expectNothingOld(cache, "at once")
        try await rig.evictAll(cache)
        try await expectNothingOld(cache, "after eviction")
        #expect(try await cache.value(for: "kept") == "old")
        guard case .degraded(let episode) = cache.health.state else { Issue.record("healthy"); return }
        #expect(episode.isMarkDurable && episode.returnsByItself && episode.cause.code == .diskFull)
        #expect(cache.statistics.degradation?.isDegraded == true)
        try await cache.store.close()
        rig.files.capacity = nil
        let again = try await rig.cache()
        #expect(try await again.value(for: "kept") == nil)
        try await expectNothingOld(again, "after a restart")
        #expect(again.health.isHealthy)
        try await again.store.close()
    }

    @Test("Power goes while the disk is full: nothing old comes back", arguments: 1...5 as ClosedRange<UInt64>)
    func powerCut(seed: UInt64) async throws {
        let cache = try await degradedCache()
        try await change(cache)
        let next = rig.crashed(seed)
        next.files.capacity = nil
        // Whoever opens it next.
        let again = try await next.cache(.throwing)
        try await expectNothingOld(again, "seed \(seed)")
        #expect(try await again.value(for: "kept") == nil)
        try await again.store.close()
    }

    @Test("The disk takes writes again: it gets what was changed, and nothing old shows then or after a crash")
    func returns() async throws {
        let cache = try await degradedCache()
        try await change(cache)
        let version = try #require(try await cache.entry(for: "set")?.version)
        #expect(await !cache.tryReturn())
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        #expect(cache.health.isHealthy)
        #expect(try await cache.value(for: "set") == "new")
        #expect(try await cache.set("newer", for: "set", ifVersion: version) != nil)
        try await rig.evictAll(cache)
        #expect(try await cache.value(for: "set") == "newer")
        #expect(try await cache.value(for: "kept") == "old")
        for name in ["removed", "prefix/1", "tagged"] { #expect(try await cache.value(for: name) == nil, "\(name)") }
        let again = try await rig.crashed(1).cache()
        #expect(try await again.value(for: "set") == "newer")
        #expect(try await again.value(for: "kept") == "old")
        for name in ["removed", "prefix/1", "tagged"] { #expect(try await again.value(for: name) == nil, "\(name)") }
        try await again.set("tagged again", for: "tagged", EntryOptions(tags: ["t"]))
        #expect(try await again.value(for: "tagged") == "tagged again")
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("What the disk could never take is refused in memory as well, and keeps nothing from returning")
    func limits() async throws {
        let cache = try await degradedCache()
        let long = String(repeating: "k", count: (64 << 10) + 1)
        let tags = EntryOptions(tags: (0..<5000).map { "\($0)" })
        #expect(await code { try await cache.set("x", for: long) } == .limitExceeded)
        #expect(await code { try await cache.remove(long) } == .limitExceeded)
        #expect(await code { try await cache.removeAll(withPrefix: long) } == .limitExceeded)
        #expect(await code { try await cache.set("x", for: "set", tags) } == .limitExceeded)
        #expect(try await cache.value(for: "set") == "old")
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        try await cache.store.close()
    }

    @Test("It returns by itself, after a second of the store's clock")
    func returnsByItself() async throws {
        let cache = try await degradedCache()
        try await change(cache)
        rig.files.capacity = nil
        #expect(cache.isDegraded)
        rig.rig.clock.advance(by: .seconds(2))
        while cache.isDegraded { await Task.yield() }
        let degradation = try #require(cache.statistics.degradation)
        #expect(degradation.episodes == 1 && degradation.time >= .seconds(2) && degradation.time < .seconds(3))
        try await rig.evictAll(cache)
        try await expectNothingOld(cache, "after the return")
        try await cache.store.close()
    }

    @Test("Conditional writes compare with what stands, in memory or on disk")
    func conditions() async throws {
        let cache = try await degradedCache()
        let old = try #require(try await cache.entry(for: "cas")?.version)
        #expect(try await cache.add("x", for: "cas") == nil)
        let second = try #require(try await cache.set("second", for: "cas", ifVersion: old))
        #expect(try await cache.set("third", for: "cas", ifVersion: old) == nil)
        #expect(try await cache.set("third", for: "cas", ifVersion: second) != nil)
        #expect(try await cache.update("cas") { $0 = ($0 ?? "") + "!" } == "third!")
        #expect(try await cache.take("cas") == "third!")
        #expect(try await cache.value(for: "cas") == nil)
        #expect(try await cache.replace("x", for: "cas") == nil)
        #expect(try await cache.take("kept") == "old")
        #expect(try await cache.add("x", for: "kept") != nil)
        try await rig.evictAll(cache)
        #expect(try await cache.value(for: "cas") == nil)
        try await cache.store.close()
    }

    @Test("What is older than an acknowledged source version is refused meanwhile, after the return, and after a crash")
    func sourceVersions() async throws {
        let cache = try await degradedCache()
        try await cache.set("seven", for: "a", EntryOptions(sourceVersion: 7))
        #expect(try await cache.remove("b", olderThan: 9))
        func expectFloors(_ cache: Cache<String, String>, _ message: String) async throws {
            let late = await code { _ = try await cache.set("late", for: "a", EntryOptions(sourceVersion: 6)) }
            #expect(late == .conditionFailed, "\(message)")
            let removed = await code { _ = try await cache.set("late", for: "b", EntryOptions(sourceVersion: 8)) }
            #expect(removed == .conditionFailed, "\(message)")
        }
        try await expectFloors(cache, "at once")
        try await rig.evictAll(cache)
        try await expectFloors(cache, "after eviction")
        let next = rig.crashed(3)
        next.files.capacity = nil
        let again = try await next.cache()
        try await expectFloors(again, "after a crash")
        try await again.set("eight", for: "a", EntryOptions(sourceVersion: 8))
        try await again.store.close()
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        try await expectFloors(cache, "after the return")
        try await cache.set("seven", for: "a", EntryOptions(sourceVersion: 7))
        try await cache.store.close()
    }

    @Test("Without the mark changes throw and loads go on; with it they are acknowledged again")
    func noMark() async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        rig.files.fail(EIO, sticky: true) { $0.operation == .sync }
        #expect(await code { _ = try await cache.set("new", for: "a") } != nil)
        #expect(await code { try await cache.remove("a") } != nil)
        #expect(await code { try await cache.removeAll() } != nil)
        #expect(try await cache.value(for: "b", load: { _ in "loaded" }) == "loaded")
        #expect(try await cache.value(for: "b") == "loaded")
        guard case .degraded(let episode) = cache.health.state else { Issue.record("healthy"); return }
        #expect(!episode.isMarkDurable && episode.returnsByItself)
        #expect(cache.statistics.degradation?.writesRefused == 3)
        rig.files.clearFaults()
        try await cache.remove("a")
        #expect(try await cache.value(for: "a") == nil)
        let again = try await rig.crashed(5).cache()
        #expect(try await again.value(for: "a") == nil)
        try await again.store.close()
    }

    @Test("Without the option a full disk refuses writes, and reads go on")
    func throwing() async throws {
        let cache = try await rig.cache(.throwing)
        try await cache.set("old", for: "a")
        rig.files.capacity = rig.files.usedBytes
        var refused: VarveError.Code?
        for number in 0..<64 where refused == nil {
            let value = String(repeating: "\(number) ", count: 10_000)
            refused = await code { _ = try await cache.set(value, for: "\(number)", EntryOptions(durability: .synced)) }
        }
        #expect(try await cache.value(for: "a") == "old")
        #expect(cache.statistics.degradation == nil)
        rig.files.capacity = nil
        try await cache.set("new", for: "a")
        try await cache.store.close()
    }

    @Test("A damaged entry is a miss, named, and a load writes over it; without the option it throws")
    func damage() async throws {
        let cache = try await rig.cache(.throwing) { $0.blockCacheBytes = 0 }
        for number in 0..<200 { try await cache.set(String(repeating: "\(number) ", count: 100), for: "key \(number)") }
        let engine = try #require(cache.store.engine)
        try await engine.flush()
        try await cache.store.close()
        let table = try #require(try rig.files.list(CacheRig.path).first { $0.hasSuffix(".sst") })
        try rig.files.corrupt(CacheRig.path + "/" + table, at: 700)
        for degradation in [Degradation.throwing, .memoryOnly] {
            let cache = try await rig.cache(degradation)
            var damaged: [String] = []
            for number in 0..<200 {
                let key = "key \(number)"
                do { if try await cache.value(for: key) == nil { damaged.append(key) } } catch {
                    #expect(degradation == .throwing && error.code == .corruption)
                    damaged.append(key)
                }
            }
            #expect(!damaged.isEmpty && damaged.count < 100)
            if degradation == .memoryOnly {
                #expect(cache.health.damagedReads == UInt64(damaged.count))
                #expect(cache.health.lastDamage?.path == CacheRig.path + "/" + table)
                for key in damaged { #expect(try await cache.value(for: key, load: { _ in "loaded" }) == "loaded") }
                try await rig.evictAll(cache)
                for key in damaged { #expect(try await cache.value(for: key) == "loaded") }
            }
            try await cache.store.close()
        }
    }

    @Test(
        "A table that rots under a merge: writes go on, on disk, and health names it",
        arguments: [Degradation.throwing, .memoryOnly])
    func rotUnderMerge(degradation: Degradation) async throws {
        func open() async throws -> Cache<String, String> {
            try await rig.cache(degradation) {
                $0.compaction.levelZeroTrigger = 2
                $0.compaction.levelZeroLimit = 4
            }
        }
        // Hardly compressible, so that the place below is in a block of entries, beyond what tells of tags.
        func value(_ number: Int, _ round: Int) -> String {
            var random = SplitMix(UInt64(number * 7919 + round))
            return (0..<20).map { _ in String(random.next(), radix: 16) }.joined()
        }
        func fill(_ cache: Cache<String, String>, _ round: Int) async throws {
            for number in 0..<100 { try await cache.set(value(number, round), for: "key \(number)") }
            try await cache.store.engine?.flush()
        }
        var cache = try await open()
        try await fill(cache, 0)
        try await cache.store.engine?.compact()
        try await cache.store.close()
        let name = try #require(try rig.files.list(CacheRig.path).filter { $0.hasSuffix(".sst") }.max())
        let table = CacheRig.path + "/" + name
        try rig.files.corrupt(table, at: 8000)
        cache = try await open()
        var damage: VarveError?
        var round = 0
        while damage == nil {
            round += 1
            try await fill(cache, round)
            if case .hindered(let error) = cache.health.state { damage = error }
            #expect(!cache.isDegraded)
        }
        #expect(damage?.path == table && damage?.offset != nil)
        #expect(cache.health.description.contains(table) && !cache.health.isHealthy)
        try await fill(cache, 1_000_000)
        try await rig.evictAll(cache)
        for number in 0..<100 {
            #expect(try await cache.value(for: "key \(number)") == value(number, 1_000_000))
        }
        #expect(!cache.isDegraded && cache.statistics.degradation?.episodes ?? 0 == 0)
        try await cache.store.close()
    }

    @Test(
        "A store whose log or manifest is damaged or gone is not opened; the error, or in memory its health, names it",
        arguments: [Degradation.throwing, .memoryOnly], [".log", "MANIFEST", "gone"])
    func damagedStore(degradation: Degradation, kind: String) async throws {
        let cache = try await rig.cache()
        try await cache.set("kept", for: "a")
        try await cache.store.close()
        let part = kind == "gone" ? "MANIFEST" : kind
        let paths = try rig.files.list(CacheRig.path).filter { $0.contains(part) }.map { CacheRig.path + "/" + $0 }
        for path in paths {
            if kind == "gone" { try rig.files.remove(path) } else { try rig.files.corrupt(path, at: 20) }
        }
        var error: VarveError?
        do {
            let store = try await rig.store(degradation)
            if case .degraded(let episode) = store.health.state { error = episode.cause }
            #expect(degradation == .memoryOnly && store.engine == nil)
            try await store.close()
        } catch let refusal as VarveError {
            #expect(degradation == .throwing)
            error = refusal
        }
        #expect(error.map { [.corruption, .missingFile].contains($0.code) } == true, "\(error.map { "\($0)" } ?? "")")
        #expect(paths.contains { error?.description.contains($0) == true }, "\(error.map { "\($0)" } ?? "")")
    }

    @Test("A cache whose drops of tags cannot be read is not opened, or cold, since it could serve what they removed")
    func damagedDrops() async throws {
        let cache = try await rig.cache()
        try await cache.set("kept", for: "a")
        let engine = try #require(cache.store.engine)
        try await engine.flush()
        let before = Set(try rig.files.list(CacheRig.path))
        try await cache.remove(taggedWith: "t")
        try await engine.flush()
        let tables = Set(try rig.files.list(CacheRig.path)).subtracting(before).filter { $0.hasSuffix(".sst") }
        let table = CacheRig.path + "/" + (try #require(tables.first))
        // The record of its floors is damaged as well, which is told for itself, and mended.
        let disk = try #require(cache.disk)
        _ = try await engine.put(disk.floorsKey, [1, 2, 3], in: .sourceFloors, durability: .synced)
        try await cache.store.close()
        try rig.files.corrupt(table, at: 10)
        let store = try await rig.store(.throwing)
        let error = await #expect(throws: VarveError.self) {
            let _: Cache<String, String> = try await store.cache(named: "c", rig.options)
        }
        #expect(error?.code == .corruption && error?.path == table)
        try await store.close()
        for life in 0..<2 {
            let cold = try await rig.cache()
            #expect(cold.health.lastDamage?.path == table && !cold.health.isHealthy)
            #expect(cold.health.damagedReads == (life == 0 ? 2 : 1))
            #expect(try await cold.value(for: "a") == nil)
            #expect(try await cold.value(for: "b") == nil)
            try await cold.set("\(life)", for: "b", EntryOptions(tags: ["t"]))
            #expect(try await cold.value(for: "b") == "\(life)")
            #expect(!cold.isDegraded)
            try await cold.store.close()
        }
    }

    @Test("A cache whose floors of prefixes cannot be read is not opened, or cold, and knows floors again from then on")
    func damagedFloors() async throws {
        let cache = try await rig.cache()
        try await cache.set("kept", for: "a", EntryOptions(sourceVersion: 9))
        try await cache.set("unversioned", for: "b")
        try await cache.removeAll(withPrefix: "p/", olderThan: 5)
        let disk = try #require(cache.disk)
        _ = try await disk.engine.put(disk.floorsKey, [1, 2, 3], in: .sourceFloors, durability: .synced)
        try await cache.store.close()
        let store = try await rig.store(.throwing)
        let refusal = await code { let _: Cache<String, String> = try await store.cache(named: "c", rig.options) }
        #expect(refusal == .corruption)
        try await store.close()
        let cold = try await rig.cache()
        #expect(cold.health.lastDamage?.code == .corruption && !cold.health.isHealthy)
        for key in ["a", "b"] { #expect(try await cold.value(for: key) == nil) }
        try await cold.set("new", for: "b")
        // What was refused is forgotten with the record.
        try await cold.set("late", for: "p/late", EntryOptions(sourceVersion: 4))
        #expect(!cold.isDegraded)
        try await cold.store.close()
        let warm = try await rig.cache(.throwing)
        #expect(try await warm.value(for: "b") == "new")
        try await warm.removeAll(withPrefix: "p/", olderThan: 5)
        #expect(try await warm.value(for: "p/late") == nil)
        #expect(
            await code { try await warm.set("late", for: "p/x", EntryOptions(sourceVersion: 4)) } == .conditionFailed)
        try await warm.store.close()
    }

    @Test("An option out of its range is refused")
    func options() async throws {
        var options = CacheOptions()
        options.maximumStall = .milliseconds(9)
        #expect(throws: VarveError.self) { try options.validate() }
        #expect(
            await code { _ = try await CacheStore.open(at: "/none", maximumStall: .seconds(3601)) } == .invalidArgument)
    }
}
