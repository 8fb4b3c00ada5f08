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

    @Test(
        "Several folders, opened and closed in any order: one that is open is refused, each other opens",
        arguments: 1...4)
    func openers(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let folder = try TemporaryDirectory()
        var open: [Int: Cache<String, Int>] = [:]
        var values: [Int: Int] = [:]
        for step in 0..<40 {
            let number = Int(random.next() % 3)
            let path = "\(folder.path)/\(number)"
            if let cache = open[number] {
                let error = await #expect(throws: VarveError.self) { try await Cache<String, Int>.open(at: path) }
                #expect(error?.code == .storeInUse, "seed \(seed), step \(step)")
                #expect(error?.description.contains("\(getpid())") == true, "seed \(seed), step \(step)")
                try await cache.set(step, for: "a")
                values[number] = step
                if random.next() % 2 == 0 {
                    try await cache.close()
                    open[number] = nil
                }
            } else {
                let cache = try await Cache<String, Int>.open(at: path)
                #expect(try await cache.value(for: "a") == values[number], "seed \(seed), step \(step)")
                open[number] = cache
            }
        }
        for cache in open.values { try await cache.close() }
    }

    @Test(
        "Caches of one store have limits, default expiry and statistics of their own, and are cleared by themselves",
        arguments: 1...4)
    func ownOptions(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let rig = CacheRig()
        let store = try await rig.store()
        let span = Duration.seconds(Int64.random(in: 1...100, using: &random))
        let room = Int.random(in: 2...20, using: &random)
        let count = room + .random(in: 1...30, using: &random)
        let small: Cache<Int, Int> = try await store.cache(
            named: "small", CacheOptions(memory: .entries(room), expiry: Expiry(usable: span), policy: .lru))
        let large: Cache<Int, Int> = try await store.cache(named: "large", CacheOptions(memory: .entries(100)))
        for number in 0..<count {
            try await small.set(number, for: number)
            try await large.set(-number, for: number)
        }
        #expect(small.statistics.memoryEntries == room, "seed \(seed)")
        #expect(large.statistics.memoryEntries == count, "seed \(seed)")
        #expect(try await small.value(for: 0) == 0)
        #expect(try await large.value(for: 0) == 0)
        #expect(small.statistics.diskHits == 1, "seed \(seed)")
        #expect(large.statistics.diskHits == 0, "seed \(seed)")
        rig.clock.advance(by: span)
        #expect(try await small.value(for: 0) == nil, "seed \(seed)")
        #expect(try await large.value(for: 0) == 0)
        try await small.removeAll()
        #expect(try await large.value(for: 1) == -1)
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

    @Test("Each cache of a store lets go of entries by its own policy", arguments: 1...4)
    func ownPolicies(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let store = try await CacheRig().store()
        let count = Int.random(in: 3...50, using: &random)
        func cache(_ name: String, _ policy: EvictionPolicyKind) async throws -> Cache<Int, Int> {
            try await store.cache(named: name, CacheOptions(memory: .entries(count), policy: policy))
        }
        let fifo = try await cache("fifo", .fifo)
        let lru = try await cache("lru", .lru)
        let lfu = try await cache("lfu", .lfu)
        let read = Int.random(in: 1..<count, using: &random)
        for cache in [fifo, lru, lfu] {
            for number in 0..<count { try await cache.set(number, for: number) }
            // The first is read often, but not lately: another one was, all but once.
            for _ in 0..<3 { _ = try await cache.value(for: 0) }
            for number in 1..<count where number != read { _ = try await cache.value(for: number) }
            try await cache.set(count, for: count)
        }
        // The oldest goes, the one that was used longest ago, the one that was used least.
        #expect((0..<count).filter { fifo.valueInMemory(for: $0) == nil } == [0], "seed \(seed)")
        #expect((0..<count).filter { lru.valueInMemory(for: $0) == nil } == [read], "seed \(seed)")
        #expect((0..<count).filter { lfu.valueInMemory(for: $0) == nil } == [read], "seed \(seed)")
        try await store.close()
    }

    @Test("A hit in memory decodes nothing", arguments: 1...4)
    func hits(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        final class Decodings: Sendable { let count = Atomic(0) }
        let decodings = Decodings()
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                decodings.count.add(1, ordering: .relaxed)
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        let rig = CacheRig()
        var options = CacheOptions()
        options.warmRestart = nil
        let cache: Cache<Int, Int> = try await rig.store().cache(named: "c", coding: coding, options, ownsStore: true)
        for key in 0..<20 { try await cache.set(-key, for: key) }
        for _ in 0..<100 {
            let key = Int(random.next() % 20)
            #expect(try await cache.value(for: key) == -key)
        }
        #expect(decodings.count.load(ordering: .relaxed) == 0, "seed \(seed)")
        try await cache.close()
        let again: Cache<Int, Int> = try await rig.store().cache(named: "c", coding: coding, options, ownsStore: true)
        var read: Set<Int> = []
        for _ in 0..<30 {
            let key = Int(random.next() % 20)
            #expect(try await again.value(for: key) == -key)
            read.insert(key)
        }
        #expect(decodings.count.load(ordering: .relaxed) == read.count, "seed \(seed)")
        try await again.close()
    }
}
