import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What the article on bounding promises of entries that are too large and of quotas, over random traffic.
struct BoundsModelTests {
    struct Blob: Sendable {
        var bytes: Int
    }

    @Test(
        "What is larger than its shard's part is not kept in memory, and what was there stays",
        arguments: EvictionPolicyKind.allCases, 1...4 as ClosedRange<UInt64>)
    func oversized(_ policy: EvictionPolicyKind, _ seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        // One shard to four.
        let limit = [64 << 10, 512 << 10, 1 << 20, 2 << 20][Int(seed % 4)]
        let cache = try Cache<Int, Blob>.inMemory(
            CacheOptions(memory: .bytes(limit), policy: policy), cost: { $0.bytes })
        let part = limit / cache.memory.shardCount
        #expect(cache.memory.shardCount == max(1, limit / (512 << 10)) || seed % 4 == 0)
        /// The cost of the smallest value that is too large.
        let beyond = part - cache.weight(0, cost: 0, extras: 0) + 1
        func held() -> Set<Int> {
            var keys: Set<Int> = []
            for index in 0..<cache.memory.shardCount {
                cache.memory.withShard(at: index) { shard in shard.forEach { keys.insert($0.key) } }
            }
            return keys
        }
        var (kept, refused) = (0, 0)
        for step in 0..<400 {
            let key = Int(random.next() % 80)
            let place = "seed \(seed), step \(step), key \(key)"
            let isLarge = random.next() % 4 == 0
            let most = isLarge ? 4 * part : min(part / 8, beyond)
            let bytes = isLarge && random.next() % 2 == 0 ? 0 : Int(random.next() % UInt64(most))
            let blob = Blob(bytes: isLarge ? beyond + bytes : bytes)
            let before = held()
            switch random.next() % 5 {
            case 0:
                // What is there is no reason to load.
                if before.contains(key) { continue }
                _ = try await cache.value(for: key, load: { _ in blob })
            case 1: try await cache.update(key) { $0 = blob }
            case 2:
                _ = try await cache.value(for: key)
                continue
            default: try await cache.set(blob, for: key)
            }
            if isLarge {
                refused += 1
                #expect(cache.valueInMemory(for: key) == nil, "\(place): \(blob.bytes) of \(part)")
                #expect(held() == before.subtracting([key]), "\(place): \(blob.bytes) evicted something")
            } else if held().contains(key) {
                kept += 1
            }
            #expect(cache.statistics.memoryWeight <= limit, "\(place)")
        }
        #expect(kept > 50 && refused > 50, "seed \(seed)")
        try await cache.close()
    }

    @Test("A quota takes from its own cache alone, whatever it is changed to", arguments: 1...8 as ClosedRange<UInt64>)
    func quotas(seed: UInt64) async throws {
        var run = try await QuotaRun(seed: seed)
        try await run.run(steps: 60)
    }
}

/// Three caches of one store, the first of which never has a quota. Each has what it was given, or less where it has one.
private struct QuotaRun {
    private struct Side {
        let cache: Cache<String, String>
        var values: [String: String] = [:]
        /// Whether it ever had a quota: then it may have forgotten anything.
        var mayForget = false
        var quota: Int?
    }

    private let seed: UInt64
    private var random: SplitMix
    private let store: CacheStore
    private var sides: [Side] = []
    private var writes = 0
    private var place = ""

    init(seed: UInt64) async throws {
        self.seed = seed
        random = SplitMix(course: seed)
        store = try await CacheRig().store { options in
            options.diskBudgetBytes = 64 << 20
            options.memtableEntries = 50
        }
        for name in ["free", "first", "second"] {
            let cache: Cache<String, String> = try await store.cache(named: name, CacheOptions(memory: .entries(10)))
            sides.append(Side(cache: cache))
        }
    }

    private mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    mutating func run(steps: Int) async throws {
        for step in 0..<steps {
            let side = draw(sides.count)
            place = "seed \(seed), step \(step), cache \(side)"
            switch draw(10) {
            case ..<6: try await write(side)
            case ..<7: try await read(side)
            case ..<9:
                guard side > 0 else { continue }
                let quota = [nil, 32, 60, 120][draw(4)]
                try sides[side].cache.setDiskQuota(quota.map { .entries($0) })
                sides[side].quota = quota
                if quota != nil { sides[side].mayForget = true }
            default: try await settle()
            }
        }
        try await settle()
        #expect(sides[0].cache.statistics.ownDisk?.entriesEvicted == 0, "seed \(seed)")
        try await store.close()
    }

    private mutating func write(_ side: Int) async throws {
        for _ in 0..<draw(60) {
            let key = "key \(draw(200))"
            if draw(8) == 0 {
                try await sides[side].cache.remove(key)
                sides[side].values[key] = nil
            } else {
                writes += 1
                try await sides[side].cache.set("value \(writes)", for: key)
                sides[side].values[key] = "value \(writes)"
            }
        }
    }

    private mutating func read(_ side: Int) async throws {
        for _ in 0..<20 {
            let key = "key \(draw(200))"
            let found = try await sides[side].cache.value(for: key)
            let isForgotten = found == nil && sides[side].mayForget
            #expect(found == sides[side].values[key] || isForgotten, "\(place): \(key)")
        }
    }

    /// Once everything is in tables and nothing is left to do, each keeps to its quota, and has lost nothing for another's.
    private func settle() async throws {
        guard let engine = store.engine else { return }
        try await engine.flush()
        while !engine.isSettled { try await Task.sleep(for: .milliseconds(1)) }
        for (number, side) in sides.enumerated() {
            let statistics = side.cache.statistics.ownDisk
            if let quota = side.quota {
                #expect(statistics?.entries ?? .max <= UInt64(quota), "\(place): the quota of cache \(number)")
            }
            if side.mayForget { continue }
            #expect(statistics?.entriesEvicted == 0, "\(place): cache \(number) has no quota")
            for (key, value) in side.values {
                #expect(try await side.cache.value(for: key) == value, "\(place): cache \(number) lost \(key)")
            }
        }
    }
}
