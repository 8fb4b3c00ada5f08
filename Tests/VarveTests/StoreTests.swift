import Glibc
import Synchronization
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What the first pages promise of stores, and of what a hit does.
struct StoreTests {
    @Test("A folder is open once at a time; who comes second learns who was first")
    func secondOpener() async throws {
        let folder = try TemporaryDirectory()
        let first = try await Cache<String, Int>.open(at: folder.path)
        let error = await #expect(throws: VarveError.self) { try await Cache<String, Int>.open(at: folder.path) }
        #expect(error?.code == .storeInUse)
        #expect(error?.description.contains("\(getpid())") == true, "\(String(describing: error))")
        try await first.close()
        let second = try await Cache<String, Int>.open(at: folder.path)
        try await second.close()
    }

    @Test("Caches of one store have limits, default expiry and statistics of their own, and are cleared by themselves")
    func ownOptions() async throws {
        let rig = CacheRig()
        let store = try await rig.store()
        let small: Cache<Int, Int> = try await store.cache(
            named: "small", CacheOptions(memory: .entries(2), expiry: .seconds(1), policy: .lru))
        let large: Cache<Int, Int> = try await store.cache(named: "large", CacheOptions(memory: .entries(100)))
        for number in 0..<50 {
            try await small.set(number, for: number)
            try await large.set(-number, for: number)
        }
        #expect(small.statistics.memoryEntries == 2)
        #expect(large.statistics.memoryEntries == 50)
        #expect(try await small.value(for: 7) == 7)
        #expect(try await large.value(for: 7) == -7)
        #expect(small.statistics.diskHits == 1)
        #expect(large.statistics.diskHits == 0)
        rig.clock.advance(by: .seconds(1))
        #expect(try await small.value(for: 7) == nil)
        #expect(try await large.value(for: 7) == -7)
        try await small.removeAll()
        #expect(try await large.value(for: 8) == -8)
        try await store.close()
    }

    @Test("A cache that nobody opens is cleared by name, and nothing else is")
    func clearedByName() async throws {
        let rig = CacheRig()
        var store = try await rig.store()
        for name in ["a", "b"] {
            let cache: Cache<Int, String> = try await store.cache(named: name)
            for number in 0..<20 { try await cache.set(name, for: number, .init(isPinned: number == 3)) }
        }
        try await store.close()
        store = try await rig.store()
        #expect(try await store.cacheNames().sorted() == ["a", "b", "default"])
        try await store.removeAll(inCacheNamed: "a", durability: .synced)
        try await store.removeAll(inCacheNamed: "never")
        try await store.removeAll(inCacheNamed: nil)
        #expect(try await store.cacheNames().sorted() == ["a", "b", "default"])
        let b: Cache<Int, String> = try await store.cache(named: "b")
        let error = await #expect(throws: VarveError.self) { try await store.removeAll(inCacheNamed: "b") }
        #expect(error?.code == .invalidArgument)
        let a: Cache<Int, String> = try await store.cache(named: "a")
        for number in 0..<20 {
            #expect(try await a.value(for: number) == nil)
            #expect(try await b.value(for: number) == "b")
        }
        try await store.close()
    }

    @Test("So it is while the store goes on in memory")
    func clearedByNameInMemory() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let other = try await cache.store.cache(named: "other", of: String.self, to: String.self, rig.options)
        try await other.set("old", for: "a")
        try await other.close()
        try await rig.fillDisk(cache)
        #expect(cache.isDegraded)
        try await cache.store.removeAll(inCacheNamed: "other")
        var again = try await cache.store.cache(named: "other", of: String.self, to: String.self, rig.options)
        #expect(try await again.value(for: "a") == nil)
        try await again.close()
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        again = try await cache.store.cache(named: "other", of: String.self, to: String.self, rig.options)
        #expect(try await again.value(for: "a") == nil)
        try await cache.store.close()
    }

    @Test("A hit in memory decodes nothing")
    func hits() async throws {
        final class Decodings: Sendable { let count = Atomic(0) }
        let decodings = Decodings()
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                decodings.count.add(1, ordering: .relaxed)
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(
            named: "c", coding: coding, CacheOptions(), ownsStore: true)
        try await cache.set(1, for: "a")
        for _ in 0..<10 { #expect(try await cache.value(for: "a") == 1) }
        #expect(decodings.count.load(ordering: .relaxed) == 0)
        try await cache.close()
        let again: Cache<String, Int> = try await rig.store().cache(
            named: "c", coding: coding, CacheOptions(), ownsStore: true)
        for _ in 0..<10 { #expect(try await again.value(for: "a") == 1) }
        #expect(decodings.count.load(ordering: .relaxed) == 1)
        try await again.close()
    }
}
