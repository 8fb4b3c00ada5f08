internal import VarvePolicy
public import Synchronization

/// The memory tier: shards by the hash of the key, each behind a lock of its own. Any thread.
@usableFromInline
@safe
final class MemoryTier<Key: CacheKey, Value: Sendable>: @unchecked Sendable {
    // Unchecked: the places lie in raw memory of their own, each guarded by its lock; the rest is constant.

    @usableFromInline typealias Shard = MemoryShard<Key, Value>

    /// A shard behind its lock, padded, so that two locks do not share a cache line.
    @usableFromInline
    struct Place: ~Copyable {
        @usableFromInline let shard: Mutex<Shard>
        private let padding: [16 of UInt64] = InlineArray(repeating: 0)
        init(_ shard: consuming sending Shard) { self.shard = Mutex(shard) }
    }

    /// One behind the other and not objects: a read neither retains nor releases what all threads would meet at.
    @usableFromInline let places: UnsafeMutablePointer<Place>
    /// A power of two.
    @usableFromInline let shardCount: Int
    @usableFromInline let context: MemoryContext
    @usableFromInline let seed: UInt64
    let limit: CacheLimit
    @usableFromInline let countsEntries: Bool

    init(
        _ limit: CacheLimit, policy: EvictionPolicyKind, context: MemoryContext, isAuthority: Bool, seed: UInt64
    ) {
        self.limit = limit
        countsEntries = limit.unit == .entries
        self.context = context
        self.seed = seed
        let count = MemoryTier.shardCount(limit)
        let amount = max(1, limit.amount)
        shardCount = count
        unsafe places = .allocate(capacity: count)
        for index in 0..<count {
            // Together the whole, and never more.
            let share = amount / count + (index < amount % count ? 1 : 0)
            let expected = limit.unit == .entries ? share : max(1, share / MemoryTier.typicalBytes)
            let place = Place(
                Shard(
                    policy: MemoryPolicy(policy.kind, capacity: share, expectedEntries: expected),
                    expectedEntries: expected, isAuthority: isAuthority, now: context.now()))
            unsafe (places + index).initialize(to: place)
        }
    }

    deinit {
        unsafe places.deinitialize(count: shardCount)
        unsafe places.deallocate()
    }

    /// What an entry is taken to weigh before any is known.
    private static var typicalBytes: Int { 512 }

    /// A cache of fewer than 2000 entries is one shard; beyond, as many as serve a machine's cores, none below a thousand
    /// entries: too few for the policy to tell hot from cold.
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
        unsafe places[Int(truncatingIfNeeded: hash >> 48) & (shardCount - 1)].shard.withLock { body(&$0) }
    }

    /// The shard of that number.
    func withShard<R>(at index: Int, _ body: (inout Shard) -> sending R) -> sending R {
        precondition(index >= 0 && index < shardCount, "there is no such shard")
        return unsafe places[index].shard.withLock { body(&$0) }
    }

    @inlinable @inline(__always)
    func lookUp(_ key: Key) -> MemoryAnswer<Value> {
        let hash = hash(key)
        return withShard(hash) { $0.lookUp(key, hash, context) }
    }

    /// Changes a shard and lets go of what left it after its lock is free.
    @discardableResult @inlinable
    func change<R: Sendable>(_ hash: UInt64, _ body: (inout Shard, inout Discarded<Key, Value>) -> R) -> R {
        var discarded = Discarded<Key, Value>()
        return withShard(hash) { body(&$0, &discarded) }
    }

    func changeAll(_ body: (inout Shard, inout Discarded<Key, Value>) -> Void) {
        for index in 0..<shardCount {
            var discarded = Discarded<Key, Value>()
            withShard(at: index) { body(&$0, &discarded) }
        }
    }

    /// Gives back the memory of what has expired; each shard is held for a few entries at a time.
    func removeExpired(_ now: Int64) {
        for index in 0..<shardCount {
            var hasMore = true
            while hasMore {
                var discarded = Discarded<Key, Value>()
                hasMore = withShard(at: index) {
                    $0.removeExpired(now, atMost: MemoryTier.expiredAtOnce, &discarded)
                }
            }
        }
    }

    /// How many entries expire, or find another place in the timer wheel, while a shard's lock is held.
    private static var expiredAtOnce: Int { 128 }

    var counts: MemoryCounts {
        var sum = MemoryCounts()
        for index in 0..<shardCount {
            withShard(at: index) { shard in
                sum.add(shard.counts)
                sum.entries += shard.entryCount
                sum.weight += shard.weight
            }
        }
        return sum
    }

    /// Up to `limit` entries, most wanted first: the shards' orders in turn.
    func hottest(_ limit: Int) -> [MemoryEntry<Key, Value>] {
        let share = (max(1, limit) - 1) / shardCount + 1
        let lists = (0..<shardCount).map { index in withShard(at: index) { $0.hottest(share) } }
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
    let chance: Chance

    @usableFromInline
    func now() -> Int64 { clock.now() }
}

/// What happened in memory, as plain numbers under the shards' locks.
@usableFromInline
struct MemoryCounts: Sendable {
    @usableFromInline var hits: UInt64 = 0
    var causes: [4 of UInt64] = InlineArray(repeating: 0)
    var insertions: UInt64 = 0
    var evictions: UInt64 = 0
    var expired: UInt64 = 0
    var entries = 0
    var weight = 0

    mutating func add(_ other: MemoryCounts) {
        hits &+= other.hits
        for index in causes.indices { causes[index] &+= other.causes[index] }
        insertions &+= other.insertions
        evictions &+= other.evictions
        expired &+= other.expired
    }
}
