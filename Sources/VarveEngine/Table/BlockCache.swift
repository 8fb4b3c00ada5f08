internal import Synchronization

/// Which block of which file. One word: the file number's low 40 bits, then 24 bits of block number.
struct BlockKey: Hashable, Sendable {
    let rawValue: UInt64

    /// Nil where the numbers do not fit, which no real store reaches: such a block is not cached.
    @inline(__always)
    init?(file: UInt64, block: Int) {
        guard file > 0, file < 1 << 40, block < IndexFormat.blockLimit else { return nil }
        rawValue = file << 24 | UInt64(truncatingIfNeeded: block)
    }

    /// Nil for 0, which names no block.
    init?(rawValue: UInt64) {
        guard rawValue != 0 else { return nil }
        self.rawValue = rawValue
    }

    @inline(__always)
    var hash: UInt64 { XXH3.seed(rawValue, 0) }
    var file: UInt64 { rawValue >> 24 }
}

/// The decompressed blocks of all open tables, bounded in bytes.
///
/// Sharded by key; each shard is an S3-FIFO behind a lock that is held for some ten instructions. A hit costs no more than
/// lock, probe and one retain. Safe on any thread.
@safe
final class BlockCache: @unchecked Sendable {
    // Unchecked: the shards lie in raw memory of their own, each guarded by its lock; the rest is constant.

    struct Statistics: Hashable, Sendable {
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var inserts: UInt64 = 0
        var evictions: UInt64 = 0
        /// Blocks that came back soon after their eviction and went straight to the main queue.
        var ghostHits: UInt64 = 0
        var bytes = 0
        var blocks = 0
    }

    /// Padded to two cache lines, so that neighbours' locks do not disturb each other.
    private struct Padded: ~Copyable {
        let shard: Mutex<BlockCacheShard>
        private let padding = (0 as UInt64, 0 as UInt64, 0 as UInt64, 0 as UInt64)
        init(capacity: Int) { shard = Mutex(BlockCacheShard(capacity: capacity)) }
    }

    let capacity: Int
    private let shards: UnsafeMutablePointer<Padded>
    private let shardCount: Int
    private let shardShift: UInt64

    private static let smallestShard = 2 << 20
    private static let largestShardCount = 32

    /// Holds up to `capacity` bytes of blocks (their overhead counted in).
    init(capacity: Int) {
        self.capacity = max(0, capacity)
        var count = 1
        while count < Self.largestShardCount, self.capacity / (count * 2) >= Self.smallestShard { count *= 2 }
        shardCount = count
        shardShift = UInt64(64 - count.trailingZeroBitCount)
        unsafe shards = .allocate(capacity: count)
        for index in 0..<count { unsafe (shards + index).initialize(to: Padded(capacity: self.capacity / count)) }
    }

    deinit {
        unsafe shards.deinitialize(count: shardCount)
        unsafe shards.deallocate()
    }

    @inline(__always)
    private func shardIndex(_ hash: UInt64) -> Int {
        shardCount == 1 ? 0 : Int(truncatingIfNeeded: hash &>> shardShift)
    }

    /// The block, if it is here.
    @inline(__always)
    func lookup(_ key: BlockKey) -> CachedBlock? {
        let hash = key.hash
        return unsafe shards[shardIndex(hash)].shard.withLock { $0.lookup(key, hash) }
    }

    /// Whether the block is here, without counting as a use.
    func contains(_ key: BlockKey) -> Bool {
        let hash = key.hash
        return unsafe shards[shardIndex(hash)].shard.withLock { $0.contains(key, hash) }
    }

    /// Puts the block in; another thread may have been first, and what counts is what this returns.
    func insert(_ key: BlockKey, _ block: CachedBlock) -> CachedBlock {
        let hash = key.hash
        return unsafe shards[shardIndex(hash)].shard.withLock { $0.insert(key, hash, block) }
    }

    /// Forgets every block of a file that is gone.
    func removeBlocks(ofFile file: UInt64) {
        for index in 0..<shardCount { unsafe shards[index].shard.withLock { $0.removeBlocks(ofFile: file) } }
    }

    var statistics: Statistics {
        var sum = Statistics()
        for index in 0..<shardCount {
            let part = unsafe shards[index].shard.withLock { $0.statistics }
            sum.hits += part.hits
            sum.misses += part.misses
            sum.inserts += part.inserts
            sum.evictions += part.evictions
            sum.ghostHits += part.ghostHits
            sum.bytes += part.bytes
            sum.blocks += part.blocks
        }
        return sum
    }
}
