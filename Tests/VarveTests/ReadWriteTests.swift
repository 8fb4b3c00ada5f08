import Testing
import VarveEngine

@testable import Varve

struct ReadWriteTests {
    @Test("What is set is read until it is overwritten or removed", arguments: CacheRig.Home.allCases)
    func setGetRemove(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        #expect(try await cache.value(for: "a") == nil)
        let first = try await cache.set("1", for: "a")
        #expect(try await cache.value(for: "a") == "1")
        #expect(cache.valueInMemory(for: "a") == "1")
        let second = try await cache.set("2", for: "a")
        #expect(second != first)
        #expect(try await cache.entry(for: "a")?.version == second)
        try await cache.remove("a")
        #expect(try await cache.value(for: "a") == nil)
        #expect(cache.valueInMemory(for: "a") == nil)
        try await cache.close()
    }

    @Test("A cache that is opened again has what was acknowledged, and nothing that was removed")
    func reopened() async throws {
        let rig = CacheRig()
        let cache: Cache<String, String> = try await rig.store().cache(named: "c")
        for number in 0..<100 { try await cache.set("value \(number)", for: "key \(number)") }
        try await cache.remove("key 7")
        try await cache.store.close()
        var cold = CacheOptions()
        cold.warmRestart = nil
        let again: Cache<String, String> = try await rig.store().cache(named: "c", cold)
        for number in 0..<100 {
            #expect(try await again.value(for: "key \(number)") == (number == 7 ? nil : "value \(number)"))
        }
        #expect(again.statistics.diskHits == 99)
        #expect(try await again.value(for: "key 1") == "value 1")
        #expect(again.statistics.memoryHits == 1)
        try await again.store.close()
    }

    @Test("What memory forgets the disk still has")
    func memoryIsBounded() async throws {
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(10))
        options.policy = .lru
        let cache: Cache<String, [UInt8]> = try await rig.store().cache(named: "c", options)
        for number in 0..<100 { try await cache.set([UInt8(number)], for: "\(number)") }
        #expect(cache.statistics.memoryEntries == 10)
        #expect(cache.statistics.evictions == 90)
        for number in 0..<100 { #expect(try await cache.value(for: "\(number)") == [UInt8(number)]) }
        try await cache.store.close()
    }

    @Test("Bytes in memory are counted with keys and overhead, and bounded")
    func bytesAreBounded() async throws {
        let cache = try await CacheRig().cache(.memory, [UInt8].self, CacheOptions(memory: .kilobytes(64)))
        for number in 0..<1000 { try await cache.set([UInt8](repeating: 1, count: 1000), for: "key \(number)") }
        let statistics = cache.statistics
        #expect(statistics.memoryWeight <= 64 << 10)
        #expect(statistics.memoryEntries > 30 && statistics.memoryEntries < 65)
        try await cache.set([UInt8](repeating: 1, count: 100_000), for: "too large for memory")
        #expect(cache.statistics.memoryWeight <= 64 << 10)
    }

    @Test("Pinned entries stay, whatever comes", arguments: EvictionPolicyKind.allCases)
    func pinned(_ policy: EvictionPolicyKind) async throws {
        let options = CacheOptions(memory: .entries(20), policy: policy)
        let cache = try await CacheRig().cache(.memory, Int.self, options)
        for number in 0..<5 { try await cache.set(number, for: "pinned \(number)", EntryOptions(isPinned: true)) }
        for number in 0..<500 { try await cache.set(number, for: "\(number)") }
        for number in 0..<5 { #expect(cache.valueInMemory(for: "pinned \(number)") == number) }
        #expect(cache.statistics.memoryEntries <= 20)
    }

    struct Quote: Codable, Sendable, Equatable {
        var symbol: String
        var price: Double
    }

    @Test("Any Codable is a value, integers and bytes are keys; caches in one store do not see each other")
    func types() async throws {
        let rig = CacheRig()
        let store = try await rig.store()
        let quotes: Cache<Int, Quote> = try await store.cache(named: "quotes")
        let blobs: Cache<[UInt8], String> = try await store.cache(named: "blobs")
        let quote = Quote(symbol: "AA", price: 39.63)
        try await quotes.set(quote, for: -7)
        try await blobs.set("é", for: [0xFF, 0])
        try await store.close()
        let again = try await rig.store()
        let readQuotes: Cache<Int, Quote> = try await again.cache(named: "quotes")
        let readBlobs: Cache<[UInt8], String> = try await again.cache(named: "blobs")
        #expect(try await readQuotes.value(for: -7) == quote)
        #expect(try await readBlobs.value(for: [0xFF, 0]) == "é")
        #expect(try await readQuotes.value(for: 7) == nil)
        try await again.close()
    }

    @Test("Bytes that the value's coding refuses are a miss, and counted")
    func undecodable() async throws {
        let store = try await CacheRig().store()
        var options = CacheOptions()
        // A warm-up would meet the entry as well.
        options.warmRestart = nil
        let texts: Cache<String, String> = try await store.cache(named: "c", options)
        try await texts.set("no number", for: "a")
        try await texts.close()
        let numbers: Cache<String, Int> = try await store.cache(named: "c", options)
        #expect(try await numbers.value(for: "a") == nil)
        #expect(numbers.statistics.undecodable == 1)
        try await store.close()
    }

    @Test("Keys sort by their bytes as they do by themselves")
    func keyOrder() {
        let numbers = [Int.min, -300, -1, 0, 1, 255, 256, Int.max]
        let bytes = numbers.map { number in number.withKeyBytes { [UInt8](copying: $0) } }
        for index in 1..<bytes.count { #expect(bytes[index - 1].lexicographicallyPrecedes(bytes[index])) }
        for (number, bytes) in zip(numbers, bytes) { #expect(unsafe Int(keyBytes: bytes.span.bytes) == number) }
    }

    @Test(
        "Options that cannot be are refused",
        arguments: [
            CacheOptions(memory: .bytes(0)), CacheOptions(disk: .bytes(0)), CacheOptions(expiry: .seconds(0)),
            CacheOptions(expiry: Expiry(usable: .seconds(1), jitter: 2)),
        ])
    func refused(_ options: CacheOptions) async throws {
        await #expect(throws: VarveError.self) {
            try await Cache<String, String>.open(at: "/nowhere", options)
        }
    }
}
