/// Which entries leave memory first.
public enum PolicyKind: String, Sendable, CaseIterable {
    /// The one that was in longest.
    case fifo
    /// The one that was not used longest.
    case lru
    /// The one used least often, with dynamic aging.
    case lfu
    /// S3-FIFO: quick demotion of what is seen once.
    case s3FIFO = "s3-fifo"
    /// W-TinyLFU: a window and a segmented LRU behind a frequency sketch.
    case wTinyLFU = "w-tinylfu"
    /// S3-FIFO's queues, LIRS' admission, and a window whose width is chosen by trial: the best hit ratio measured.
    case adaptive
}

/// The eviction policy of one shard: a choice of six, held concretely, so that no call goes through a witness table.
///
/// The caller names an entry by its slot in an array of its own. It admits what came in, asks for victims until there is
/// none, and tells of hits and of what leaves otherwise:
///
///     policy.admit(slot, hash: hash, weight: weight)
///     while let left = policy.victim() { remove(left) }
///
/// Not thread-safe: the shard's lock guards it. Operations allocate nothing once the arrays have their size.
public struct MemoryPolicy: Sendable {
    public let kind: PolicyKind
    private var fifo: FIFOQueue?
    private var lru: LRUQueue?
    private var lfu: LFUQueue?
    private var s3FIFO: S3FIFOQueue?
    private var wTinyLFU: TinyLFUQueue?
    private var adaptive: AdaptiveQueue?
    /// Slots that alone weigh more than the capacity: they leave at once, without a trace.
    private var oversized: [UInt32] = []

    /// - Parameters:
    ///   - capacity: the weight that may stay, in the unit of the entries' weights.
    ///   - expectedEntries: how many entries that will be; for a capacity in entries, that.
    public init(_ kind: PolicyKind, capacity: Int, expectedEntries: Int) {
        self.kind = kind
        let capacity = max(0, capacity)
        self.capacity = capacity
        switch kind {
        case .fifo: fifo = FIFOQueue(capacity: capacity, expectedEntries: expectedEntries)
        case .lru: lru = LRUQueue(capacity: capacity, expectedEntries: expectedEntries)
        case .lfu: lfu = LFUQueue(capacity: capacity, expectedEntries: expectedEntries)
        case .s3FIFO: s3FIFO = S3FIFOQueue(capacity: capacity, expectedEntries: expectedEntries)
        case .wTinyLFU: wTinyLFU = TinyLFUQueue(capacity: capacity, expectedEntries: expectedEntries)
        case .adaptive: adaptive = AdaptiveQueue(capacity: capacity, expectedEntries: expectedEntries)
        }
    }

    /// The weight of all that is in.
    public var weight: Int {
        switch kind {
        case .adaptive: adaptive?.weight ?? 0
        case .lru: lru?.weight ?? 0
        case .s3FIFO: s3FIFO?.weight ?? 0
        case .wTinyLFU: wTinyLFU?.weight ?? 0
        case .lfu: lfu?.weight ?? 0
        case .fifo: fifo?.weight ?? 0
        }
    }

    /// How many are in.
    public var count: Int {
        switch kind {
        case .adaptive: adaptive?.count ?? 0
        case .lru: lru?.count ?? 0
        case .s3FIFO: s3FIFO?.count ?? 0
        case .wTinyLFU: wTinyLFU?.count ?? 0
        case .lfu: lfu?.count ?? 0
        case .fifo: fifo?.count ?? 0
        }
    }

    /// The weight that may stay. After it fell there are victims.
    public var capacity: Int {
        didSet {
            capacity = max(0, capacity)
            switch kind {
            case .adaptive: adaptive?.capacity = capacity
            case .lru: lru?.capacity = capacity
            case .s3FIFO: s3FIFO?.capacity = capacity
            case .wTinyLFU: wTinyLFU?.capacity = capacity
            case .lfu: lfu?.capacity = capacity
            case .fifo: fifo?.capacity = capacity
            }
        }
    }

    /// A read found the entry.
    @inline(__always)
    public mutating func hit(_ slot: Int) {
        guard oversized.isEmpty else { return }
        let slot = UInt32(truncatingIfNeeded: slot)
        switch kind {
        case .adaptive: adaptive?.hit(slot)
        case .lru: lru?.hit(slot)
        case .s3FIFO: s3FIFO?.hit(slot)
        case .wTinyLFU: wTinyLFU?.hit(slot)
        case .lfu: lfu?.hit(slot)
        case .fifo: fifo?.hit(slot)
        }
    }

    /// An entry came in. It is not in already.
    ///
    /// - Parameter hash: of the key, 64 good bits, the same in every process that is to take up the state.
    public mutating func admit(_ slot: Int, hash: UInt64, weight: Int, isPinned: Bool = false) {
        let slot = UInt32(slot)
        if weight > capacity, !isPinned { return oversized.append(slot) }
        let hash = SlotQueues.mixed(hash)
        switch kind {
        case .adaptive: adaptive?.admit(slot, hash: hash, weight: weight, isPinned: isPinned)
        case .lru: lru?.admit(slot, hash: hash, weight: weight, isPinned: isPinned)
        case .s3FIFO: s3FIFO?.admit(slot, hash: hash, weight: weight, isPinned: isPinned)
        case .wTinyLFU: wTinyLFU?.admit(slot, hash: hash, weight: weight, isPinned: isPinned)
        case .lfu: lfu?.admit(slot, hash: hash, weight: weight, isPinned: isPinned)
        case .fifo: fifo?.admit(slot, hash: hash, weight: weight, isPinned: isPinned)
        }
    }

    /// An entry was written again, pinned or unpinned. That is not a read.
    public mutating func update(_ slot: Int, weight: Int, isPinned: Bool) {
        let slot = UInt32(slot)
        guard !oversized.contains(slot) else { return }
        if weight > capacity, !isPinned {
            remove(Int(slot))
            return oversized.append(slot)
        }
        switch kind {
        case .adaptive: adaptive?.update(slot, weight: weight, isPinned: isPinned)
        case .lru: lru?.update(slot, weight: weight, isPinned: isPinned)
        case .s3FIFO: s3FIFO?.update(slot, weight: weight, isPinned: isPinned)
        case .wTinyLFU: wTinyLFU?.update(slot, weight: weight, isPinned: isPinned)
        case .lfu: lfu?.update(slot, weight: weight, isPinned: isPinned)
        case .fifo: fifo?.update(slot, weight: weight, isPinned: isPinned)
        }
    }

    /// An entry that is in left for another reason than the policy's.
    public mutating func remove(_ slot: Int) {
        let slot = UInt32(slot)
        if !oversized.isEmpty, let index = oversized.firstIndex(of: slot) {
            oversized.remove(at: index)
            return
        }
        switch kind {
        case .adaptive: adaptive?.remove(slot)
        case .lru: lru?.remove(slot)
        case .s3FIFO: s3FIFO?.remove(slot)
        case .wTinyLFU: wTinyLFU?.remove(slot)
        case .lfu: lfu?.remove(slot)
        case .fifo: fifo?.remove(slot)
        }
    }

    /// An entry that is in has moved from its slot to one that was free. It stands where it stood, and is worth what it was.
    public mutating func renumber(_ slot: Int, to other: Int) {
        let (slot, other) = (UInt32(slot), UInt32(other))
        if let index = oversized.firstIndex(of: slot) { return oversized[index] = other }
        switch kind {
        case .adaptive: adaptive?.renumber(slot, to: other)
        case .lru: lru?.renumber(slot, to: other)
        case .s3FIFO: s3FIFO?.renumber(slot, to: other)
        case .wTinyLFU: wTinyLFU?.renumber(slot, to: other)
        case .lfu: lfu?.renumber(slot, to: other)
        case .fifo: fifo?.renumber(slot, to: other)
        }
    }

    /// Gives back the room of the slots from this one on, none of which is in.
    public mutating func giveBackRoom(from count: Int) {
        switch kind {
        case .adaptive: adaptive?.giveBackRoom(from: count)
        case .lru: lru?.giveBackRoom(from: count)
        case .s3FIFO: s3FIFO?.giveBackRoom(from: count)
        case .wTinyLFU: wTinyLFU?.giveBackRoom(from: count)
        case .lfu: lfu?.giveBackRoom(from: count)
        case .fifo: fifo?.giveBackRoom(from: count)
        }
    }

    /// The entry to evict next, which the policy has let go; nil while the weight is within the capacity, or when all that
    /// is left is pinned.
    public mutating func victim() -> Int? {
        if let slot = oversized.popLast() { return Int(slot) }
        let slot: UInt32?
        switch kind {
        case .adaptive: slot = adaptive?.victim()
        case .lru: slot = lru?.victim()
        case .s3FIFO: slot = s3FIFO?.victim()
        case .wTinyLFU: slot = wTinyLFU?.victim()
        case .lfu: slot = lfu?.victim()
        case .fifo: slot = fifo?.victim()
        }
        return slot.map { Int($0) }
    }

    /// A read found nothing, and nothing will be admitted for it.
    public mutating func recordMiss(hash: UInt64) {
        if kind == .wTinyLFU { wTinyLFU?.recordMiss(hash: SlotQueues.mixed(hash)) }
    }

    /// Whether an entry that was read from a slower tier, which keeps it, should come in: while there is room, then if its
    /// key was seen a short while ago, and else if such reads have paid off lately. No remembers the sighting, and the entry
    /// is not admitted; after yes it is. Not for pinned ones, which come in whatever is known.
    public mutating func admitsRead(hash: UInt64, weight: Int) -> Bool {
        guard kind == .adaptive, weight > capacity - self.weight else { return true }
        // It would leave at once, and say nothing of others.
        if weight > capacity { return false }
        return adaptive?.admitsRead(hash: SlotQueues.mixed(hash), weight: weight) ?? true
    }

    /// The slot that will probably be the next victim, so that the caller may have it at hand; nil where it is not known.
    public var nextVictim: Int? { adaptive?.nextVictim.map { Int($0) } }

    /// Has the processor fetch what a miss of this key will look at, while the caller asks a slower tier.
    public func prefetch(hash: UInt64) { adaptive?.prefetch(hash: SlotQueues.mixed(hash)) }

    /// How often a key that is not in was seen lately, as far as the policy knows; 0 where it knows nothing.
    public func frequency(hash: UInt64) -> Int { queue?.frequency(hash: SlotQueues.mixed(hash)) ?? 0 }

    /// Whether an entry that is in was hit since this was asked last, or the time before: for a slower tier, which sees no read
    /// that ends here.
    public mutating func takeUse(_ slot: Int) -> Bool {
        let slot = UInt32(slot)
        if !oversized.isEmpty, oversized.contains(slot) { return false }
        return switch kind {
        case .adaptive: adaptive?.slots.takeUse(slot) ?? false
        case .lru: lru?.slots.takeUse(slot) ?? false
        case .s3FIFO: s3FIFO?.slots.takeUse(slot) ?? false
        case .wTinyLFU: wTinyLFU?.slots.takeUse(slot) ?? false
        case .lfu: lfu?.slots.takeUse(slot) ?? false
        case .fifo: fifo?.slots.takeUse(slot) ?? false
        }
    }

    /// How much an entry that is in is worth, more than others that were hit more, pinned ones more than all; nil where `takeUse`
    /// would not tell of it. As far as the policy counts: to LRU more are those that were hit later, to FIFO all are alike.
    public func worthOfUse(_ slot: Int) -> UInt64? {
        let slot = UInt32(slot)
        if !oversized.isEmpty, oversized.contains(slot) { return nil }
        return switch kind {
        case .adaptive: adaptive?.worthOfUse(slot)
        case .lru: lru?.worthOfUse(slot)
        case .s3FIFO: s3FIFO?.worthOfUse(slot)
        case .wTinyLFU: wTinyLFU?.worthOfUse(slot)
        case .lfu: lfu?.worthOfUse(slot)
        case .fifo: fifo?.worthOfUse(slot)
        }
    }

    /// Up to `limit` slots, the ones worth most first, pinned ones before all.
    public func hottest(_ limit: Int) -> [Int] {
        var found: [Int] = []
        guard limit > 0 else { return found }
        found.reserveCapacity(min(limit, count))
        queue?.forEachHottestFirst { slot in
            found.append(Int(slot))
            return found.count < limit
        }
        return found
    }

    /// For what is asked rarely.
    private var queue: (any EvictionQueue)? {
        switch kind {
        case .adaptive: adaptive
        case .lru: lru
        case .s3FIFO: s3FIFO
        case .wTinyLFU: wTinyLFU
        case .lfu: lfu
        case .fifo: fifo
        }
    }

    // MARK: Warm restart

    private static let stateMagic: UInt32 = 0x5052_5661
    private static let stateVersion: UInt8 = 1

    /// What a later process can go on with: frequencies, ghosts, the window's width; no slots. At most about 16 bytes for
    /// each entry (adaptive, S3-FIFO) or 8 (W-TinyLFU).
    public func exportState() -> [UInt8] {
        var writer = StateWriter()
        writer.append(MemoryPolicy.stateMagic)
        writer.append(MemoryPolicy.stateVersion)
        writer.append(MemoryPolicy.code(kind))
        queue?.encode(into: &writer)
        return writer.bytes
    }

    /// Takes up what `exportState` gave, before anything is admitted. Bytes of another policy or version, or damaged ones,
    /// change nothing: false then. Never traps.
    public mutating func importState(_ bytes: [UInt8]) -> Bool {
        guard count == 0 else { return false }
        do {
            var reader = StateReader(bytes)
            guard try reader.next(UInt32.self) == MemoryPolicy.stateMagic,
                try reader.next(UInt8.self) == MemoryPolicy.stateVersion,
                try reader.next(UInt8.self) == MemoryPolicy.code(kind)
            else { return false }
            switch kind {
            case .adaptive: try adaptive?.decode(from: &reader)
            case .lru: try lru?.decode(from: &reader)
            case .s3FIFO: try s3FIFO?.decode(from: &reader)
            case .wTinyLFU: try wTinyLFU?.decode(from: &reader)
            case .lfu: try lfu?.decode(from: &reader)
            case .fifo: try fifo?.decode(from: &reader)
            }
            return true
        } catch {
            return false
        }
    }

    /// In the state's format: never changed.
    private static func code(_ kind: PolicyKind) -> UInt8 {
        switch kind {
        case .fifo: 0
        case .lru: 1
        case .lfu: 2
        case .s3FIFO: 3
        case .wTinyLFU: 4
        case .adaptive: 5
        }
    }
}
