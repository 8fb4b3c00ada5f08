internal import VarvePolicy
public import Synchronization

/// The memory tier: shards by the hash of the key, each behind a lock of its own. Any thread.
@usableFromInline
final class MemoryTier<Key: CacheKey, Value: Sendable>: Sendable {
    @usableFromInline typealias Shard = MemoryShard<Key, Value>

    /// A shard in an object of its own, so that two locks do not share a cache line.
    @usableFromInline
    final class Place: Sendable {
        @usableFromInline let shard: Mutex<Shard>
        init(_ shard: consuming sending Shard) { self.shard = Mutex(shard) }
    }

    @usableFromInline let places: [Place]
    @usableFromInline let context: MemoryContext
    @usableFromInline let seed: UInt64
    let limit: CacheLimit

    init(
        _ limit: CacheLimit, policy: EvictionPolicyKind, context: MemoryContext, isAuthority: Bool, seed: UInt64
    ) {
        self.limit = limit
        self.context = context
        self.seed = seed
        let count = MemoryTier.shardCount(limit)
        let amount = max(1, limit.amount)
        places = (0..<count).map { index in
            // Together the whole, and never more.
            let share = amount / count + (index < amount % count ? 1 : 0)
            let expected = limit.unit == .entries ? share : max(1, share / MemoryTier.typicalBytes)
            return Place(
                Shard(
                    policy: MemoryPolicy(policy.kind, capacity: share, expectedEntries: expected),
                    expectedEntries: expected, isAuthority: isAuthority, now: context.now()))
        }
    }

    /// What an entry is taken to weigh before any is known.
    private static var typicalBytes: Int { 512 }

    /// A cache under a thousand entries is one shard; beyond, as many as serve a machine's cores, none too small for the
    /// policy to tell hot from cold.
    private static func shardCount(_ limit: CacheLimit) -> Int {
        let entries = limit.unit == .entries ? limit.amount : limit.amount / typicalBytes
        var count = 1
        while count < 16, entries / (count * 2) >= 1000 { count *= 2 }
        return count
    }

    @inlinable
    func hash(_ key: Key) -> UInt64 { key.withKeyBytes { stableHash($0, seed: seed) } }

    @inlinable @inline(__always)
    func withShard<R>(_ hash: UInt64, _ body: (inout Shard) -> sending R) -> sending R {
        // The top bits choose the shard, the low ones the place in its table.
        places[Int(truncatingIfNeeded: hash >> 48) & (places.count - 1)].shard.withLock { body(&$0) }
    }

    @inlinable @inline(__always)
    func lookUp(_ key: Key) -> MemoryAnswer<Value> {
        let hash = hash(key)
        return withShard(hash) { $0.lookUp(key, hash, context) }
    }

    /// Changes a shard and lets go of what left it after its lock is free.
    @discardableResult
    func change<R: Sendable>(_ hash: UInt64, _ body: (inout Shard, inout Discarded<Key, Value>) -> R) -> R {
        var discarded = Discarded<Key, Value>()
        return withShard(hash) { body(&$0, &discarded) }
    }

    func changeAll(_ body: (inout Shard, inout Discarded<Key, Value>) -> Void) {
        for place in places {
            var discarded = Discarded<Key, Value>()
            place.shard.withLock { body(&$0, &discarded) }
            discarded.entries.removeAll()
        }
    }

    var counts: MemoryCounts {
        var sum = MemoryCounts()
        for place in places {
            place.shard.withLock { shard in
                sum.add(shard.counts)
                sum.entries += shard.entryCount
                sum.weight += shard.weight
            }
        }
        return sum
    }

    /// Up to `limit` entries, most wanted first: the shards' orders in turn.
    func hottest(_ limit: Int) -> [MemoryEntry<Key, Value>] {
        let share = (limit + places.count - 1) / places.count
        let lists = places.map { place in place.shard.withLock { $0.hottest(share) } }
        var merged: [MemoryEntry<Key, Value>] = []
        for rank in 0..<share {
            for list in lists where rank < list.count { merged.append(list[rank]) }
        }
        return Array(merged.prefix(limit))
    }
}

/// What reads in memory look at beside the entries.
@usableFromInline
struct MemoryContext: Sendable {
    let clock: CacheClock
    let tags: TagRegistry

    @usableFromInline
    func now() -> Int64 { clock.now() }
}

/// What happened in memory, as plain numbers under the shards' locks.
@usableFromInline
struct MemoryCounts: Sendable {
    @usableFromInline var hits: UInt64 = 0
    @usableFromInline var misses: UInt64 = 0
    var causes: [4 of UInt64] = InlineArray(repeating: 0)
    var insertions: UInt64 = 0
    var evictions: UInt64 = 0
    var expired: UInt64 = 0
    var entries = 0
    var weight = 0

    mutating func add(_ other: MemoryCounts) {
        hits &+= other.hits
        misses &+= other.misses
        for index in causes.indices { causes[index] &+= other.causes[index] }
        insertions &+= other.insertions
        evictions &+= other.evictions
        expired &+= other.expired
    }
}
