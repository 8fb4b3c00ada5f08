import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What the articles on changing in one step and on late writers promise of versions: the cache's own and the source's.
struct VersionTests {
    @Test("The disk decides: a version read from memory fails where the disk has a newer one")
    func diskDecides() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        try await cache.set(1, for: "a")
        let seen = try #require(try await cache.entry(for: "a"))
        // Past this cache's memory, as a write that has not come back yet.
        let disk = try #require(cache.disk)
        try await disk.engine.put(cache.keyBytes("a"), 2.cacheBytes(), in: disk.namespace)
        #expect(cache.valueInMemory(for: "a") == 1)
        #expect(try await cache.set(3, for: "a", ifVersion: seen.version) == nil)
        // And what it saw is what memory has from then on.
        #expect(cache.valueInMemory(for: "a") != 1)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("A version is of one history: it outlives a restart, and matches nothing in another store")
    func histories() async throws {
        let (rig, other) = (CacheRig(), CacheRig())
        let (cache, stranger) = (try await rig.cache(.disk, Int.self), try await other.cache(.disk, Int.self))
        let version = try await cache.set(1, for: "a")
        _ = try await stranger.set(1, for: "a")
        #expect(try await stranger.set(2, for: "a", ifVersion: version) == nil)
        #expect(try await stranger.value(for: "a") == 1)
        try await stranger.close()
        try await cache.close()
        let again = try await rig.cache(.disk, Int.self)
        #expect(try await again.entry(for: "a")?.version == version)
        #expect(try await again.set(2, for: "a", ifVersion: version) != nil)
        #expect(try await again.set(3, for: "a", ifVersion: version) == nil)
        try await again.close()
    }

    /// How a store comes to be another's copy with a history of its own.
    enum Copy: CaseIterable, Sendable { case restored, promoted }

    @Test("After a restore or a promotion a version from before matches nothing", arguments: Copy.allCases)
    func copies(_ copy: Copy) async throws {
        var rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        let engine = try #require(cache.store.engine)
        var versions = ["a": try await cache.set(1, for: "a")]
        _ = try await engine.checkpoint(to: "/copy", slot: "copy")
        if copy == .promoted {
            // It has taken the log further than the copy that it began as.
            versions["b"] = try await cache.set(1, for: "b")
            var options = EngineOptions()
            (options.clock, options.offersSocket, options.idleSpan) = (rig.clock, false, nil)
            let follower = try await Engine.openFollower(at: "/copy", options, fileSystem: rig.files)
            try follower.apply(from: engine)
            #expect(follower.position == engine.position)
            try await follower.close()
        }
        // The original goes on and gives numbers that the copy gives as well.
        try await cache.set(2, for: "c")
        try await cache.close()
        rig.path = "/copy"
        let again = try await rig.cache(.disk, Int.self)
        for (key, version) in versions {
            let found = try #require(try await again.entry(for: key))
            #expect(found.value == 1 && found.version != version)
            #expect(try await again.set(2, for: key, ifVersion: version) == nil)
            #expect(try await again.value(for: key) == 1)
            #expect(try await again.set(3, for: key, ifVersion: found.version) != nil)
        }
        try await again.close()
    }

    @Test("A conditional write is refused where a tag was dropped after its look, before its commit")
    func tagDroppedMeanwhile() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let version = try await cache.set(1, for: "a", EntryOptions(tags: ["t"]))
        let looked = try #require(cache.disk).visible.rawValue
        try await cache.remove(taggedWith: "t")
        let demand = Cache<String, Int>.Demand.version(
            version.number, tags: [TagRegistry.id(of: "t")], since: looked, notOlder: nil)
        await #expect {
            _ = try await cache.commit("a", try cache.change(2, EntryOptions(), .explicit), demand, nil)
        } throws: {
            ($0 as? VarveError)?.code == .conditionFailed
        }
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("A load is not stored where its key was written after its last look at memory")
    func writtenMeanwhile() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let disk = try #require(cache.disk)
        let looked = disk.visible.rawValue
        try await disk.engine.put(cache.keyBytes("a"), 2.cacheBytes(), in: disk.namespace)
        await #expect {
            _ = try await cache.commit(
                "a", try cache.change(1, EntryOptions(), .loaded), .unchanged(since: looked, notOlder: nil), nil)
        } throws: {
            ($0 as? VarveError)?.code == .conditionFailed
        }
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test(
        "An older source version is refused when the newer entry has expired or was removed since",
        arguments: CacheRig.Home.allCases)
    func lateWriters(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self)
        try await cache.set(1, for: "removed", EntryOptions(sourceVersion: 10))
        try await cache.set(1, for: "expired", EntryOptions(expiry: .seconds(1), sourceVersion: 10))
        try await cache.set(1, for: "cleared", EntryOptions(sourceVersion: 10))
        try await cache.remove("removed")
        try await cache.removeAll(withPrefix: "cleared")
        rig.clock.advance(by: .seconds(2))
        for key in ["removed", "expired", "cleared"] {
            #expect(try await cache.value(for: key) == nil)
            await #expect(throws: VarveError.self, "\(key)") {
                try await cache.set(2, for: key, EntryOptions(sourceVersion: 9))
            }
            // What a loader brings is given to who asked, and not stored.
            let loaded = try await cache.value(for: key, loading: { _ in Loaded(3, EntryOptions(sourceVersion: 8)) })
            #expect(loaded == 3)
            #expect(try await cache.value(for: key) == nil)
            try await cache.set(4, for: key, EntryOptions(sourceVersion: 10))
            #expect(try await cache.value(for: key) == 4)
        }
        try await cache.close()
    }

    @Test("What a loader says of its value holds: tags, source version and expiry", arguments: CacheRig.Home.allCases)
    func loaded(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self)
        let options = EntryOptions(expiry: .seconds(60), tags: ["t"], sourceVersion: 5)
        for key in ["dropped", "older", "expired"] {
            #expect(try await cache.value(for: key, loading: { _ in Loaded(1, options) }) == 1)
            #expect(try await cache.value(for: key) == 1)
            await #expect(throws: VarveError.self) {
                try await cache.set(2, for: key, EntryOptions(sourceVersion: 4))
            }
        }
        rig.clock.advance(by: .seconds(60))
        #expect(try await cache.value(for: "expired") == nil)
        _ = try await cache.refresh("dropped", loading: { _ in Loaded(1, options) })
        #expect(try await cache.value(for: "dropped") == 1)
        try await cache.remove(taggedWith: "t")
        #expect(try await cache.value(for: "dropped") == nil)
        try await cache.close()
    }
}
