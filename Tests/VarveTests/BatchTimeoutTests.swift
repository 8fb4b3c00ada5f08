import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Stale values in a call for many keys: served after the soft timeout, and when the source fails, as for one key.
struct BatchTimeoutTests {
    struct SourceDown: Error {}

    /// A cache with stale entries 1 under "a" and "b", fresh for 10 seconds and usable for 100, written 20 seconds ago.
    private func stale(
        _ rig: CacheRig, _ place: TimeoutTests.Place, softTimeout: Duration?
    ) async throws -> Cache<String, Int> {
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.warmRestart = nil
        options.loading.softTimeout = softTimeout
        func open() async throws -> Cache<String, Int> {
            try await rig.store { $0.blockCacheBytes = 0 }
                .cache(named: "test", coding: .own, options, ownsStore: true)
        }
        var cache = try await open()
        for key in ["a", "b"] { try await cache.set(1, for: key) }
        if place == .disk {
            // Into a table whose blocks cannot be read without a wait: they are found stale by loads.
            try await cache.disk?.engine.flush()
            try await cache.close()
            cache = try await open()
            rig.files.dropCaches()
        }
        rig.clock.advance(by: .seconds(20))
        return cache
    }

    private static func answer(_ keys: [String], _ value: Int) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: keys.map { ($0, value) })
    }

    @Test(
        "A caller waits for fresh values no longer than the soft timeout, and the call goes on",
        arguments: TimeoutTests.Place.allCases)
    func softTimeout(_ place: TimeoutTests.Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place, softTimeout: .milliseconds(10))
        let door = Door()
        let found = try await cache.values(for: ["a", "b"]) { keys in
            await door.pass()
            try Task.checkCancellation()
            return Self.answer(keys, 2)
        }
        #expect(found == ["a": 1, "b": 1])
        #expect(cache.statistics.staleServed == 2)
        await door.open()
        for key in ["a", "b"] { while cache.valueInMemory(for: key) != 2 { await Task.yield() } }
        #expect(cache.statistics.loads == 1)
        try await cache.close()
    }

    @Test(
        "Without a soft timeout a caller waits until the call has ended", arguments: TimeoutTests.Place.allCases,
        [nil, Duration.seconds(1000)])
    func waits(_ place: TimeoutTests.Place, _ softTimeout: Duration?) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place, softTimeout: softTimeout)
        let found = try await cache.values(for: ["a", "b", "c"]) { Self.answer($0, 2) }
        #expect(found == ["a": 2, "b": 2, "c": 2])
        // What is found stale in the end is asked for after what was missing.
        #expect(cache.statistics.loads == (place == .memory ? 1 : 2))
        #expect(cache.statistics.staleServed == 0)
        try await cache.close()
    }

    @Test(
        "When the source fails stale values are served, and only while they are usable",
        arguments: TimeoutTests.Place.allCases)
    func fails(_ place: TimeoutTests.Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place, softTimeout: nil)
        let found = try await cache.values(for: ["a", "b"], load: { _ in throw SourceDown() })
        #expect(found == ["a": 1, "b": 1])
        #expect(cache.statistics.staleServed == 2)
        // The deadline passes while the source is asked.
        await #expect(throws: SourceDown.self) {
            try await cache.values(
                for: ["a", "b"],
                load: { _ in
                    rig.clock.advance(by: .seconds(80))
                    throw SourceDown()
                })
        }
        try await cache.close()
    }

    @Test("What is missing is waited for, and a failure of that is thrown, whatever is stale")
    func missing() async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, .memory, softTimeout: .milliseconds(10))
        await #expect(throws: SourceDown.self) {
            try await cache.values(for: ["a", "c"], load: { _ in throw SourceDown() })
        }
        let found = try await cache.values(for: ["a", "c"]) { keys in
            try await Task.sleep(for: .milliseconds(50))
            return Self.answer(keys, 2)
        }
        #expect(found["c"] == 2 && found.count == 2)
        try await cache.close()
    }

    @Test("A caller waits once for the fresh value, though the load that he came to brings what is outdated for him")
    func waitsOnce() async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, .memory, softTimeout: .seconds(1))
        let door = Door()
        let first = Task {
            try await cache.refresh("a") { _ in
                await door.pass()
                return Loaded(5, EntryOptions(tags: ["t"]))
            }
        }
        await door.arrived(1)
        try await cache.remove(taggedWith: "t")
        let served = Tally()
        let found = try await cache.values(for: ["a", "c"]) { keys in
            if keys == ["c"] {
                // The soft timeout has passed when the outdated value comes.
                try await Task.sleep(for: .seconds(1))
                await door.open()
                _ = try await first.value
                return ["c": 3]
            }
            // The fresh one is there before a second timeout would have passed.
            for _ in 0..<80 where await served.count == 0 { try await Task.sleep(for: .milliseconds(10)) }
            return Self.answer(keys, 2)
        }
        await served.add()
        #expect(found == ["a": 1, "c": 3])
        while cache.valueInMemory(for: "a") != 2 { await Task.yield() }
        try await cache.close()
    }

    @Test("A caller waits once for the fresh value, though the load that he came to finds what is stale on disk")
    func waitsOnceForStale() async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, .memory, softTimeout: .seconds(1))
        let (hash, load) = (cache.memory.hash("a"), Load<Int>(goesOn: true))
        cache.memory.withShard(hash) { $0.loads["a"] = load }
        let served = Tally()
        let found = try await cache.values(for: ["a", "c"]) { keys in
            if keys == ["c"] {
                // The soft timeout has passed when the stale value comes.
                try await Task.sleep(for: .seconds(1))
                cache.memory.withShard(hash) { $0.loads["a"] = nil }
                load.finish(.success(Load<Int>.Found(value: 1, isFromDisk: true, isStale: true)))
                return ["c": 3]
            }
            // The fresh one is there before a second timeout would have passed.
            for _ in 0..<80 where await served.count == 0 { try await Task.sleep(for: .milliseconds(10)) }
            return Self.answer(keys, 2)
        }
        await served.add()
        #expect(found == ["a": 1, "c": 3])
        while cache.valueInMemory(for: "a") != 2 { await Task.yield() }
        try await cache.close()
    }

    @Test(
        "What expires while others are loaded is waited for like what is missing, and goes with its only caller",
        // The order in which keys are looked at depends on what they are.
        arguments: (0..<8).map { "other \($0)" })
    func expiresMeanwhile(_ missing: String) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, .disk, softTimeout: .zero)
        let door = Door()
        let (ended, cancelled) = (Tally(), Tally())
        let alone = Task {
            try await cache.values(for: ["a", missing]) { keys in
                if keys == [missing] {
                    for _ in 0..<1000 { await Task.yield() }
                    rig.clock.advance(by: .seconds(80))
                } else {
                    await door.pass()
                    if Task.isCancelled { await cancelled.add() }
                    await ended.add()
                }
                return Self.answer(keys, 2)
            }
        }
        await door.arrived(1)
        #expect(cache.statistics.loadsShared == 0)
        alone.cancel()
        await #expect(throws: CancellationError.self) { try await alone.value }
        await door.open()
        while await ended.count == 0 { await Task.yield() }
        #expect(await cancelled.count == 1)
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(cache.valueInMemory(for: "a") == nil)
        try await cache.close()
    }
}
