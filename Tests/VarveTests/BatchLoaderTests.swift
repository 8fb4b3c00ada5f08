import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What a loader of many keys may say of each beside its value.
struct BatchLoaderTests {
    private func load(
        _ cache: Cache<String, Int>, _ answer: [String: Loaded<Int>], _ keys: [String] = ["a", "b"]
    ) async throws -> [String: Int] {
        try await cache.values(for: keys, loading: { _ in answer })
    }

    @Test("A tag's drop takes the entries that carry it, and no other", arguments: CacheRig.Home.allCases)
    func tags(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let answer = ["a": Loaded(1, EntryOptions(tags: ["t"])), "b": Loaded(2, EntryOptions(tags: ["u"]))]
        #expect(try await load(cache, answer) == ["a": 1, "b": 2])
        try await cache.remove(taggedWith: "t")
        #expect(try await cache.values(for: ["a", "b"]) == ["b": 2])
        try await cache.close()
    }

    @Test("Each entry expires as it was said", arguments: CacheRig.Home.allCases)
    func expiry(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self)
        let answer = ["a": Loaded(1, EntryOptions(expiry: .after(.seconds(10)))), "b": Loaded(2)]
        #expect(try await load(cache, answer) == ["a": 1, "b": 2])
        rig.clock.advance(by: .seconds(10))
        #expect(try await cache.values(for: ["a", "b"]) == ["b": 2])
        try await cache.close()
    }

    @Test("Source versions refuse late writers, and what was written since stays", arguments: CacheRig.Home.allCases)
    func sourceVersions(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.remove("b", olderThan: 7)
        let answer = ["a": Loaded(1, EntryOptions(sourceVersion: 5)), "b": Loaded(2, EntryOptions(sourceVersion: 6))]
        // Who asked has what the source said, though it is too old to be kept.
        #expect(try await load(cache, answer) == ["a": 1, "b": 2])
        #expect(try await cache.values(for: ["a", "b"]) == ["a": 1])
        await #expect(throws: VarveError.self) { try await cache.set(0, for: "a", EntryOptions(sourceVersion: 4)) }
        try await cache.close()
    }

    @Test(
        "A key that is changed while the call is under way keeps what it was given", arguments: CacheRig.Home.allCases)
    func outdated(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let door = Door()
        let batch = Task {
            try await cache.values(
                for: ["a", "b", "c"],
                loading: { _ in
                    await door.pass()
                    return ["a": Loaded(1), "b": Loaded(2, EntryOptions(tags: ["t"])), "c": Loaded(3)]
                })
        }
        await door.arrived(1)
        try await cache.set(9, for: "a")
        try await cache.remove(taggedWith: "t")
        await door.open()
        #expect(try await batch.value == ["a": 1, "b": 2, "c": 3])
        #expect(try await cache.values(for: ["a", "b", "c"]) == ["a": 9, "c": 3])
        try await cache.close()
    }

    @Test("That there is none is remembered where that is said, key by key", arguments: CacheRig.Home.allCases)
    func absence(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let none = Loaded<Int>(nil, EntryOptions(expiry: .after(.seconds(10))))
        #expect(try await load(cache, ["a": none, "b": Loaded(nil)], ["a", "b", "c"]).isEmpty)
        let found = try await cache.values(for: ["a", "b", "c"]) { keys in
            #expect(Set(keys) == ["b", "c"])
            return ["b": 2, "c": 3]
        }
        #expect(found == ["b": 2, "c": 3])
        try await cache.close()
    }

    @Test("A pinned entry is not evicted")
    func pinned() async throws {
        let options = CacheOptions(memory: .entries(4), policy: .lru)
        let cache = try await CacheRig().cache(.memory, Int.self, options)
        #expect(try await load(cache, ["a": Loaded(1, EntryOptions(isPinned: true)), "b": Loaded(2)]).count == 2)
        for number in 0..<20 { try await cache.set(number, for: "\(number)") }
        #expect(try await cache.values(for: ["a", "b"]) == ["a": 1])
        try await cache.close()
    }
}
