import CVarveAllocations
import Testing

@testable import Varve

/// What memory says that it weighs beside what the allocator has given: in processes of their own, where nothing else runs.
struct MemoryInUseTests {
    private struct Use {
        /// By the allocator.
        var given: Double
        /// By the cache.
        var told: Double
    }

    private static let limit = 16_000_000

    /// Fills a cache.
    private static func fill<Value: Sendable>(
        _ cache: Cache<Int, Value>, _ keys: Range<Int>, since before: UInt64, _ value: (Int) -> Value
    ) async throws -> Use {
        for key in keys { try await cache.set(value(key), for: key) }
        await cache.store.maintained()
        return Use(
            given: Double(varve_allocated_bytes()) - Double(before), told: Double(cache.statistics.memoryWeight))
    }

    private static func shrink(_ policy: EvictionPolicyKind) async throws {
        let before = varve_allocated_bytes()
        let options = CacheOptions(memory: .bytes(limit), policy: policy)
        let cache = try Cache<Int, [UInt8]>.inMemory(options)
        _ = try await fill(cache, 0..<100_000, since: before) { _ in [] }
        let use = try await fill(cache, 100_000..<100_600, since: before) {
            [UInt8](repeating: UInt8($0 % 100), count: 50_000)
        }
        #expect(use.told > Double(limit) / 2, "\(policy): \(use)")
        // With what is remembered of those that went, and the slots that each shard keeps.
        #expect(use.given < use.told * 2, "\(policy): \(use)")
        try await cache.close()
    }

    private static func compare<Value: CacheValue>(_ value: (Int) -> Value) async throws {
        let before = varve_allocated_bytes()
        let cache = try Cache<Int, Value>.inMemory(CacheOptions(memory: .bytes(limit)))
        try await compare(cache, 100_000, since: before, value)
    }

    /// Values that are kept as JSON: memory holds what was decoded from it.
    private static func compareCoded<Value: Codable & Sendable>(
        _ keys: Int = 20_000, _ value: (Int) -> Value
    ) async throws {
        let before = varve_allocated_bytes()
        let cache = try Cache<Int, Value>.inMemory(CacheOptions(memory: .bytes(limit)))
        try await compare(cache, keys, since: before, value)
    }

    private static func compare<Value: Sendable>(
        _ cache: Cache<Int, Value>, _ keys: Int, since before: UInt64, _ value: (Int) -> Value
    ) async throws {
        let use = try await fill(cache, 0..<keys, since: before, value)
        #expect(use.given < use.told * 2, "\(Value.self): \(use)")
        #expect(use.given > use.told / 2, "\(Value.self): \(use)")
        try await cache.close()
    }

    /// Most of what there could be is not there, nor in the text.
    private struct Sparse: Codable {
        var id: Int
        var texts: [String?] = []
        var a, b, c, d, e, f, g, h, i, j: String?
        var k, l, m, n, o, p, q, r, s, t: Int?

        init(_ number: Int) {
            id = number
            b = String(repeating: "b", count: number % 20)
        }
    }

    private struct Person: Codable {
        var name: String
        var about: String
        var visits: [Int]

        init(_ number: Int) {
            name = "a name, as they come: \(number)"
            about = String(repeating: "x", count: 200 + number % 100)
            visits = (0..<20).map { $0 * number }
        }
    }

    @Test("Values that are kept as JSON take about what is estimated, however short or long their text")
    func coded() async {
        await #expect(processExitsWith: .success) {
            guard varve_allocations_are_counted() else { return }
            try await MemoryInUseTests.compareCoded { number in (0..<80).map { ($0 + number) % 10 } }
            try await MemoryInUseTests.compareCoded { number in (0..<80).map { 1 / Double($0 + number + 1) } }
            try await MemoryInUseTests.compareCoded { number in (0..<40).map { "\($0 + number)" } }
            try await MemoryInUseTests.compareCoded { number in
                Dictionary(uniqueKeysWithValues: (0..<40).map { ("key \($0)", number) })
            }
            for length in [36, 96] {
                let name = String(repeating: "k", count: length)
                try await MemoryInUseTests.compareCoded { number in
                    Dictionary(uniqueKeysWithValues: (1000..<1040).map { ("\(name)\($0)", number) })
                }
            }
            try await MemoryInUseTests.compareCoded { Person($0) }
        }
    }

    @Test(
        "So do arrays of small numbers, collections within others, and structs whose fields are nil for the most part")
    func shapes() async {
        await #expect(processExitsWith: .success) {
            guard varve_allocations_are_counted() else { return }
            try await MemoryInUseTests.compareCoded(4000) { number in
                (0..<400).map { UInt16(truncatingIfNeeded: $0 + number) }
            }
            try await MemoryInUseTests.compareCoded(4000) { number in
                (0..<400).map { Int8(truncatingIfNeeded: $0 + number) }
            }
            try await MemoryInUseTests.compareCoded(4000) { number in (0..<400).map { ($0 + number) % 2 == 0 } }
            try await MemoryInUseTests.compareCoded(4000) { number in (0..<500).map { $0 % 9 == 0 ? $0 + number : nil }
            }
            try await MemoryInUseTests.compareCoded(4000) { number in
                (0..<20).map { row in (0..<100).map { UInt8(truncatingIfNeeded: $0 * row + number) } }
            }
            try await MemoryInUseTests.compareCoded(4000) { number in Set((0..<300).map { Int32($0 * (number + 1)) }) }
            try await MemoryInUseTests.compareCoded(4000) { number in
                Dictionary(uniqueKeysWithValues: (0..<10).map { ("key \($0)", (0..<60).map { Float($0 + number) }) })
            }
            try await MemoryInUseTests.compareCoded(4000) { Sparse($0) }
            try await MemoryInUseTests.compareCoded(4000) { number in (0..<20).map { Sparse($0 + number) } }
            try await MemoryInUseTests.compareCoded(4000) { number in
                Dictionary(uniqueKeysWithValues: (0..<20).map { ($0, Sparse($0 + number)) })
            }
        }
    }

    @Test("What many small entries took is given back when few large ones have taken their place")
    func shrinks() async {
        await #expect(processExitsWith: .success) {
            guard varve_allocations_are_counted() else { return }
            for policy in [EvictionPolicyKind.adaptive, .lfu] { try await MemoryInUseTests.shrink(policy) }
        }
    }

    @Test("Whatever values are, memory takes about what it says")
    func honest() async {
        await #expect(processExitsWith: .success) {
            guard varve_allocations_are_counted() else { return }
            try await MemoryInUseTests.compare { $0 }
            try await MemoryInUseTests.compare { "a string that lies outside of itself: \($0)" }
            try await MemoryInUseTests.compare { [UInt8](repeating: 1, count: 100 + $0 % 100) }
        }
    }
}
