/// The list that a slot stands in.
enum Region: UInt8, Sendable {
    /// Not in the queue.
    case none
    /// Where newcomers wait: the window, the small queue.
    case window
    /// Where the rest stands; of a segmented main region the first segment.
    case main
    case protected
    /// Never evicted.
    case pinned
}

/// What is kept of one slot and no plain hit looks at: 24 bytes, the caller's hash among them.
struct SlotNode: Sendable {
    /// Mixed: any of its bits can be used.
    var hash: UInt64 = 0
    var previous = SlotQueues.end
    var next = SlotQueues.end
    /// At most `UInt32.max`: what is heavier counts as that.
    var weight: UInt32 = 0
    /// Set by the policies that try what they are not sure of.
    var trial = ReadAdmission.Trial.none
}

/// What a hit writes: four bytes, so that those of a million slots lie in a processor's cache.
struct SlotMark: Sendable {
    /// The policy's clock at the last access; wraps.
    var tick: UInt16 = 0
    /// Hits, and in the upper two bits how often more a slower tier is told that there was one.
    private var bits: UInt8 = 0
    var region = Region.none

    init(tick: UInt16 = 0) { self.tick = tick }

    /// Hits, as far as the policy counts them.
    var hits: UInt8 {
        @inline(__always) get { bits & 0x3F }
        @inline(__always) set { bits = bits & 0xC0 | newValue }
    }

    /// Whether it was hit since a slower tier was told of use last.
    var isUsed: Bool { @inline(__always) get { bits >= 0x80 } }
    /// Whether a slower tier would be told of a hit now.
    var hasUse: Bool { bits >= 0x40 }
    @inline(__always)
    mutating func use() { bits = bits & 0x3F | 0x80 }

    /// Tells of a hit twice: what a tier goes through again at once, in another way, may have had no hit in between.
    mutating func takeUse() -> Bool {
        guard hasUse else { return false }
        bits -= 0x40
        return true
    }
}

/// One doubly linked list through the nodes.
struct SlotList: Sendable {
    var first = SlotQueues.end
    var last = SlotQueues.end
    var count = 0
    var weight = 0
}

/// The slots of a policy and the lists they stand in, linked by slot number: what all policies share.
struct SlotQueues: Sendable {
    /// No slot.
    static let end = UInt32.max

    private var nodes: [SlotNode] = []
    private var marks: [SlotMark] = []
    private var lists: [5 of SlotList] = InlineArray(repeating: SlotList())
    private(set) var weight = 0
    private(set) var count = 0

    /// The finaliser of MurmurHash3: the facade takes some bits of the hash for its shards and tables, so that those are
    /// alike within a shard; after this every bit depends on all.
    @inline(__always)
    static func mixed(_ hash: UInt64) -> UInt64 {
        var h = hash
        h ^= h >> 33
        h &*= 0xFF51_AFD7_ED55_8CCD
        h ^= h >> 33
        h &*= 0xC4CE_B9FE_1A85_EC53
        return h ^ h >> 33
    }

    @inline(__always)
    subscript(slot: UInt32) -> SlotNode {
        get { nodes[Int(slot)] }
        _modify { yield &nodes[Int(slot)] }
    }

    @inline(__always)
    subscript(mark slot: UInt32) -> SlotMark {
        get { marks[Int(slot)] }
        _modify { yield &marks[Int(slot)] }
    }

    @inline(__always)
    func list(_ region: Region) -> SlotList { lists[Int(region.rawValue)] }

    /// What of a capacity the pinned slots leave to the others.
    @inline(__always)
    func room(in capacity: Int) -> Int { max(0, capacity - lists[Int(Region.pinned.rawValue)].weight) }

    @inline(__always)
    func region(_ slot: UInt32) -> Region { Int(slot) < marks.count ? marks[Int(slot)].region : .none }

    /// Takes in a slot that is in no list, at the front of one.
    mutating func add(_ slot: UInt32, mixed hash: UInt64, weight: Int, tick: UInt16 = 0, to region: Region) {
        precondition(self.region(slot) == .none, "a slot is admitted once")
        if Int(slot) >= nodes.count { grow(Int(slot) + 1) }
        let kept = UInt32(clamping: weight)
        self.weight += Int(kept)
        count += 1
        nodes[Int(slot)] = SlotNode(hash: hash, weight: kept)
        marks[Int(slot)] = SlotMark(tick: tick)
        relink(slot, region)
    }

    /// Lets a slot go altogether.
    mutating func discard(_ slot: UInt32) {
        precondition(region(slot) != .none, "only a slot that was admitted can leave")
        weight -= Int(nodes[Int(slot)].weight)
        count -= 1
        relink(slot, .none)
    }

    mutating func setWeight(_ slot: UInt32, _ weight: Int) {
        precondition(region(slot) != .none, "only a slot that was admitted has a weight")
        let kept = UInt32(clamping: weight)
        let change = Int(kept) - Int(nodes[Int(slot)].weight)
        nodes[Int(slot)].weight = kept
        lists[Int(marks[Int(slot)].region.rawValue)].weight += change
        self.weight += change
    }

    /// Takes a slot from where it stands to the front of a list.
    @inline(__always)
    mutating func move(_ slot: UInt32, to region: Region) {
        relink(slot, region)
    }

    /// A hit, for who counts none.
    @inline(__always)
    mutating func use(_ slot: UInt32) {
        // Most find it so, and leave its line clean.
        if !marks[Int(slot)].isUsed { marks[Int(slot)].use() }
    }

    /// The same for who knows them by when they were.
    @inline(__always)
    mutating func use(_ slot: UInt32, at tick: UInt16) {
        use(slot)
        marks[Int(slot)].tick = tick
    }

    /// Whether a slot was hit since this was asked last, or the time before.
    mutating func takeUse(_ slot: UInt32) -> Bool { marks[Int(slot)].takeUse() }

    /// The next victim of a list that is a clock: the hand turns past those that were hit and takes a hit from each.
    mutating func turnClock(_ region: Region) -> UInt32? {
        while true {
            let slot = lists[Int(region.rawValue)].last
            guard slot != SlotQueues.end else { return nil }
            if marks[Int(slot)].hits == 0 { return slot }
            marks[Int(slot)].hits -= 1
            move(slot, to: region)
        }
    }

    /// Calls `body` with a list's slots, first or last first, until it answers false; false then.
    func forEach(_ region: Region, reversed: Bool = false, _ body: (UInt32) -> Bool) -> Bool {
        var slot = reversed ? list(region).last : list(region).first
        while slot != SlotQueues.end {
            if !body(slot) { return false }
            slot = reversed ? nodes[Int(slot)].previous : nodes[Int(slot)].next
        }
        return true
    }

    /// Pinned slots, then those that were hit most, main's before the window's, until `body` answers false.
    func forEachByHits(from most: UInt8, _ body: (UInt32) -> Bool) {
        guard forEach(.pinned, body) else { return }
        for hits in stride(from: most, through: 0, by: -1) {
            for region in [Region.main, .window] {
                guard forEach(region, { marks[Int($0)].hits == hits ? body($0) : true }) else { return }
            }
        }
    }

    /// A free slot takes the place of one that is in a list, with all that is kept of it.
    mutating func renumber(_ slot: UInt32, to other: UInt32) {
        let region = region(slot)
        precondition(region != .none && self.region(other) == .none, "a slot that is in moves to one that is free")
        if Int(other) >= nodes.count { grow(Int(other) + 1) }
        let node = nodes[Int(slot)]
        nodes[Int(other)] = node
        marks[Int(other)] = marks[Int(slot)]
        marks[Int(slot)] = SlotMark()
        let list = Int(region.rawValue)
        if node.previous == SlotQueues.end { lists[list].first = other } else { nodes[Int(node.previous)].next = other }
        if node.next == SlotQueues.end { lists[list].last = other } else { nodes[Int(node.next)].previous = other }
    }

    /// Gives back the room of the slots from this one on, none of which is in.
    mutating func giveBackRoom(from count: Int) {
        guard count < nodes.count else { return }
        assert(marks[count...].allSatisfy { $0.region == .none }, "a slot beyond the room is in")
        nodes = Array(nodes[..<count])
        marks = Array(marks[..<count])
    }

    /// How many slots there is room for before their records are copied to a larger place.
    var slotCapacities: (nodes: Int, marks: Int) { (nodes.capacity, marks.capacity) }

    private mutating func grow(_ count: Int) {
        nodes.append(contentsOf: repeatElement(SlotNode(), count: count - nodes.count))
        marks.append(contentsOf: repeatElement(SlotMark(), count: count - marks.count))
    }

    /// Takes a slot out of its list, if it is in one, and puts it to the front of another (`none`: of none).
    @inline(__always)
    private mutating func relink(_ slot: UInt32, _ region: Region) {
        let old = marks[Int(slot)].region
        marks[Int(slot)].region = region
        SlotQueues.relink(slot, from: old, to: region, &nodes, &lists)
    }

    @inline(__always)
    private static func relink(
        _ slot: UInt32, from old: Region, to region: Region, _ nodes: inout [SlotNode],
        _ lists: inout [5 of SlotList]
    ) {
        // One span for the whole operation: an array asks at each mutation whether it is shared, a span only once.
        var span = nodes.mutableSpan
        if old != .none { unlink(slot, &span, &lists[Int(old.rawValue)]) }
        if region != .none { link(slot, &span, &lists[Int(region.rawValue)]) }
    }

    @inline(__always)
    private static func link(_ slot: UInt32, _ nodes: inout MutableSpan<SlotNode>, _ list: inout SlotList) {
        let first = list.first
        var node = nodes[Int(slot)]
        node.previous = end
        node.next = first
        nodes[Int(slot)] = node
        if first == end { list.last = slot } else { nodes[Int(first)].previous = slot }
        list.first = slot
        list.count += 1
        list.weight += Int(node.weight)
    }

    @inline(__always)
    private static func unlink(_ slot: UInt32, _ nodes: inout MutableSpan<SlotNode>, _ list: inout SlotList) {
        let node = nodes[Int(slot)]
        if node.previous == end { list.first = node.next } else { nodes[Int(node.previous)].next = node.next }
        if node.next == end { list.last = node.previous } else { nodes[Int(node.next)].previous = node.previous }
        list.count -= 1
        list.weight -= Int(node.weight)
    }
}
