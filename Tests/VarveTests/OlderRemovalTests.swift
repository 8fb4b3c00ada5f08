import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A removal of what is older than a source version takes nothing that is as new.
struct OlderRemovalTests {
    @Test("What was loaded after a change stays when the change is told", arguments: CacheRig.Home.allCases)
    func loaded(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let row = Loaded(8, EntryOptions(sourceVersion: 8))
        #expect(try await cache.value(for: "a", loading: { _ in row }) == 8)
        #expect(try await !cache.remove("a", olderThan: 8))
        #expect(cache.valueInMemory(for: "a") == 8)
        #expect(try await cache.value(for: "a", loading: { _ in Loaded(nil) }) == 8)
        // What is older is refused as before.
        #expect(await code { try await cache.set(7, for: "a", EntryOptions(sourceVersion: 7)) } == .conditionFailed)
        #expect(try await cache.remove("a", olderThan: 9))
        #expect(try await cache.value(for: "a") == nil)
        #expect(await code { try await cache.set(8, for: "a", EntryOptions(sourceVersion: 8)) } == .conditionFailed)
        try await cache.close()
    }

    @Test("An entry that names no version goes, though its key has had this one", arguments: CacheRig.Home.allCases)
    func unversioned(_ home: CacheRig.Home) async throws {
        var options = CacheOptions()
        options.loading.absence = .seconds(100)
        let cache = try await CacheRig().cache(home, Int.self, options)
        try await cache.set(1, for: "never")
        #expect(try await cache.remove("never", olderThan: 8))
        for hasValue in [true, false] {
            try await cache.set(8, for: "a", EntryOptions(sourceVersion: 8))
            #expect(try await cache.refresh("a", loading: { _ in Loaded(hasValue ? 1 : nil) }) == (hasValue ? 1 : nil))
            // Nor does it matter how much newer than the removal that was.
            #expect(try await cache.remove("a", olderThan: hasValue ? 8 : 5))
            // An absence that is remembered would keep the source from being asked.
            #expect(try await cache.value(for: "a", loading: { _ in Loaded(2) }) == 2)
        }
        try await cache.close()
    }

    @Test("The ends of the range: 0 is older than nothing, and counts as none", arguments: CacheRig.Home.allCases)
    func ends(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "first", EntryOptions(sourceVersion: 1))
        try await cache.set(2, for: "none", EntryOptions(sourceVersion: 0))
        try await cache.set(3, for: "last", EntryOptions(sourceVersion: .max))
        #expect(try await !cache.remove("first", olderThan: 0))
        #expect(try await !cache.remove("first", olderThan: 1))
        #expect(try await cache.remove("none", olderThan: 0))
        #expect(try await !cache.remove("last", olderThan: .max))
        #expect(try await cache.values(for: ["first", "none", "last"]) == ["first": 1, "last": 3])
        try await cache.close()
    }

    @Test("While the store goes on in memory it is the same, of what memory has and of what the disk has")
    func degraded() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let eight = EntryOptions(sourceVersion: 8)
        for key in ["a", "b"] { try await cache.set("on disk", for: key, eight) }
        try await cache.set("unversioned", for: "b")
        try await rig.fillDisk(cache)
        #expect(cache.isDegraded)
        for key in ["c", "d"] { try await cache.set("in memory", for: key, eight) }
        try await cache.set("unversioned", for: "d")
        for key in ["a", "c"] {
            #expect(try await !cache.remove(key, olderThan: 8))
            #expect(try await cache.value(for: key) == (key == "a" ? "on disk" : "in memory"))
        }
        for key in ["b", "d"] {
            #expect(try await cache.remove(key, olderThan: 8))
            #expect(try await cache.value(for: key) == nil)
        }
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        #expect(try await cache.values(for: ["a", "b", "c", "d"]) == ["a": "on disk", "c": "in memory"])
        try await cache.store.close()
    }
}
