import Synchronization
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What values weigh where there is no disk.
struct CostTests {
    /// Small by its layout, large by what it holds.
    struct Page: Codable, Sendable, Equatable {
        var title: String
        var text: String

        init(_ number: Int) {
            title = "page \(number)"
            text = String(repeating: "x", count: 100_000)
        }
    }

    @Test("A cache in memory alone keeps its bound in bytes with values that hold what is elsewhere")
    func codable() async throws {
        let cache = try Cache<Int, Page>.inMemory(CacheOptions(memory: .megabytes(1)))
        for number in 0..<50 { try await cache.set(Page(number), for: number) }
        // Ten of a hundred thousand bytes would be as much as there may be, were nothing else counted.
        #expect(cache.statistics.memoryEntries <= 10)
        #expect(cache.statistics.memoryEntries >= 1)
        #expect(cache.statistics.evictions >= 40)
        #expect(try await cache.value(for: 1000, load: { Page($0) }) == Page(1000))
        try await cache.close()
    }

    @Test("The cost of a Codable value is what its JSON stands for, whatever the text's length")
    func json() {
        func cost(_ text: String) -> Int { JSONCost.inMemory(of: Array(text.utf8)) }
        #expect(cost("[1,2,3]") == 32 + 3 * 12)
        #expect(cost("[1.2345678901,-1e300]") == 32 + 2 * 12)
        #expect(cost("[true,null]") == 32 + 2 * 12)
        #expect(cost(#"{"name":"Bob","age":3}"#) == 32 + 2 * 8 + 16 + 12)
        // What stands in a string is no structure, nor does an escaped quote end it.
        #expect(cost(#"["[1,2,\"3]"]"#) == 32 + 16)
        #expect(cost(#"["sixteen bytes it"]"#) == 32 + 16 + 16 + 32)
        #expect(cost(#""\\""#) == 16)
        // A name may be a dictionary's key, which lies outside of itself where it is long.
        #expect(cost(#"{"fifteen bytes i":1}"#) == 32 + 8 + 12)
        #expect(cost(#"{"sixteen bytes it":1}"#) == 32 + 8 + 16 + 32 + 12)
        // No text of an encoder's.
        #expect(cost(#"["#) == 32)
        #expect(cost(#"["abc\"#) >= 32)
        #expect(cost("") == 0)
    }

    /// Neither `Codable` nor able to say what it costs.
    struct Opaque: Sendable {
        var bytes: [UInt8]
    }

    @Test("Who caches values of any type says what they cost")
    func given() async throws {
        let cache = try Cache<Int, Opaque>.inMemory(CacheOptions(memory: .megabytes(1)), cost: { $0.bytes.count })
        for number in 0..<50 { try await cache.set(Opaque(bytes: Array(repeating: 0, count: 100_000)), for: number) }
        #expect((8...10).contains(cache.statistics.memoryEntries))
        try await cache.close()
    }

    @Test("No cost is asked for where entries are counted, and a wild one does no harm")
    func wild() async throws {
        let asked = Mutex(0)
        let cost: @Sendable (Opaque) -> Int = { value in
            asked.withLock { $0 += 1 }
            return value.bytes.isEmpty ? .min : .max
        }
        let counted = try Cache<Int, Opaque>.inMemory(CacheOptions(memory: .entries(10)), cost: cost)
        try await counted.set(Opaque(bytes: []), for: 1)
        #expect(asked.withLock { $0 } == 0)
        try await counted.close()
        let weighed = try Cache<Int, Opaque>.inMemory(CacheOptions(memory: .megabytes(1)), cost: cost)
        try await weighed.set(Opaque(bytes: []), for: 1)
        try await weighed.set(Opaque(bytes: [1]), for: 2)
        #expect(asked.withLock { $0 } == 2)
        #expect(weighed.valueInMemory(for: 1) != nil)
        #expect(weighed.valueInMemory(for: 2) == nil)
        try await weighed.close()
    }

    @Test("A value that cannot be encoded is kept in memory all the same")
    func unencodable() async throws {
        struct Mute: Codable {
            struct Refusal: Error {}
            var number: Int
            func encode(to encoder: any Encoder) throws { throw Refusal() }
        }
        let cache = try Cache<Int, Mute>.inMemory(CacheOptions(memory: .megabytes(1)))
        try await cache.set(Mute(number: 7), for: 1)
        #expect(try await cache.value(for: 1)?.number == 7)
        try await cache.close()
    }

    @Test("A named cache takes a coding of one's own, and its cost")
    func ownCoding() async throws {
        let rig = CacheRig()
        let coding = ValueCoding<Opaque>(
            encode: { $0.bytes.reversed() }, decode: { Opaque(bytes: $0.reversed()) }, cost: { $0.bytes.count })
        let store = try await rig.store()
        let cache: Cache<Int, Opaque> = try await store.cache(
            named: "pages", coding: coding, CacheOptions(memory: .megabytes(1)))
        for number in 0..<50 {
            let bytes = [UInt8(number)] + Array(repeating: 0 as UInt8, count: 100_000)
            try await cache.set(Opaque(bytes: bytes), for: number)
        }
        #expect((8...10).contains(cache.statistics.memoryEntries))
        #expect(try await cache.value(for: 3)?.bytes.first == 3)
        let disk = try #require(cache.disk)
        #expect(try await disk.entry(cache.keyBytes(3))?.bytes.last == 3)
        try await store.close()
        let again: Cache<Int, Opaque> = try await rig.store().cache(named: "pages", coding: coding)
        #expect(try await again.value(for: 3)?.bytes.first == 3)
        try await again.store.close()
    }
}
