import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Pinned entries stay, in memory and on disk, whatever else comes and whoever makes room.
struct PinnedTests {
    /// What on disk is full: the store, or what this cache may take of it.
    enum Bound: CaseIterable, Sendable { case store, quota }

    private func open(_ rig: CacheRig, _ bound: Bound, _ policy: EvictionPolicyKind) async throws -> Cache<Int, Int> {
        let store = try await rig.store { options in
            switch bound {
            case .store: try? options.setDiskLimit(.entries(400))
            case .quota:
                options.diskBudgetBytes = 64 << 20
                options.memtableEntries = 100
            }
        }
        var options = CacheOptions(memory: .entries(16), policy: policy)
        if bound == .quota { options.diskQuota = .entries(300) }
        options.warmRestart = nil
        return try await store.cache(named: "c", options)
    }

    @Test("Whatever comes, from memory and disk others go", arguments: Bound.allCases, 1...7 as ClosedRange<UInt64>)
    func pressure(_ bound: Bound, seed: UInt64) async throws {
        let policies = EvictionPolicyKind.allCases
        let policy = policies[Int(seed) % policies.count]
        let rig = CacheRig()
        var random = SplitMix(seed)
        // The last value of each key, and which of them are pinned: up to half as many again as memory has room for.
        var (values, pinned): ([Int: Int], Set<Int>) = ([:], [])
        for life in 0..<2 {
            let cache = try await open(rig, bound, policy)
            for step in 0..<1500 {
                let key = Int(random.next() % 1000)
                let value = life * 10_000 + step
                switch random.next() % 40 {
                case 0, 1:
                    let isPinned = pinned.count < 24
                    try await cache.set(value, for: key, EntryOptions(isPinned: isPinned))
                    values[key] = value
                    if isPinned { pinned.insert(key) } else { pinned.remove(key) }
                case 2:
                    try await cache.remove(key)
                    values[key] = nil
                    pinned.remove(key)
                case ..<24:
                    if pinned.contains(key) { continue }
                    try await cache.set(value, for: key)
                    values[key] = value
                default:
                    let found = try await cache.value(for: key) { _ in value }
                    if found != value { #expect(found == values[key], "seed \(seed), step \(step), key \(key)") }
                    values[key] = found
                }
                guard step % 50 == 0, life == 0 else { continue }
                for key in pinned {
                    #expect(cache.valueInMemory(for: key) == values[key], "seed \(seed), step \(step), key \(key)")
                }
            }
            try await settle(cache)
            #expect(cache.statistics.evictions > 0, "seed \(seed)")
            #expect(cache.statistics.ownDisk?.entriesEvicted ?? 0 > 0, "seed \(seed): the disk had room for everything")
            for key in pinned { #expect(try await cache.value(for: key) == values[key], "seed \(seed), key \(key)") }
            try await cache.store.close()
        }
    }

    /// Everything is in tables, and what is too much is gone from there.
    private func settle(_ cache: Cache<Int, Int>) async throws {
        guard let engine = cache.store.engine else { return }
        try await engine.flush()
        while !engine.isSettled { try await Task.sleep(for: .milliseconds(2)) }
    }
}
