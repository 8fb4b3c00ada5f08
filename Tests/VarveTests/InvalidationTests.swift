import Testing
import VarveEngine

@testable import Varve

struct InvalidationTests {
    @Test("By prefix and altogether", arguments: CacheRig.Home.allCases)
    func prefix(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        for number in 0..<50 {
            try await cache.set(number, for: "user/\(number)")
            try await cache.set(number, for: "post/\(number)")
        }
        try await cache.removeAll(withPrefix: "user/")
        for number in 0..<50 {
            #expect(try await cache.value(for: "user/\(number)") == nil)
            #expect(try await cache.value(for: "post/\(number)") == number)
        }
        try await cache.set(1, for: "user/1")
        #expect(try await cache.value(for: "user/1") == 1)
        try await cache.removeAll()
        #expect(try await cache.value(for: "post/1") == nil)
        #expect(cache.statistics.memoryEntries == 0)
        try await cache.close()
    }

    @Test("Dropping a tag drops every entry that carries it, and no later one", arguments: CacheRig.Home.allCases)
    func tags(_ home: CacheRig.Home) async throws {
        // On disk memory has no room for most of them.
        let options = CacheOptions(memory: .entries(home == .disk ? 20 : 1000), policy: .lru)
        let cache = try await CacheRig().cache(home, Int.self, options)
        try await fillWithTags(cache)
        try await cache.remove(taggedWith: "even")
        for number in 0..<100 {
            #expect(try await cache.value(for: "\(number)") == (number % 2 == 0 ? nil : number))
        }
        try await cache.set(2, for: "2", EntryOptions(tags: ["even"]))
        #expect(try await cache.value(for: "2") == 2)
        try await cache.remove(taggedWith: "all")
        for number in 0..<100 { #expect(try await cache.value(for: "\(number)") == (number == 2 ? 2 : nil)) }
        try await cache.close()
    }

    private func fillWithTags(_ cache: Cache<String, Int>) async throws {
        for number in 0..<100 {
            try await cache.set(
                number, for: "\(number)", EntryOptions(tags: number % 2 == 0 ? ["even", "all"] : ["all"]))
        }
    }

    @Test("A dropped tag stays dropped after reopening")
    func tagsOutliveTheProcess() async throws {
        let rig = CacheRig()
        let options = CacheOptions(memory: .entries(20), policy: .lru)
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        try await fillWithTags(cache)
        try await cache.remove(taggedWith: "even")
        try await cache.set(2, for: "2", EntryOptions(tags: ["even"]))
        try await cache.store.close()
        let again: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        #expect(try await again.value(for: "4") == nil)
        #expect(try await again.value(for: "2") == 2)
        #expect(try await again.value(for: "3") == 3)
        try await again.remove(taggedWith: "all")
        #expect(try await again.value(for: "3") == nil)
        #expect(try await again.value(for: "2") == 2)
        try await again.store.close()
    }

    @Test("A conditional write on an entry whose tag was dropped finds none", arguments: CacheRig.Home.allCases)
    func conditionalAfterDrop(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let version = try await cache.set(1, for: "a", EntryOptions(tags: ["t"]))
        try await cache.remove(taggedWith: "t")
        #expect(try await cache.set(2, for: "a", ifVersion: version) == nil)
        #expect(try await cache.replace(2, for: "a") == nil)
        #expect(try await cache.take("a") == nil)
        #expect(try await cache.add(3, for: "a") != nil)
        #expect(try await cache.value(for: "a") == 3)
        try await cache.close()
    }

    @Test("The end of a prefix is the first key beyond it")
    func afterPrefix() {
        #expect([UInt8](arrayLiteral: 1, 2).afterPrefix == [1, 3])
        #expect([UInt8](arrayLiteral: 1, 0xFF).afterPrefix == [2])
        #expect([UInt8](arrayLiteral: 0xFF, 0xFF).afterPrefix == nil)
        #expect([UInt8]().afterPrefix == nil)
    }
}
