import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What a load finds gone at the source is gone from the cache, whether or not that is remembered.
struct GoneAtSourceTests {
    private func none(_ options: EntryOptions = EntryOptions()) -> Cache<String, Int>.Loader {
        { _ in Loaded(nil, options) }
    }

    @Test(
        "A refresh that finds nothing takes what was there",
        arguments: CacheRig.Home.allCases, [EntryOptions(), EntryOptions(tags: ["t"]), EntryOptions(sourceVersion: 7)])
    func refresh(_ home: CacheRig.Home, _ entry: EntryOptions) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "a", entry)
        #expect(try await cache.refresh("a", loading: none(entry)) == nil)
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await cache.value(for: "a", loading: { _ in Loaded(2, entry) }) == 2)
        try await cache.close()
    }

    @Test("A stale value is served no longer than until its refresh found nothing", arguments: CacheRig.Home.allCases)
    func stale(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        for timeout in [Duration.zero, nil] {
            var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
            options.loading.softTimeout = timeout
            let cache = try await rig.cache(home, Int.self, options)
            try await cache.set(1, for: "a")
            rig.clock.advance(by: .seconds(20))
            let found = try await cache.value(for: "a", loading: none())
            #expect(found == (timeout == .zero ? 1 : nil))
            while cache.loadsUnderWay.count > 0 { await Task.yield() }
            #expect(try await cache.value(for: "a") == nil)
            try await cache.close()
        }
    }

    @Test("So it is after reopening")
    func survives() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c")
        try await cache.set(1, for: "a")
        #expect(try await cache.refresh("a", loading: none()) == nil)
        try await cache.store.close()
        let again: Cache<String, Int> = try await rig.store().cache(named: "c")
        #expect(try await again.value(for: "a") == nil)
        try await again.store.close()
    }

    @Test("Its source version counts, whether anything was there or not", arguments: CacheRig.Home.allCases)
    func sourceVersion(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(4, for: "held", EntryOptions(sourceVersion: 4))
        for key in ["held", "new"] {
            let answer = none(EntryOptions(sourceVersion: 5))
            #expect(try await cache.refresh(key, loading: answer) == nil)
            #expect(try await cache.value(for: key) == nil)
            await #expect(throws: VarveError.self) {
                try await cache.set(4, for: key, EntryOptions(sourceVersion: 4))
            }
            try await cache.set(6, for: key, EntryOptions(sourceVersion: 6))
            // It is too old by now.
            #expect(try await cache.refresh(key, loading: answer) == nil)
            #expect(try await cache.value(for: key) == 6)
        }
        #expect(cache.statistics.loadsOutdated == 2)
        // An origin that was written through says so in the same way.
        #expect(try await cache.write("through") { _ in Loaded(nil, EntryOptions(sourceVersion: 5)) } == nil)
        await #expect(throws: VarveError.self) {
            try await cache.set(4, for: "through", EntryOptions(sourceVersion: 4))
        }
        try await cache.close()
    }

    @Test("What was written since the source was asked stays", arguments: CacheRig.Home.allCases)
    func outdated(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "a")
        let door = Door()
        let refresh = Task {
            try await cache.refresh("a") { _ in
                await door.pass()
                return Loaded(nil)
            }
        }
        await door.arrived(1)
        try await cache.set(2, for: "a")
        await door.open()
        #expect(try await refresh.value == nil)
        #expect(try await cache.value(for: "a") == 2)
        #expect(cache.statistics.loadsOutdated == 1)
        try await cache.close()
    }

    @Test(
        "A load that began before another found nothing does not store what it brings",
        arguments: CacheRig.Home.allCases)
    func overtaken(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let door = Door()
        let first = await cache.hangingLoad("a", of: 1, behind: door)
        cache.partLoad("a")
        #expect(try await cache.value(for: "a", loading: none()) == nil)
        await door.open()
        #expect(try await first.value == 1)
        #expect(try await cache.value(for: "a") == nil)
        #expect(cache.statistics.loadsOutdated == 1)
        try await cache.close()
    }

    @Test(
        "Who asks after a removal does not get what a load brings that began before it, though another load found none",
        arguments: CacheRig.Home.allCases)
    func joinable(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let (oldest, old) = (Door(), Door())
        let first = await cache.hangingLoad("a", of: 1, behind: oldest)
        cache.partLoad("a")
        #expect(try await cache.value(for: "a", loading: none()) == nil)
        // It begins where the load that found none did, and the next write takes the number behind that.
        let second = await cache.hangingLoad("a", of: 2, behind: old)
        try await cache.remove("a")
        let third = await cache.lateLoad("a", of: 3)
        await old.open()
        #expect(try await third.value == 3)
        await oldest.open()
        #expect(try await first.value == 1)
        #expect(try await second.value == 2)
        #expect(try await cache.value(for: "a") == 3)
        try await cache.close()
    }

    @Test("Where there is nothing to take nothing is written, and the next miss is as cold as the first")
    func nothingThere() async throws {
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        func logged() -> UInt64? { cache.statistics.ownDisk?.entriesLogged }
        #expect(try await cache.value(for: "a", loading: none()) == nil)
        #expect(try await cache.value(for: "a", loading: none()) == nil)
        #expect(cache.statistics.misses[.cold] == 2 && cache.statistics.requests == 2)
        #expect(logged() == 0)
        // Nor where memory alone holds it.
        eviction.noteOccupancy(1)
        #expect(try await cache.value(for: "b") { _ in 1 } == 1)
        #expect(cache.statistics.diskWritesAvoided == 1)
        #expect(try await cache.refresh("b", loading: none()) == nil)
        #expect(try await cache.value(for: "b") == nil)
        #expect(logged() == 0)
        try await store.close()
    }

    @Test("Where the disk cannot take that, the caller hears it all the same, and it is counted")
    func fullDisk() async throws {
        let rig = CacheRig()
        rig.files.offerStoreMaps(false)
        let cache = try await rig.cache(.disk, Int.self)
        try await cache.set(1, for: "a")
        rig.files.fail(28, sticky: true) { $0.operation == .write && $0.path.contains(".log") }
        let answer = none(EntryOptions(durability: .synced))
        #expect(try await cache.refresh("a", loading: answer) == nil)
        #expect(cache.statistics.loadsUnstored == 1)
        rig.files.clearFaults()
        #expect(try await cache.refresh("a", loading: answer) == nil)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test(
        "So it is while the store goes on in memory, after its return, and after a crash",
        arguments: [1, 2] as [UInt64])
    func degraded(seed: UInt64) async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        for key in ["a", "b"] { try await cache.set("old", for: key) }
        try await rig.fillDisk(cache)
        #expect(cache.isDegraded)
        #expect(try await cache.refresh("a", loading: { _ in Loaded(nil) }) == nil)
        try await cache.set("newer", for: "c")
        #expect(try await cache.refresh("c", loading: { _ in Loaded(nil, EntryOptions(sourceVersion: 5)) }) == nil)
        func check(_ cache: Cache<String, String>) async throws {
            for key in ["a", "c"] { #expect(try await cache.value(for: key) == nil, "\(key)") }
        }
        try await check(cache)
        let older = EntryOptions(sourceVersion: 4)
        #expect(await code { try await cache.set("older", for: "c", older) } == .conditionFailed)
        let crashed = try await rig.crashed(seed).cache()
        try await check(crashed)
        try? await crashed.store.close()
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        try await check(cache)
        #expect(await code { try await cache.set("older", for: "c", older) } == .conditionFailed)
        #expect(try await cache.value(for: "b") == "old")
        try await cache.store.close()
    }
}
