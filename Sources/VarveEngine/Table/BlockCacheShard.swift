/// One shard of the block cache: an S3-FIFO.
///
/// New blocks enter a small queue (a tenth of the bytes). What is used there before it reaches the head moves to the main
/// queue, the rest leaves and is remembered by a ghost, so that a scan passes through without touching what is hot; a
/// block that comes back while its ghost lasts goes to the main queue at once. A hit only sets a number.
/// Idea: Yang et al., "FIFO Queues are All You Need for Cache Eviction" (2023). Synchronised by its owner's lock.
@safe
struct BlockCacheShard: ~Copyable {
    @safe
    private struct Slot {
        /// 0: free, or dead (removed while still linked in a queue: `block` is nil then).
        var key: UInt64 = 0
        var block: Unmanaged<CachedBlock.Storage>?
        var charge: UInt32 = 0
        var next: UInt32 = 0
        var uses: UInt8 = 0
    }

    /// A first-in, first-out list of slots, linked through `Slot.next`; 0 ends it.
    private struct Queue {
        var head: UInt32 = 0
        var tail: UInt32 = 0
        var bytes = 0

        mutating func push(_ slot: UInt32, _ slots: UnsafeMutableBufferPointer<Slot>) {
            unsafe slots[Int(slot)].next = 0
            if tail == 0 { head = slot } else { unsafe slots[Int(tail)].next = slot }
            tail = slot
            bytes += unsafe Int(slots[Int(slot)].charge)
        }

        mutating func pop(_ slots: UnsafeMutableBufferPointer<Slot>) -> Int? {
            let slot = Int(head)
            guard slot != 0 else { return nil }
            head = unsafe slots[slot].next
            if head == 0 { tail = 0 }
            bytes -= unsafe Int(slots[slot].charge)
            return slot
        }
    }

    private let capacity: Int
    /// Slot 0 stays unused: it is the null of the links.
    private var slots: UnsafeMutableBufferPointer<Slot>
    private var slotsUsed: UInt32 = 1
    private var freeSlots: UInt32 = 0
    private var small = Queue()
    private var main = Queue()
    private var table: BlockCacheTable
    private var ghosts = BlockCacheGhosts()
    private(set) var statistics = BlockCache.Statistics()

    private static let mostUses: UInt8 = 3

    init(capacity: Int) {
        self.capacity = capacity
        unsafe slots = .allocate(capacity: 64)
        unsafe slots.initialize(repeating: Slot())
        table = BlockCacheTable(capacity: 128)
    }

    deinit {
        for index in 0..<Int(slotsUsed) { unsafe slots[index].block?.release() }
        unsafe slots.deallocate()
    }

    @inline(__always)
    private func find(_ key: BlockKey, _ hash: UInt64) -> UInt32 {
        var probe = table.probe(hash)
        while let slot = table.next(&probe) {
            if unsafe slots[Int(slot)].key == key.rawValue { return slot }
        }
        return 0
    }

    func contains(_ key: BlockKey, _ hash: UInt64) -> Bool { find(key, hash) != 0 }

    @inline(__always)
    mutating func lookup(_ key: BlockKey, _ hash: UInt64) -> CachedBlock? {
        let slot = Int(find(key, hash))
        guard slot != 0 else {
            statistics.misses &+= 1
            return nil
        }
        statistics.hits &+= 1
        if unsafe slots[slot].uses < Self.mostUses { unsafe slots[slot].uses &+= 1 }
        return unsafe (slots[slot].block?.takeUnretainedValue()).map { CachedBlock($0) }
    }

    mutating func insert(_ key: BlockKey, _ hash: UInt64, _ block: CachedBlock) -> CachedBlock {
        let present = find(key, hash)
        if present != 0, let winner = unsafe slots[Int(present)].block {
            return unsafe CachedBlock(winner.takeUnretainedValue())
        }
        // One block may not empty the whole shard; what is larger is read anew each time.
        guard block.charge <= capacity / 4, let charge = UInt32(exactly: block.charge) else { return block }
        while small.bytes + main.bytes + block.charge > capacity { evictOne() }
        let slot = takeSlot()
        unsafe slots[Int(slot)] = Slot(key: key.rawValue, block: .passRetained(block.storage), charge: charge)
        table.insert(hash, slot)
        if ghosts.remove(hash) {
            statistics.ghostHits &+= 1
            unsafe main.push(slot, slots)
        } else {
            unsafe small.push(slot, slots)
        }
        statistics.inserts &+= 1
        statistics.blocks += 1
        statistics.bytes = small.bytes + main.bytes
        return block
    }

    mutating func removeBlocks(ofFile file: UInt64) {
        for index in 1..<max(1, Int(slotsUsed)) {
            guard let key = unsafe BlockKey(rawValue: slots[index].key), key.file == file else { continue }
            // It stays linked in its queue until it reaches the head.
            release(UInt32(index), key)
        }
        statistics.bytes = small.bytes + main.bytes
    }

    private mutating func evictOne() {
        if small.bytes > capacity / 10 || main.head == 0 {
            guard let slot = unsafe small.pop(slots) else { return }
            if unsafe slots[slot].uses > 0 {
                unsafe slots[slot].uses = 0
                unsafe main.push(UInt32(slot), slots)
            } else {
                evict(slot, leavesGhost: true)
            }
        } else {
            guard let slot = unsafe main.pop(slots) else { return }
            if unsafe slots[slot].uses > 0 {
                unsafe slots[slot].uses -= 1
                unsafe main.push(UInt32(slot), slots)
            } else {
                evict(slot, leavesGhost: false)
            }
        }
    }

    /// Drops the block of a slot that is in no queue, and frees the slot.
    private mutating func evict(_ slot: Int, leavesGhost: Bool) {
        if let key = unsafe BlockKey(rawValue: slots[slot].key) {
            if leavesGhost { ghosts.insert(key.hash, among: statistics.blocks) }
            release(UInt32(slot), key)
            statistics.evictions &+= 1
        }
        unsafe slots[slot].next = freeSlots
        freeSlots = UInt32(slot)
    }

    private mutating func release(_ slot: UInt32, _ key: BlockKey) {
        table.remove(key.hash, slot)
        unsafe slots[Int(slot)].block?.release()
        unsafe slots[Int(slot)].block = nil
        unsafe slots[Int(slot)].key = 0
        statistics.blocks -= 1
    }

    private mutating func takeSlot() -> UInt32 {
        if freeSlots != 0 {
            let slot = freeSlots
            freeSlots = unsafe slots[Int(slot)].next
            return slot
        }
        if unsafe Int(slotsUsed) == slots.count {
            let larger = unsafe UnsafeMutableBufferPointer<Slot>.allocate(capacity: slots.count * 2)
            _ = unsafe larger.moveInitialize(fromContentsOf: slots)
            unsafe (larger.baseAddress.unsafelyUnwrapped + slots.count).initialize(
                repeating: Slot(), count: slots.count)
            unsafe slots.deallocate()
            unsafe slots = larger
        }
        slotsUsed += 1
        return slotsUsed - 1
    }
}
