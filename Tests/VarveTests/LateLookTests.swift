import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What happens between a caller's look and what it does next.
struct LateLookTests {
    @Test("A load that begins after another has ended asks nobody", arguments: CacheRig.Home.allCases)
    func lateLoad(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let asked = Tally()
        // As a caller finds it that missed in memory just before somebody else's load was kept.
        try await cache.set(1, for: "a")
        let seat = try cache.place("a", cache.memory.hash("a"), skipsDisk: false) { _ in
            await asked.add()
            return Loaded(2)
        }
        #expect(seat.isNew)
        let found = try await seat.load.wait()
        seat.load.leave()
        #expect(found.value == 1)
        #expect(await asked.count == 0)
        try await cache.close()
    }

    @Test("Batches know what the source is known not to have", arguments: CacheRig.Home.allCases)
    func absentInBatches(_ home: CacheRig.Home) async throws {
        var options = CacheOptions()
        options.loading.absence = .seconds(60)
        let cache = try await CacheRig().cache(home, Int.self, options)
        #expect(try await cache.value(for: "none", loading: { _ in Loaded(nil) }) == nil)
        let found = try await cache.values(for: ["none", "some"]) { keys in
            #expect(keys == ["some"])
            return ["some": 1]
        }
        #expect(found == ["some": 1])
        try await cache.close()
    }

    @Test("Two who close at once both return when it is done")
    func closers() async throws {
        let store = try await CacheRig().store()
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        try await cache.set(1, for: "a")
        async let first: Void = store.close()
        async let second: Void = store.close()
        try await first
        try await second
        await #expect(throws: VarveError.self) { try await cache.set(2, for: "a") }
    }
}
