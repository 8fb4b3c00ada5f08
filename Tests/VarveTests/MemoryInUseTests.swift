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
    private static func fill<Value: CacheValue>(
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
        let use = try await fill(cache, 0..<100_000, since: before, value)
        #expect(use.given < use.told * 2, "\(Value.self): \(use)")
        #expect(use.given > use.told / 2, "\(Value.self): \(use)")
        try await cache.close()
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
