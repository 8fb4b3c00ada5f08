import Testing
import VarveEngine

@testable import Varve

struct ConditionalTests {
    @Test("Only the version that was seen is overwritten", arguments: CacheRig.Home.allCases)
    func compareAndSet(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        let first = try #require(try await cache.set("1", for: "a", ifVersion: nil))
        #expect(try await cache.set("2", for: "a", ifVersion: nil) == nil)
        let second = try #require(try await cache.set("2", for: "a", ifVersion: first))
        #expect(try await cache.set("3", for: "a", ifVersion: first) == nil)
        #expect(try await cache.value(for: "a") == "2")
        try await cache.remove("a")
        #expect(try await cache.set("3", for: "a", ifVersion: second) == nil)
        try await cache.close()
    }

    @Test("Only the version that was seen is removed", arguments: CacheRig.Home.allCases)
    func compareAndRemove(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        let first = try await cache.set("1", for: "a")
        let second = try await cache.set("1", for: "a")
        #expect(try await !cache.remove("a", ifVersion: first))
        #expect(try await cache.value(for: "a") == "1")
        #expect(try await cache.remove("a", ifVersion: second))
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await !cache.remove("a", ifVersion: second))
        // What memory alone holds, as a load brought it.
        _ = try await cache.value(for: "b", loading: { _ in Loaded("2") })
        let loaded = try #require(try await cache.entry(for: "b")?.version)
        #expect(try await !cache.remove("b", ifVersion: second))
        #expect(try await cache.remove("b", ifVersion: loaded))
        #expect(try await cache.entry(for: "b")?.value == nil)
        try await cache.close()
    }

    @Test("Of many who remove one version one does", arguments: CacheRig.Home.allCases)
    func onceRemoved(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        for _ in 0..<20 {
            let version = try await cache.set("1", for: "a")
            let removals = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 { group.addTask { try await cache.remove("a", ifVersion: version) } }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(removals == 1)
        }
        try await cache.close()
    }

    @Test("Add, replace and take", arguments: CacheRig.Home.allCases)
    func addReplaceTake(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        #expect(try await cache.replace("0", for: "a") == nil)
        #expect(try await cache.add("1", for: "a") != nil)
        #expect(try await cache.add("2", for: "a") == nil)
        #expect(try await cache.replace("3", for: "a") != nil)
        #expect(try await cache.take("a") == "3")
        #expect(try await cache.take("a") == nil)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("Counters raised by many tasks lose no step", arguments: CacheRig.Home.allCases)
    func counters(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<50 { try await cache.increment("n") } } }
            try await group.waitForAll()
        }
        #expect(try await cache.value(for: "n") == 400)
        await #expect(throws: VarveError.self) { try await cache.increment("n", by: .max) }
        #expect(try await cache.value(for: "n") == 400)
        try await cache.close()
    }

    @Test("An update that leaves nil removes", arguments: CacheRig.Home.allCases)
    func updateToNil(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        #expect(try await cache.update("a") { $0 = ($0 ?? "") + "x" } == "x")
        #expect(try await cache.update("a") { $0 = ($0 ?? "") + "y" } == "xy")
        #expect(try await cache.update("a") { $0 = nil } == nil)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("A late writer cannot bring old data back", arguments: CacheRig.Home.allCases)
    func sourceVersions(_ home: CacheRig.Home) async throws {
        let options = CacheOptions(memory: .entries(4), policy: .lru)
        let cache = try await CacheRig().cache(home, String.self, options)
        try await cache.set("new", for: "a", EntryOptions(sourceVersion: 10))
        await #expect(throws: VarveError.self) { try await cache.set("old", for: "a", EntryOptions(sourceVersion: 9)) }
        #expect(try await cache.value(for: "a") == "new")
        #expect(try await cache.remove("a", olderThan: 5) == false)
        #expect(try await cache.remove("a", olderThan: 20))
        await #expect(throws: VarveError.self) { try await cache.set("old", for: "a", EntryOptions(sourceVersion: 15)) }
        try await cache.set("b", for: "b", EntryOptions(sourceVersion: 30))
        for number in 0..<20 { try await cache.set("filler", for: "\(number)") }
        await #expect(throws: VarveError.self) { try await cache.set("old", for: "b", EntryOptions(sourceVersion: 29)) }
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }
}
