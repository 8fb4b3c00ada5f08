import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// That the source has none is an entry like others.
struct AbsenceTests {
    private func cache(_ home: CacheRig.Home) async throws -> Cache<String, Int> {
        var options = CacheOptions()
        options.loading.absence = .seconds(1000)
        return try await CacheRig().cache(home, Int.self, options)
    }

    private func loads(_ cache: Cache<String, Int>, _ entry: EntryOptions) async throws -> Bool {
        let before = cache.statistics.loads
        #expect(try await cache.value(for: "a", loading: { _ in Loaded(nil, entry) }) == nil)
        return cache.statistics.loads > before
    }

    @Test("It goes with its tag, its key, its prefix", arguments: CacheRig.Home.allCases)
    func removal(_ home: CacheRig.Home) async throws {
        let cache = try await cache(home)
        let entry = EntryOptions(tags: ["t"])
        #expect(try await loads(cache, entry))
        #expect(try await !loads(cache, entry))
        try await cache.remove(taggedWith: "t")
        #expect(try await loads(cache, entry))
        #expect(try await !loads(cache, entry))
        try await cache.remove("a")
        #expect(try await loads(cache, entry))
        try await cache.removeAll(withPrefix: "a")
        #expect(try await loads(cache, entry))
        try await cache.close()
    }

    @Test("It is not stored over a newer source version, and refuses older ones", arguments: CacheRig.Home.allCases)
    func sourceVersion(_ home: CacheRig.Home) async throws {
        let cache = try await cache(home)
        #expect(try await loads(cache, EntryOptions(sourceVersion: 5)))
        await #expect(throws: VarveError.self) { try await cache.set(1, for: "a", EntryOptions(sourceVersion: 4)) }
        try await cache.set(6, for: "a", EntryOptions(sourceVersion: 6))
        #expect(try await cache.refresh("a", loading: { _ in Loaded(nil, EntryOptions(sourceVersion: 5)) }) == nil)
        #expect(try await cache.value(for: "a") == 6)
        #expect(cache.statistics.loadsOutdated == 1)
        try await cache.close()
    }

    @Test("A load that a full disk is spared is not kept in memory past a newer source version")
    func sparedDisk() async throws {
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        try await cache.remove("a", olderThan: 7)
        eviction.noteOccupancy(1)
        #expect(try await cache.value(for: "a", loading: { _ in Loaded(1, EntryOptions(sourceVersion: 6)) }) == 1)
        #expect(try await cache.value(for: "a") == nil)
        try await store.close()
    }
}
