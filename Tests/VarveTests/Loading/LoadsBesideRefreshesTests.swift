import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Refreshes that are under way while memory has forgotten the entry: they do not ask the disk, and what lies there is for
/// who comes meanwhile, though it takes a wait to read it.
struct LoadsBesideRefreshesTests {
    private func misses(_ cache: Cache<String, Int>) -> UInt64 { cache.statistics.misses.values.reduce(0, +) }

    @Test(
        "A stale value on disk is served at once, whatever its refresh brings",
        arguments: RefreshRig.Asking.allCases, [2, nil])
    func stale(_ asking: RefreshRig.Asking, _ brings: Int?) async throws {
        let rig = try await RefreshRig()
        let cache = rig.cache
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        let source = RefreshRig.Source(brings: brings)
        #expect(try await rig.ask(asking, source) == 1)
        await source.door.arrived(1)
        try await rig.forgetAll()
        let before = cache.statistics
        let late = await rig.begin(asking, source)
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
        let rig = try await RefreshRig(softTimeout: nil)
        let cache = rig.cache
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        let source = RefreshRig.Source(brings: brings)
        let first = Task { try await rig.ask(.value, source) }
        await source.door.arrived(1)
        try await rig.forgetAll()
        let late = await rig.begin(.value, source)
        #expect(cache.statistics.loadsShared == 1)
        await source.door.open()
        #expect(try await first.value == brings ?? 1)
        #expect(try await late.value == brings ?? 1)
        #expect(cache.statistics.staleServed == (brings == nil ? 2 : 0))
        #expect(cache.statistics.diskHits == 1 && cache.statistics.loadsShared == 1)
        #expect(await source.calls.count == 1)
        try await cache.close()
    }

    @Test("A fresh value on disk is served while another has the source asked", arguments: RefreshRig.Asking.allCases)
    func fresh(_ asking: RefreshRig.Asking) async throws {
        let rig = try await RefreshRig()
        let cache = rig.cache
        try await cache.set(1, for: "a")
        let source = RefreshRig.Source(brings: 2)
        let refresh = Task { try await cache.refresh("a") { _ in Loaded(try await source.answer()) } }
        await source.door.arrived(1)
        try await rig.forgetAll()
        let late = await rig.begin(asking, source)
        #expect(cache.statistics.loadsShared == 0 && cache.statistics.diskHits == 1)
        await source.door.open()
        #expect(try await late.value == 1)
        #expect(try await refresh.value == 2)
        #expect(cache.statistics.staleServed == 0 && misses(cache) == 0)
        #expect(await source.calls.count == 1)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test(
        "Where the disk has nothing the refresh is shared, as counted",
        arguments: RefreshRig.Asking.allCases, [2, nil])
    func nothing(_ asking: RefreshRig.Asking, _ brings: Int?) async throws {
        let rig = try await RefreshRig()
        let cache = rig.cache
        try await cache.set(1, for: "a", EntryOptions(expiry: .after(.seconds(10))))
        let source = RefreshRig.Source(brings: brings)
        let refresh = Task { try await cache.refresh("a") { _ in Loaded(try await source.answer()) } }
        await source.door.arrived(1)
        try await rig.forgetAll()
        // It lies there, and may not be served.
        rig.clock.advance(by: .seconds(10))
        let callers = [await rig.begin(asking, source), await rig.begin(asking, source)]
        #expect(cache.statistics.loadsShared == 2)
        await source.door.open()
        for caller in callers + [refresh] {
            if let brings {
                #expect(try await caller.value == brings)
            } else {
                await #expect(throws: RefreshRig.SourceDown.self) { try await caller.value }
            }
        }
        #expect(cache.statistics.diskHits == 0 && cache.statistics.staleServed == 0 && misses(cache) == 0)
        #expect(cache.statistics.loadsShared == 2)
        #expect(await source.calls.count == 1)
        try await cache.close()
    }

    @Test("A stale value among many keys counts as served, though another has refreshed it meanwhile")
    func refreshedMeanwhile() async throws {
        let rig = try await RefreshRig()
        let cache = rig.cache
        try await cache.set(1, for: "a")
        try await rig.forgetAll()
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
