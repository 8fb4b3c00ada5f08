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
                    expectedEntries: expected, isAuthority: isAuthority, tags: context.tags, now: context.now()))
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

    /// Gives back the memory of what carries a dropped tag: one pass for all drops since the last one, and then a rest of
    /// nine times as long (ten seconds at most), however fast they come. Reads look at the drops.
    func removeDropped() {
        // Before the pass: what is dropped while it lasts is left to the next one.
        let drops = context.tags.generation
        let began = context.now()
        guard sweep.withLock({ $0.drops != drops && $0.restsUntil <= began }) else { return }
        for index in 0..<shardCount {
            pass(through: index) { $0.removeDropped(below: $1, slots: MemoryTier.slotsAtOnce, &$2) }
        }
        let now = context.now()
        sweep.withLock { $0 = DropSweep(drops: drops, restsUntil: now &+ DropSweep.rest(after: now &- began)) }
    }

    /// Begins a removal of many keys from the disk: when this returns none of them is in memory, and nothing comes in until
    /// `endMassRemoval`. `floor`: what has this source version, or a newer one, stays.
    func beginMassRemoval(sparingFrom floor: UInt64? = nil, where matches: (Key) -> Bool) {
        for index in 0..<shardCount {
            withShard(at: index) { $0.beginMassRemoval() }
            pass(through: index) {
                $0.removeMany(
                    below: $1, slots: MemoryTier.slotsAtOnce, sparingFrom: floor, &$2, where: matches)
            }
        }
    }

    /// It happened on disk at `version`; nil: it did not.
    func endMassRemoval(at version: UInt64?, where matches: (Key) -> Bool) {
        for index in 0..<shardCount { withShard(at: index) { $0.endMassRemoval(at: version, where: matches) } }
    }

    /// Removes many keys where memory is the authority. `version`: gives the next one. `floor`: what has this source version,
    /// or a newer one, stays, and `floors` hold from then on.
    func removeMany(
        at version: () -> UInt64, sparingFrom floor: UInt64? = nil, raising floors: PrefixFloors? = nil,
        where matches: @escaping @Sendable (Key) -> Bool
    ) {
        for index in 0..<shardCount {
            // Under the lock, as those of writes: all that is there is older, and what comes is newer.
            let removed = withShard(at: index) { shard in
                let removal = PassingRemoval(
                    version: version(), sparesFrom: floor, floors: floors, matches: matches)
                shard.beginRemoval(removal)
                return removal.version
            }
            pass(through: index) {
                $0.removeMany(
                    below: $1, slots: MemoryTier.slotsAtOnce, olderThan: removed, sparingFrom: floor, &$2,
                    where: matches)
            }
            withShard(at: index) { $0.endRemoval(at: removed) }
        }
    }

    /// Gives back the room of slots that hold nothing, shard by shard where they are many.
    func giveBackRoom() {
        for index in 0..<shardCount where withShard(at: index, { $0.isSparse }) {
            while withShard(at: index, { $0.moveTogether(atMost: MemoryTier.slotsAtOnce) }) {}
        }
    }

    private let sweep = Mutex(DropSweep())

    /// Goes through a shard's slots in steps. Each says where the next one goes on; what leaves ends when the lock is free.
    private func pass(through index: Int, _ step: (inout Shard, Int?, inout Discarded<Key, Value>) -> Int?) {
        var end: Int?
        repeat {
            var discarded = Discarded<Key, Value>()
            end = withShard(at: index) { step(&$0, end, &discarded) }
        } while end != nil
    }

    /// How many slots a pass looks at while a shard's lock is held.
    private static var slotsAtOnce: Int { 256 }

    /// Whether a key, given by its bytes, is held and was hit since this was asked last, or the time before.
    func takeUse(of key: RawSpan) -> Bool {
        let hash = stableHash(key, seed: seed)
        return withShard(hash) { $0.takeUse(of: key, hash) }
    }

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

    /// A time that the present is not after.
    @usableFromInline
    func latest() -> Int64 { clock.recent().latest }
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
