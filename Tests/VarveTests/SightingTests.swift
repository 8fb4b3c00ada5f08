import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What a loader brings to a full disk is stored the second time that it is asked for, over lives of the store; what is
/// written by hand, always.
struct SightingTests {
    @Test("Held against a model, over restarts", arguments: 1...8 as ClosedRange<UInt64>)
    func model(seed: UInt64) async throws {
        let rig = CacheRig()
        var random = SplitMix(seed)
        var (seen, stored): (Set<Int>, [Int: Int]) = ([], [:])
        for life in 0..<3 {
            let eviction = S3FIFOEviction(expectedEntries: 1000)
            let store = try await rig.store(evictingBy: eviction)
            let cache: Cache<Int, Int> = try await store.cache(
                named: "c", CacheOptions(memory: .entries(1), policy: .fifo))
            eviction.noteOccupancy(1)
            var (loads, avoided): (UInt64, UInt64) = (0, 0)
            for step in 0..<100 {
                let key = Int(random.next() % 30)
                let value = life * 1000 + step
                let place = "seed \(seed), life \(life), step \(step), key \(key)"
                switch random.next() % 6 {
                case 0:
                    try await cache.set(value, for: key)
                    stored[key] = value
                case 1:
                    try await cache.remove(key)
                    stored[key] = nil
                default:
                    let found = try await cache.value(for: key) { _ in value }
                    #expect(found == stored[key] ?? value, "\(place)")
                    if stored[key] != nil { break }
                    loads += 1
                    if seen.insert(key).inserted { avoided += 1 } else { stored[key] = value }
                }
                #expect(cache.statistics.loads == loads, "\(place)")
                #expect(cache.statistics.diskWritesAvoided == avoided, "\(place)")
                // Memory has room for one.
                try await cache.set(0, for: -1)
                #expect(try await cache.value(for: key) == stored[key], "\(place)")
                try await cache.set(0, for: -1)
            }
            try await store.close()
        }
    }
}
