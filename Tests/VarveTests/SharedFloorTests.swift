import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What floors that keys share cost: never more than a miss. A key that has nothing newer of its own is removed by whoever
/// says that it is outdated, and what is refused for another key's sake leaves nothing older to be served.
struct SharedFloorTests {
    private let rig = CacheRig()
    private let options = CacheOptions(memory: .entries(100), policy: .lru)

    private func open(
        _ home: CacheRig.Home, _ loading: LoadOptions = LoadOptions()
    ) async throws -> Cache<String, Int> {
        var options = options
        options.loading = loading
        options.warmRestart = nil
        let cache = try await rig.cache(home, Int.self, options)
        #expect(cache.memory.shardCount == 1)
        return cache
    }

    /// Another key has left a floor of 100 at the key's place.
    private func raiseFloor(_ cache: Cache<String, Int>, of key: String = "a") async throws {
        let other = try #require(key.sharingFloor(in: cache))
        try await cache.set(0, for: other, EntryOptions(sourceVersion: 100))
        try await cache.remove(other)
        try await cache.settleFloors()
    }

    private func refusal(_ body: () async throws -> Void) async -> ConditionFailure.Reason? {
        do { try await body() } catch { return (error as? VarveError)?.failedCondition?.reason }
        return nil
    }

    private let shared = ConditionFailure.Reason.olderSourceVersion(given: 4, standing: 100, isShared: true)

    @Test(
        "A removal with a source version removes what is there, whatever another key has left",
        arguments: CacheRig.Home.allCases, [UInt64(3), nil])
    func removal(_ home: CacheRig.Home, _ standing: UInt64?) async throws {
        let cache = try await open(home)
        try await cache.set(3, for: "a", EntryOptions(sourceVersion: standing))
        try await raiseFloor(cache)
        #expect(try await cache.value(for: "a") == 3)
        #expect(try await cache.remove("a", olderThan: 4))
        #expect(try await cache.value(for: "a") == nil)
        // Of what is gone memory alone remembers no version.
        #expect(try await cache.remove("a", olderThan: 4) == (home == .memory))
        try await cache.set(200, for: "a", EntryOptions(sourceVersion: 200))
        #expect(try await !cache.remove("a", olderThan: 199))
        #expect(try await cache.value(for: "a") == 200)
        try await cache.close()
    }

    @Test(
        "A value that is refused for another key's sake leaves nothing older to be served",
        arguments: CacheRig.Home.allCases, [UInt64(3), nil])
    func value(_ home: CacheRig.Home, _ standing: UInt64?) async throws {
        let cache = try await open(home)
        try await cache.set(3, for: "a", EntryOptions(sourceVersion: standing))
        try await raiseFloor(cache)
        let newer = EntryOptions(sourceVersion: 4)
        #expect(await refusal { try await cache.set(4, for: "a", newer) } == shared)
        #expect(cache.valueInMemory(for: "a") == nil)
        #expect(try await cache.value(for: "a") == nil)
        // Where nothing is there it is refused as well.
        #expect(await refusal { try await cache.set(4, for: "a", newer) } == shared)
        // A load's value that cannot be kept for that is counted with those that were set.
        #expect(try await cache.value(for: "a", loading: { _ in Loaded(4, newer) }) == 4)
        #expect(cache.statistics.refusedByFloor == 3 && cache.statistics.loadsOutdated == 0)
        try await cache.set(100, for: "a", EntryOptions(sourceVersion: 100))
        // What the key itself has had stays.
        guard case .olderSourceVersion(4, 100, false)? = await refusal({ try await cache.set(4, for: "a", newer) })
        else { throw ValueAbsent() }
        #expect(try await cache.value(for: "a") == 100)
        #expect(cache.statistics.refusedByFloor == 3)
        try await cache.close()
    }

    @Test(
        "A load that began before a value which is refused so is for nobody who comes later, and is not kept",
        arguments: CacheRig.Home.allCases)
    func joinable(_ home: CacheRig.Home) async throws {
        let cache = try await open(home)
        try await raiseFloor(cache)
        let door = Door()
        let load = await cache.hangingLoad("a", of: 3, behind: door)
        #expect(await refusal { try await cache.set(4, for: "a", EntryOptions(sourceVersion: 4)) } == shared)
        let later = await cache.lateLoad("a", of: 4)
        await door.open()
        #expect(try await later.value == 4)
        #expect(try await load.value == 3)
        #expect(try await cache.value(for: "a") == 4)
        try await cache.close()
    }

    @Test(
        "Written through, it is removed once: nobody else's change is seen in that",
        arguments: CacheRig.Home.allCases)
    func writtenThrough(_ home: CacheRig.Home) async throws {
        let cache = try await open(home)
        try await cache.set(3, for: "a")
        try await raiseFloor(cache)
        func changes() -> UInt64 { cache.disk?.visible.rawValue ?? cache.store.presentVersion }
        let before = changes()
        let written = try await cache.set(4, for: "a", EntryOptions(sourceVersion: 4)) { _, _ in }
        #expect(written == nil)
        #expect(try await cache.value(for: "a") == nil)
        // The removal before the origin is asked, and the one in the value's place.
        #expect(changes() == before + 2)
        try await cache.close()
    }

    @Test("So it is with conditional writes, whose condition holds", arguments: CacheRig.Home.allCases)
    func conditional(_ home: CacheRig.Home) async throws {
        let cache = try await open(home)
        let newer = EntryOptions(sourceVersion: 4)
        let old = EntryOptions(sourceVersion: 3)
        var versions: [String: EntryVersion] = [:]
        for key in ["a", "b", "c"] { versions[key] = try await cache.set(3, for: key, old) }
        for key in ["a", "b", "c"] { try await raiseFloor(cache, of: key) }
        #expect(await refusal { _ = try await cache.set(4, for: "a", ifVersion: versions["a"], newer) } == shared)
        #expect(await refusal { _ = try await cache.replace(4, for: "b", newer) } == shared)
        // One whose condition does not hold changes nothing.
        #expect(try await cache.set(4, for: "c", ifVersion: versions["b"], newer) == nil)
        #expect(try await cache.add(4, for: "c", newer) == nil)
        #expect(try await cache.value(for: "c") == 3)
        #expect(await refusal { _ = try await cache.update("c", newer) { $0 = 4 } } == shared)
        for key in ["a", "b", "c"] { #expect(try await cache.value(for: key) == nil) }
        try await cache.close()
    }

    @Test("So it is with what loads bring, and where they find none", arguments: CacheRig.Home.allCases)
    func loads(_ home: CacheRig.Home) async throws {
        var loading = LoadOptions()
        loading.softTimeout = nil
        let cache = try await open(home, loading)
        let old = EntryOptions(expiry: Expiry(fresh: .seconds(1)), sourceVersion: 3)
        let keys = ["refreshed", "stale", "gone"]
        for key in keys { try await cache.set(3, for: key, old) }
        for key in keys { try await raiseFloor(cache, of: key) }
        rig.clock.advance(by: .seconds(2))
        let loader: Cache<String, Int>.Loader = { _ in Loaded(4, EntryOptions(sourceVersion: 4)) }
        #expect(try await cache.refresh("refreshed", loading: loader) == 4)
        #expect(try await cache.value(for: "stale", loading: loader) == 4)
        #expect(try await cache.refresh("gone", loading: { _ in Loaded(nil, EntryOptions(sourceVersion: 4)) }) == nil)
        for key in keys { #expect(try await cache.value(for: key) == nil, "\(key)") }
        // And again: a row below the floor is loaded each time, and nothing stands in for it.
        #expect(try await cache.value(for: "stale", loading: loader) == 4)
        #expect(try await cache.value(for: "stale") == nil)
        try await cache.close()
    }

    @Test("What came in between is not removed by a refusal")
    func between() async throws {
        let cache = try await open(.disk)
        let disk = try #require(cache.disk)
        try await raiseFloor(cache)
        let looked = disk.visible.rawValue
        // Past this cache's memory, as a write that has not come back yet.
        try await disk.engine.put(cache.keyBytes("a"), 2.cacheBytes(), in: disk.namespace)
        let change = try cache.change(4, EntryOptions(sourceVersion: 4), .loaded)
        let demand = Cache<String, Int>.Demand.unchanged(since: looked, notOlder: 4)
        #expect(await refusal { _ = try await cache.commit("a", change, demand, nil) } == .changed(since: LSN(looked)))
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("What a refusal removed stays away after a crash that its durability covers")
    func crash() async throws {
        let cache = try await open(.disk)
        try await cache.set(3, for: "a", EntryOptions(sourceVersion: 3, durability: .synced))
        try await raiseFloor(cache)
        let newer = EntryOptions(sourceVersion: 4, durability: .synced)
        #expect(await refusal { try await cache.set(4, for: "a", newer) } == shared)
        var next = rig
        next.files = rig.files.crash(seed: 1)
        let again = try await next.cache(.disk, Int.self, options)
        #expect(try await again.value(for: "a") == nil)
        try await again.close()
        try await cache.close()
    }
}

/// The same while a store goes on in memory.
struct DegradedFloorTests {
    private let rig = DegradedRig()

    enum Standing: CaseIterable, Sendable {
        /// The other key's version was dropped on disk before.
        case belowTheDisksFloor
        /// It was dropped in memory meanwhile, so that the mark holds it; the disk has the key itself, or memory.
        case onDisk, inMemory
    }

    @Test("While a store goes on in memory floors of other keys cost misses, no more", arguments: Standing.allCases)
    func degraded(_ standing: Standing) async throws {
        let cache = try await rig.cache()
        let old = EntryOptions(sourceVersion: 3)
        for key in ["a", "b", "c"] { try await cache.set("old", for: key, old) }
        let others = ["a", "b", "c"].compactMap { $0.sharingFloor(in: cache) }
        #expect(others.count == 3)
        func raise() async throws {
            for other in others {
                try await cache.set("other", for: other, EntryOptions(sourceVersion: 100))
                try await cache.remove(other)
            }
        }
        if standing == .belowTheDisksFloor {
            try await raise()
            try await cache.settleFloors()
        }
        try await rig.fillDisk(cache)
        if standing == .inMemory { for key in ["a", "b", "c"] { try await cache.set("old", for: key, old) } }
        if standing != .belowTheDisksFloor { try await raise() }
        for key in ["a", "b", "c"] { #expect(try await cache.value(for: key) == "old") }
        #expect(try await cache.remove("a", olderThan: 4))
        #expect(await code { try await cache.set("new", for: "b", EntryOptions(sourceVersion: 4)) } == .conditionFailed)
        let loaded = try await cache.refresh("c", loading: { _ in Loaded("new", EntryOptions(sourceVersion: 4)) })
        #expect(loaded == "new")
        for key in ["a", "b", "c"] { #expect(try await cache.value(for: key) == nil, "\(key)") }
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        for key in ["a", "b", "c"] { #expect(try await cache.value(for: key) == nil, "\(key)") }
        try await cache.store.close()
    }
}

extension String {
    /// Another key whose floor is this one's, where the cache's truth lives. Nil: there is none near.
    func sharingFloor<Value>(in cache: Cache<String, Value>) -> String? {
        func place(_ key: String) -> UInt64 {
            cache.disk.map { $0.keyHash(Array(key.utf8)) >> 52 } ?? cache.memory.hash(key) & 1023
        }
        return (0..<200_000).lazy.map { "\(self)/other \($0)" }.first { place($0) == place(self) }
    }
}

extension Cache {
    /// Has the disk forget what was dropped, so that only floors tell of it.
    func settleFloors() async throws {
        guard let disk else { return }
        try await disk.engine.flush()
        try await disk.engine.compact()
    }
}
