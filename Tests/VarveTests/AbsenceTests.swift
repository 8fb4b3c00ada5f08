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

    /// Whether the source is asked, which has none and says this of it.
    private func isAsked(_ cache: Cache<String, Int>, _ expiry: Expiry?, _ key: String = "a") async throws -> Bool {
        let before = cache.statistics.loads
        let none = Loaded<Int>(nil, EntryOptions(expiry: expiry))
        #expect(try await cache.value(for: key, loading: { _ in none }) == nil)
        return cache.statistics.loads > before
    }

    @Test(
        "How long it is remembered the loader says, whatever the cache's options do: for ever, or as long as it is read",
        arguments: CacheRig.Home.allCases, [nil, Duration.seconds(5)])
    func expiry(_ home: CacheRig.Home, _ absence: Duration?) async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: .seconds(7))
        options.loading.absence = absence
        let cache = try await rig.cache(home, Int.self, options)
        #expect(try await isAsked(cache, .never))
        rig.clock.advance(by: .seconds(1_000_000))
        #expect(try await !isAsked(cache, .never))
        #expect(try await isAsked(cache, Expiry(idle: .seconds(10)), "idle"))
        for _ in 0..<4 {
            rig.clock.advance(by: .seconds(6))
            #expect(try await !isAsked(cache, nil, "idle"))
        }
        rig.clock.advance(by: .seconds(10))
        #expect(try await isAsked(cache, nil, "idle"))
        try await cache.close()
    }

    @Test("It is never served stale: past its fresh deadline the source is asked", arguments: CacheRig.Home.allCases)
    func fresh(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self)
        let expiry = Expiry(usable: .seconds(100), fresh: .seconds(10))
        #expect(try await isAsked(cache, expiry))
        rig.clock.advance(by: .seconds(10) - .nanoseconds(1))
        #expect(try await !isAsked(cache, expiry))
        rig.clock.advance(by: .nanoseconds(1))
        #expect(try await isAsked(cache, expiry))
        // One that is over at once is not remembered.
        rig.clock.advance(by: .seconds(100))
        for _ in 0..<2 { #expect(try await isAsked(cache, .seconds(0))) }
        try await cache.close()
    }

    @Test("Jitter parts those that were found together, the loader's and the cache's", arguments: [true, false])
    func jitter(isLoaders: Bool) async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.expiry.jitter = isLoaders ? 0 : 0.5
        options.loading.absence = .seconds(10)
        let cache = try await rig.cache(.memory, Int.self, options)
        let expiry = isLoaders ? Expiry(usable: .seconds(10), jitter: 0.5) : nil
        for number in 0..<100 { #expect(try await isAsked(cache, expiry, "\(number)")) }
        rig.clock.advance(by: .seconds(5) - .nanoseconds(1))
        for number in 0..<100 { #expect(try await !isAsked(cache, expiry, "\(number)")) }
        rig.clock.advance(by: .seconds(2.5))
        var asked = 0
        for number in 0..<100 where try await isAsked(cache, expiry, "\(number)") { asked += 1 }
        #expect((1...99).contains(asked))
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
