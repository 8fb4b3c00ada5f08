import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What a change in one step keeps of the entry that it changes.
struct KeptFieldsTests {
    /// Where the truth is.
    enum Home: CaseIterable, Sendable {
        case memory, disk, degraded

        func cache<Value: CacheValue>(
            _ rig: CacheRig, _ values: Value.Type = Value.self, _ options: CacheOptions = CacheOptions()
        ) async throws -> Cache<String, Value> {
            var options = options
            options.warmRestart = nil
            switch self {
            case .memory: return try await rig.cache(.memory, values, options)
            case .disk: return try await rig.cache(.disk, values, options)
            case .degraded:
                let store = try await rig.store {
                    $0.memtableBytes = 16 << 20
                    $0.keepsDegradedMark = true
                }
                return try await store.cache(named: "c", coding: .own, options, ownsStore: true)
            }
        }

        /// Goes over to memory where that is what is tested.
        func goOn<Value>(_ rig: CacheRig, _ cache: Cache<String, Value>) async throws {
            guard self == .degraded else { return }
            rig.files.capacity = rig.files.usedBytes
            let filler: Cache<String, String> = try await cache.store.cache(named: "filler")
            try await filler.set(DegradedRig.large, for: "filler", EntryOptions(durability: .synced))
            #expect(cache.isDegraded)
        }
    }

    @Test("A counter keeps its window: an increment does not move the deadline", arguments: Home.allCases)
    func window(_ home: Home) async throws {
        let rig = CacheRig()
        let cache = try await home.cache(rig, Int.self, CacheOptions(expiry: .seconds(60)))
        for count in 1...3 {
            #expect(try await cache.increment("n") == count)
            rig.clock.advance(by: .seconds(15))
            if count == 1 { try await home.goOn(rig, cache) }
        }
        rig.clock.advance(by: .seconds(14))
        #expect(try await cache.increment("n") == 4)
        rig.clock.advance(by: .seconds(2))
        #expect(try await cache.value(for: "n") == nil)
        #expect(try await cache.increment("n") == 1)
        rig.clock.advance(by: .seconds(59))
        #expect(try await cache.increment("n") == 2)
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("A counter that is idle expires by its last increment, and not past its deadline", arguments: Home.allCases)
    func idleCounter(_ home: Home) async throws {
        let rig = CacheRig()
        let expiry = Expiry(usable: .seconds(100), idle: .seconds(20))
        let cache = try await home.cache(rig, Int.self)
        try await cache.set(1, for: "n", EntryOptions(expiry: expiry))
        try await home.goOn(rig, cache)
        for count in 2...6 {
            rig.clock.advance(by: .seconds(19))
            #expect(try await cache.increment("n") == count)
        }
        rig.clock.advance(by: .seconds(6))
        #expect(try await cache.value(for: "n") == nil)
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("An update begins the expiry anew, by the cache's own rule", arguments: Home.allCases)
    func updateBegins(_ home: Home) async throws {
        let rig = CacheRig()
        let cache = try await home.cache(rig, Int.self, CacheOptions(expiry: .seconds(60)))
        try await cache.set(1, for: "n", EntryOptions(expiry: .seconds(10)))
        try await home.goOn(rig, cache)
        rig.clock.advance(by: .seconds(9))
        try await cache.update("n") { $0 = ($0 ?? 0) + 1 }
        rig.clock.advance(by: .seconds(59))
        #expect(try await cache.value(for: "n") == 2)
        rig.clock.advance(by: .seconds(2))
        #expect(try await cache.value(for: "n") == nil)
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("Tags stay: a drop after an increment or an update finds the entry", arguments: Home.allCases)
    func tags(_ home: Home) async throws {
        let rig = CacheRig()
        let cache = try await home.cache(rig, Int.self)
        for key in ["counted", "updated"] { try await cache.set(1, for: key, EntryOptions(tags: ["t", "u"])) }
        try await home.goOn(rig, cache)
        for _ in 0..<2 {
            try await cache.increment("counted")
            try await cache.update("updated") { $0 = 5 }
        }
        #expect(try await cache.value(for: "counted") == 3)
        try await cache.remove(taggedWith: "u")
        #expect(try await cache.value(for: "counted") == nil)
        #expect(try await cache.value(for: "updated") == nil)
        // What stands no more leaves nothing behind.
        #expect(try await cache.increment("counted") == 1)
        try await cache.remove(taggedWith: "t")
        #expect(try await cache.value(for: "counted") == 1)
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("A pinned entry stays pinned", arguments: Home.allCases)
    func pin(_ home: Home) async throws {
        let rig = CacheRig()
        let cache = try await home.cache(rig, Int.self, CacheOptions(memory: .entries(4), policy: .lru))
        for key in ["counted", "updated"] { try await cache.set(1, for: key, EntryOptions(isPinned: true)) }
        try await home.goOn(rig, cache)
        try await cache.increment("counted")
        try await cache.update("updated") { $0 = 2 }
        for number in 0..<50 { try await cache.set(0, for: "other \(number)") }
        for key in ["counted", "updated"] { #expect(cache.valueInMemory(for: key) == 2) }
        if home == .disk {
            let disk = try #require(cache.disk)
            for key in ["counted", "updated"] {
                #expect(try await disk.entry(cache.keyBytes(key))?.fields.isPinned == true)
            }
        }
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("The source version stays with the value and goes on refusing older ones", arguments: Home.allCases)
    func sourceVersion(_ home: Home) async throws {
        let rig = CacheRig()
        let cache = try await home.cache(rig, Int.self)
        try await cache.set(1, for: "n", EntryOptions(sourceVersion: 10))
        try await home.goOn(rig, cache)
        try await cache.increment("n")
        try await cache.update("n") { $0 = ($0 ?? 0) + 1 }
        let hash = cache.memory.hash("n")
        #expect(cache.memory.withShard(hash) { $0.peek("n", hash)?.sourceVersion } == 10)
        let refused = await code { try await cache.set(0, for: "n", EntryOptions(sourceVersion: 9)) }
        #expect(refused == .conditionFailed)
        #expect(try await cache.value(for: "n") == 3)
        try await cache.set(20, for: "n", EntryOptions(sourceVersion: 10))
        #expect(try await cache.value(for: "n") == 20)
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("Options that are given replace all, and a replace is like a set", arguments: Home.allCases)
    func explicit(_ home: Home) async throws {
        let rig = CacheRig()
        let cache = try await home.cache(rig, Int.self)
        let tagged = EntryOptions(expiry: .seconds(10), tags: ["t"])
        for key in ["counted", "updated", "replaced"] { try await cache.set(1, for: key, tagged) }
        try await home.goOn(rig, cache)
        try await cache.increment("counted", by: 1, EntryOptions(expiry: .seconds(100)))
        try await cache.update("updated", EntryOptions(expiry: .seconds(100))) { $0 = 2 }
        #expect(try await cache.replace(2, for: "replaced") != nil)
        try await cache.remove(taggedWith: "t")
        rig.clock.advance(by: .seconds(50))
        for key in ["counted", "updated", "replaced"] { #expect(try await cache.value(for: key) == 2) }
        rig.clock.advance(by: .seconds(51))
        #expect(try await cache.value(for: "counted") == nil)
        #expect(try await cache.value(for: "updated") == nil)
        #expect(try await cache.value(for: "replaced") == 2)
        rig.files.capacity = nil
        try await cache.close()
    }

    @Test("Kept fields are those that are on disk", arguments: [0, 1, 2])
    func fromDisk(_ seed: UInt64) async throws {
        let rig = CacheRig()
        var random = SplitMix(seed)
        let options = EntryOptions(
            expiry: .seconds(60), tags: ["t"], sourceVersion: .random(in: 1...100, using: &random), isPinned: true)
        let first = try await rig.cache(.disk, Int.self)
        try await first.set(1, for: "n", options)
        try await first.close()
        let cache = try await rig.cache(.disk, Int.self)
        rig.clock.advance(by: .seconds(30))
        try await cache.increment("n")
        let disk = try #require(cache.disk)
        let stored = try #require(try await disk.entry(cache.keyBytes("n")))
        #expect(stored.fields.isPinned && stored.fields.sourceVersion == options.sourceVersion)
        #expect(stored.fields.tags == [TagRegistry.id(of: "t")])
        rig.clock.advance(by: .seconds(31))
        #expect(try await cache.value(for: "n") == nil)
        try await cache.close()
    }
}
