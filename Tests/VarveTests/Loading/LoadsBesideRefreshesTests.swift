import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Refreshes that are under way while memory has forgotten the entry: they do not ask the disk, and what lies there is for
/// who comes meanwhile, though it takes a wait to read it.
struct LoadsBesideRefreshesTests {
    private struct SourceDown: Error {}

    enum Asking: CaseIterable, Sendable {
        case value, values
    }

    /// A source that answers once its door is open.
    private struct Source: Sendable {
        let calls = Tally()
        let door = Door()
        /// Nil: it fails.
        var brings: Int?

        func answer() async throws -> Int {
            await calls.add()
            await door.pass()
            guard let brings else { throw SourceDown() }
            return brings
        }
    }

    private func cache(_ rig: CacheRig, softTimeout: Duration? = .zero) async throws -> Cache<String, Int> {
        let expiry = Expiry(usable: .seconds(100), fresh: .seconds(10))
        var options = CacheOptions(memory: .entries(3), expiry: expiry, policy: .lru)
        options.warmRestart = nil
        options.loading.softTimeout = softTimeout
        options.loading.earlyRefresh = 0
        return try await rig.store { $0.blockCacheBytes = 0 }
            .cache(named: "test", coding: .own, options, ownsStore: true)
    }

    /// Memory has no key of before any more, and no block can be read without a wait.
    private func forgetAll(_ cache: Cache<String, Int>, _ rig: CacheRig) async throws {
        for number in 0..<8 { try await cache.set(number, for: "other \(number)") }
        try await cache.disk?.engine.flush()
        rig.files.dropCaches()
        #expect(cache.memory.withShard(cache.memory.hash("a")) { $0.peek("a", cache.memory.hash("a")) } == nil)
    }

    private func ask(_ cache: Cache<String, Int>, _ asking: Asking, _ source: Source) async throws -> Int? {
        switch asking {
        case .value: try await cache.value(for: "a") { _ in try await source.answer() }
        case .values: try await cache.values(for: ["a"], load: { _ in ["a": try await source.answer()] })["a"]
        }
    }

    /// Somebody more who asks. When this returns, that one waits for a load of another, or has an answer.
    private func begin(
        _ cache: Cache<String, Int>, _ asking: Asking, _ source: Source
    ) async -> Task<Int?, any Error> {
        let shared = cache.statistics.loadsShared
        let hasAnswer = Watched(false)
        let task = Task {
            defer { hasAnswer.update { $0 = true } }
            return try await ask(cache, asking, source)
        }
        while cache.statistics.loadsShared == shared, !hasAnswer.current { await Task.yield() }
        return task
    }

    private func misses(_ cache: Cache<String, Int>) -> UInt64 { cache.statistics.misses.values.reduce(0, +) }

    @Test("A stale value on disk is served at once, whatever its refresh brings", arguments: Asking.allCases, [2, nil])
    func stale(_ asking: Asking, _ brings: Int?) async throws {
        let rig = CacheRig()
        let cache = try await cache(rig)
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        let source = Source(brings: brings)
        #expect(try await ask(cache, asking, source) == 1)
        await source.door.arrived(1)
        try await forgetAll(cache, rig)
        let before = cache.statistics
        let late = await begin(cache, asking, source)
        #expect(cache.statistics.loadsShared == before.loadsShared, "it waits for the source")
        await source.door.open()
        #expect(try await late.value == 1)
        #expect(cache.statistics.staleServed == before.staleServed + 1)
        #expect(cache.statistics.diskHits == before.diskHits + 1)
        #expect(misses(cache) == before.misses.values.reduce(0, +))
        // The refresh went on, alone.
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(await source.calls.count == 1)
        #expect(try await cache.value(for: "a") == brings ?? 1)
        try await cache.close()
    }

    @Test("Who would rather wait for the fresh value has the stale one where there is no other", arguments: [2, nil])
    func patient(_ brings: Int?) async throws {
        let rig = CacheRig()
        let cache = try await cache(rig, softTimeout: nil)
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        let source = Source(brings: brings)
        let first = Task { try await ask(cache, .value, source) }
        await source.door.arrived(1)
        try await forgetAll(cache, rig)
        let late = await begin(cache, .value, source)
        #expect(cache.statistics.loadsShared == 1)
        await source.door.open()
        #expect(try await first.value == brings ?? 1)
        #expect(try await late.value == brings ?? 1)
        #expect(cache.statistics.staleServed == (brings == nil ? 2 : 0))
        #expect(cache.statistics.diskHits == 1 && cache.statistics.loadsShared == 1)
        #expect(await source.calls.count == 1)
        try await cache.close()
    }

    @Test("A fresh value on disk is served while another has the source asked", arguments: Asking.allCases)
    func fresh(_ asking: Asking) async throws {
        let rig = CacheRig()
        let cache = try await cache(rig)
        try await cache.set(1, for: "a")
        let source = Source(brings: 2)
        let refresh = Task { try await cache.refresh("a") { _ in Loaded(try await source.answer()) } }
        await source.door.arrived(1)
        try await forgetAll(cache, rig)
        let late = await begin(cache, asking, source)
        #expect(cache.statistics.loadsShared == 0 && cache.statistics.diskHits == 1)
        await source.door.open()
        #expect(try await late.value == 1)
        #expect(try await refresh.value == 2)
        #expect(cache.statistics.staleServed == 0 && misses(cache) == 0)
        #expect(await source.calls.count == 1)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("Where the disk has nothing the refresh is shared, as counted", arguments: Asking.allCases, [2, nil])
    func nothing(_ asking: Asking, _ brings: Int?) async throws {
        let rig = CacheRig()
        let cache = try await cache(rig)
        try await cache.set(1, for: "a", EntryOptions(expiry: .after(.seconds(10))))
        let source = Source(brings: brings)
        let refresh = Task { try await cache.refresh("a") { _ in Loaded(try await source.answer()) } }
        await source.door.arrived(1)
        try await forgetAll(cache, rig)
        // It lies there, and may not be served.
        rig.clock.advance(by: .seconds(10))
        let callers = [await begin(cache, asking, source), await begin(cache, asking, source)]
        #expect(cache.statistics.loadsShared == 2)
        await source.door.open()
        for caller in callers + [refresh] {
            if let brings {
                #expect(try await caller.value == brings)
            } else {
                await #expect(throws: SourceDown.self) { try await caller.value }
            }
        }
        #expect(cache.statistics.diskHits == 0 && cache.statistics.staleServed == 0 && misses(cache) == 0)
        #expect(cache.statistics.loadsShared == 2)
        #expect(await source.calls.count == 1)
        try await cache.close()
    }

    @Test("A stale value among many keys counts as served, though another has refreshed it meanwhile")
    func refreshedMeanwhile() async throws {
        let rig = CacheRig()
        let cache = try await cache(rig)
        try await cache.set(1, for: "a")
        try await forgetAll(cache, rig)
        rig.clock.advance(by: .seconds(20))
        let door = Door()
        let many = Task {
            try await cache.values(for: ["a", "b"]) { keys in
                #expect(keys == ["b"])
                await door.pass()
                return ["b": 3]
            }
        }
        await door.arrived(1)
        while cache.loadsUnderWay.count > 1 { await Task.yield() }
        #expect(try await cache.refresh("a") { _ in Loaded(2) } == 2)
        await door.open()
        #expect(try await many.value == ["a": 1, "b": 3])
        #expect(cache.statistics.staleServed == 1)
        #expect(cache.statistics.loads == 2)
        try await cache.close()
    }
}
