import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What Bounding.md promises and what it owns up to; quotas have tests of their own, admission to disk too.
struct BoundingTests {
    /// As large as it says.
    struct Blob: Sendable {
        var bytes: Int
    }

    @Test(
        "Memory never weighs more than its limit, whatever values cost and whatever the policy",
        arguments: EvictionPolicyKind.allCases, 0..<10 as Range<UInt64>)
    func limit(_ policy: EvictionPolicyKind, _ seed: UInt64) async throws {
        var random = SplitMix(seed)
        let limit = Int.random(in: 2000...200_000, using: &random)
        let cache = try Cache<Int, Blob>.inMemory(
            CacheOptions(memory: .bytes(limit), policy: policy), cost: { $0.bytes })
        for step in 0..<300 {
            let key = Int.random(in: 0..<60, using: &random)
            let blob = Blob(bytes: Int.random(in: 0..<limit / 4, using: &random))
            switch Int.random(in: 0..<4, using: &random) {
            case 0: try await cache.set(blob, for: key)
            case 1: _ = try await cache.value(for: key, load: { _ in blob })
            case 2: try await cache.update(key) { $0 = blob }
            default: _ = try await cache.value(for: key)
            }
            let statistics = cache.statistics
            #expect(statistics.memoryWeight <= statistics.memoryLimit, "seed \(seed), step \(step)")
        }
        #expect(cache.statistics.memoryEntries > 0)
        try await cache.close()
    }

    @Test("An entry that alone is larger than memory is not kept there, and evicts nothing", arguments: 0..<3)
    func oversized(_ round: Int) async throws {
        let cache = try Cache<Int, Blob>.inMemory(CacheOptions(memory: .kilobytes(64)), cost: { $0.bytes })
        for number in 0..<5 { try await cache.set(Blob(bytes: 5000), for: number) }
        try await cache.set(Blob(bytes: 70_000 + round), for: 5)
        #expect(cache.valueInMemory(for: 5) == nil)
        for number in 0..<5 { #expect(cache.valueInMemory(for: number) != nil) }
        // In the place of one that was small.
        try await cache.set(Blob(bytes: 70_000 + round), for: 0)
        #expect(cache.valueInMemory(for: 0) == nil)
        for number in 1..<5 { #expect(cache.valueInMemory(for: number) != nil) }
        try await cache.close()
    }

    @Test("Pinned entries exceed memory's limit where they are more, and nothing else stays there then")
    func pinnedInMemory() async throws {
        let cache = try Cache<Int, Blob>.inMemory(CacheOptions(memory: .entries(10)))
        for number in 0..<20 { try await cache.set(Blob(bytes: 0), for: number, EntryOptions(isPinned: true)) }
        for number in 20..<40 { try await cache.set(Blob(bytes: 0), for: number) }
        for number in 0..<20 { #expect(cache.valueInMemory(for: number) != nil) }
        #expect(cache.statistics.memoryEntries == 20)
        // Written without its pin it is one of the others.
        try await cache.set(Blob(bytes: 0), for: 0)
        #expect(cache.valueInMemory(for: 0) == nil)
        try await cache.close()
    }

    @Test("Pinned entries that use the disk's bound up stop writes; reads go on, and a larger bound lets them in again")
    func pinnedOnDisk() async throws {
        let rig = CacheRig()
        func open(_ entries: Int) async throws -> Cache<String, Int> {
            let store = try await rig.store {
                try? $0.setDiskLimit(.entries(entries))
                $0.stallLimit = .milliseconds(50)
            }
            return try await store.cache(named: "c", CacheOptions(memory: .entries(10)))
        }
        let cache = try await open(100)
        var refusal: VarveError.Code?
        var written = 0
        while refusal == nil, written < 1000 {
            refusal = await code { try await cache.set(written, for: "\(written)", EntryOptions(isPinned: true)) }
            if refusal == nil { written += 1 }
        }
        #expect(refusal == .diskFull && written >= 90, "\(written) written")
        for number in 0..<written { #expect(try await cache.value(for: "\(number)") == number) }
        try await cache.store.close()
        let larger = try await open(1000)
        try await larger.remove("0")
        try await larger.set(-1, for: "1")
        for number in 2..<written { #expect(try await larger.value(for: "\(number)") == number) }
        #expect(try await larger.value(for: "0") == nil)
        try await larger.store.close()
    }
}
