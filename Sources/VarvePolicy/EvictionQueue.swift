/// Which entry leaves next: the order that a policy keeps over the slots of a cache.
///
/// The cache owns an array of entries and calls an entry by its place in it, its *slot*; a policy keeps what it knows of a
/// slot in an array of its own, indexed by the slot, and links slots to lists by their numbers. So nothing is allocated
/// for an operation once the arrays have grown to their size. Capacity and weights are in one unit of the caller's choice:
/// bytes, or one for each entry.
///
/// Not thread-safe: a shard's lock guards it. A value, so that a shard can hold it in place.
protocol EvictionQueue: Sendable {
    /// `expectedEntries` sizes what remembers entries that left; a wrong guess is mended as entries come.
    init(capacity: Int, expectedEntries: Int)

    /// The slots and their lists.
    var slots: SlotQueues { get set }
    /// The weight above which slots have to leave.
    var capacity: Int { get set }

    /// A read found the slot. It is marked as used.
    mutating func hit(_ slot: UInt32)
    /// A slot that is not in the queue came in after a miss. The caller asks for victims afterwards.
    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool)
    /// A slot that is in the queue left for reasons of the caller's (deleted, expired); it is not remembered.
    mutating func remove(_ slot: UInt32)
    /// A free slot takes the place of one that is in: the caller has moved the entry. Nothing else changes.
    mutating func renumber(_ slot: UInt32, to other: UInt32)
    /// Gives back the room of the slots from this one on, none of which is in.
    mutating func giveBackRoom(from count: Int)
    /// A slot got another weight, or was pinned or unpinned: it was written, which is not a read.
    mutating func update(_ slot: UInt32, weight: Int, isPinned: Bool)
    /// Takes the slot out that is worth least, and remembers it as far as the policy does. Never a pinned one; nil when
    /// there is no other, and while the weight is within the capacity.
    mutating func victim() -> UInt32?
    /// A read found nothing, and nothing will be admitted for it.
    mutating func recordMiss(hash: UInt64)
    /// How often a key was seen lately, as far as the policy knows from its hash alone; 0 where it knows nothing.
    func frequency(hash: UInt64) -> Int
    /// How much a slot that is in is worth by its hits, as far as the policy counts them, or knows when they were.
    func worth(_ slot: UInt32) -> UInt64
    /// Calls `body` with every slot, the one worth most first (pinned ones before all), until it answers false.
    func forEachHottestFirst(_ body: (UInt32) -> Bool)

    /// Adds what a later process can go on with: frequencies, and who left lately.
    func encode(into writer: inout StateWriter)
    /// Takes that up in a queue that holds nothing yet. Throws on anything it does not understand and is unchanged then.
    mutating func decode(from reader: inout StateReader) throws(StateError)
}

extension EvictionQueue {
    var weight: Int { slots.weight }
    var count: Int { slots.count }

    mutating func remove(_ slot: UInt32) { slots.discard(slot) }
    mutating func renumber(_ slot: UInt32, to other: UInt32) { slots.renumber(slot, to: other) }
    mutating func giveBackRoom(from count: Int) { slots.giveBackRoom(from: count) }

    mutating func update(_ slot: UInt32, weight: Int, isPinned: Bool) {
        slots.setWeight(slot, weight)
        let region = slots.region(slot)
        if isPinned != (region == .pinned) { slots.move(slot, to: isPinned ? .pinned : .main) }
    }

    mutating func recordMiss(hash: UInt64) {}
    func frequency(hash: UInt64) -> Int { 0 }
    func worth(_ slot: UInt32) -> UInt64 { UInt64(slots[mark: slot].hits) }

    /// The same of one that was hit lately, pinned ones more than all; nil for others.
    func worthOfUse(_ slot: UInt32) -> UInt64? {
        guard slots[mark: slot].hasUse else { return nil }
        return slots.region(slot) == .pinned ? .max : worth(slot)
    }

    func encode(into writer: inout StateWriter) {}
    mutating func decode(from reader: inout StateReader) throws(StateError) {}
}
