import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Versions of what memory alone holds: a load's result that the disk did not take.
@Suite struct LoadVersionTests {
    private let rig = DegradedRig()

    /// A cache on a full disk, which takes no large values any more.
    private func fullCache() async throws -> Cache<String, String> {
        let cache = try await rig.cache(.throwing)
        rig.files.capacity = rig.files.usedBytes
        return cache
    }

    private func large(_ name: String) -> String { name + DegradedRig.large }

    @Test(
        "Two loads that memory alone keeps have different versions, and a write for the first does not meet the second")
    func differ() async throws {
        let cache = try await fullCache()
        _ = try await cache.value(for: "a") { _ in large("one") }
        let first = try #require(try await cache.entry(for: "a")?.version)
        #expect(try await cache.refresh("a") { _ in Loaded(large("two")) } == large("two"))
        let second = try #require(try await cache.entry(for: "a")?.version)
        #expect(cache.statistics.loadsUnstored == 2)
        #expect(first != second)
        #expect(try await cache.set("late", for: "a", ifVersion: first) == nil)
        #expect(cache.valueInMemory(for: "a") == large("two"))
        for version in [first, second] { #expect(EntryVersion(version.description) == version) }
        #expect(try await cache.set("three", for: "a", ifVersion: second) != nil)
        #expect(try await cache.value(for: "a") == "three")
        try await cache.store.close()
    }

    @Test("What was evicted and loaded anew between a look and a write is not written over")
    func betweenLookAndWrite() async throws {
        let cache = try await fullCache()
        _ = try await cache.value(for: "a") { _ in large("one") }
        let seen = Watched<[String]>([])
        // The body runs between the look and the write.
        let written = try await cache.update("a") { value in
            seen.update { $0.append(String(value?.prefix(3) ?? "nil")) }
            if seen.current.count == 1 { replaceLoad(of: "a", by: large("two"), in: cache) }
            value = "written"
        }
        #expect(written == "written")
        #expect(seen.current == ["one", "two"])
        try await cache.store.close()
    }

    /// As a load would that began as of the same moment.
    private func replaceLoad(of key: String, by value: String, in cache: Cache<String, String>) {
        let hash = cache.memory.hash(key)
        cache.memory.change(hash) { shard, discarded in
            guard let old = shard.peek(key, hash) else { return }
            var new = cache.makeEntry(
                key, hash, value, version: old.version, cost: 0, deadlines: .never, idle: .none, tags: [],
                sourceVersion: 0, traits: [])
            new.back.setLoad(cache.store.nextLoad())
            _ = shard.publish(new, .load, &discarded)
        }
    }
}
