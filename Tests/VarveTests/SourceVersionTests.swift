import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// "What is older is refused from then on" holds for every way to write.
struct SourceVersionTests {
    private func expectRefusal(_ write: () async throws -> Void) async {
        await #expect {
            try await write()
        } throws: { error in
            (error as? VarveError)?.code == .conditionFailed
        }
    }

    @Test("Conditional writes are refused for their age too", arguments: CacheRig.Home.allCases)
    func conditional(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        #expect(try await cache.remove("gone", olderThan: 10))
        await expectRefusal { _ = try await cache.add(1, for: "gone", .init(sourceVersion: 5)) }
        #expect(try await cache.value(for: "gone") == nil)
        #expect(try await cache.add(2, for: "gone", .init(sourceVersion: 11)) != nil)

        try await cache.set(3, for: "there", .init(sourceVersion: 10))
        await expectRefusal { _ = try await cache.replace(4, for: "there", .init(sourceVersion: 9)) }
        await expectRefusal { try await cache.update("there", .init(sourceVersion: 9)) { $0 = 5 } }
        let version = try await cache.entry(for: "there")?.version
        await expectRefusal { _ = try await cache.set(6, for: "there", ifVersion: version, .init(sourceVersion: 9)) }
        #expect(try await cache.value(for: "there") == 3)
        #expect(try await cache.set(7, for: "there", ifVersion: version, .init(sourceVersion: 10)) != nil)
        try await cache.close()
    }

    @Test("A write without a source version makes older ones welcome nowhere", arguments: CacheRig.Home.allCases)
    func overwritten(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "a", .init(sourceVersion: 10))
        try await cache.set(2, for: "a")
        await expectRefusal { try await cache.set(3, for: "a", .init(sourceVersion: 5)) }
        // Memory alone has no more than the floor to tell of what the key has had, and that may be another's.
        #expect(try await cache.value(for: "a") == (home == .disk ? 2 : nil))
        await expectRefusal { try await cache.set(3, for: "a", .init(sourceVersion: 5)) }
        try await cache.close()
    }

    @Test("Who is refused for a newer source version does not read next what was there before it")
    func refusedByOneUnderWay() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let disk = try #require(cache.disk)
        try await cache.set(1, for: "a", .init(sourceVersion: 3))
        // Another writer whose write is on disk, and who has not come back yet.
        let hash = cache.memory.hash("a")
        cache.memory.withShard(hash) { $0.beginFlight("a", writes: true) }
        let change = try cache.change(2, .init(sourceVersion: 7), .explicit)
        try await disk.engine.write(try cache.batch(Array("a".utf8), change, .none, disk))
        await expectRefusal { try await cache.set(3, for: "a", .init(sourceVersion: 5)) }
        #expect(cache.valueInMemory(for: "a") != 1)
        #expect(try await cache.value(for: "a") == 2)
        cache.memory.withShard(hash) { $0.endFlight("a", wrote: true) }
        // Where nobody else writes, a refusal costs memory nothing.
        await expectRefusal { try await cache.set(3, for: "a", .init(sourceVersion: 5)) }
        #expect(cache.valueInMemory(for: "a") == 2)
        try await cache.close()
    }
}
