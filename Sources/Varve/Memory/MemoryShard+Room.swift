internal import VarvePolicy

/// Slots that hold nothing are given back where they are many: who fills memory with small entries and then with large ones
/// would else keep the room of all of the small ones for ever, beside what memory is said to weigh.
///
/// Entries move from the last slots to free ones before, a few at a time. What they stand in stays as it is: lists of the
/// policy, deadlines, the table. Everything that goes by slots between two holds of the lock is a pass, which goes downwards
/// as they do (`SlotStorage.pass`).
extension MemoryShard {
    /// Fewer slots than this are kept.
    static var leastSlots: Int { 1024 }

    /// Whether less than a quarter of many slots is taken. At least as many entries as are left have gone since the slots were
    /// given back last, or since they became so many: giving them back costs no more than that did.
    var isSparse: Bool { entries.count > Self.leastSlots && entryCount < entries.count / 4 }

    /// Moves entries together, at most so many, until half of the slots are taken, and then gives back the room of those
    /// beyond. True where there is more to do.
    mutating func moveTogether(atMost limit: Int) -> Bool {
        for _ in 0..<limit {
            guard entries.count > max(Self.leastSlots, entryCount * 2) else {
                giveBackRoom()
                return false
            }
            let last = entries.count - 1
            // Fewer than half are taken: there is a free one below it.
            if entries.isTaken[last], let slot = takeFree() { move(last, to: slot) }
            entries.removeLast()
        }
        return true
    }

    private mutating func move(_ slot: Int, to other: Int) {
        entries.move(slot, to: other)
        let record = entries[backOfTaken: other]
        table.renumber(record.hash, slot: slot, to: other)
        policy.renumber(slot, to: other)
        wheel.renumber(UInt32(slot), to: UInt32(other))
        if record.traits.contains(.isDropped) { dropped.append(UInt32(other)) }
    }

    /// In one step, as they grow in one: it copies what is kept of at most a half of the slots that there were.
    private mutating func giveBackRoom() {
        entries.giveBackRoom()
        table.giveBackRoom()
        policy.giveBackRoom(from: entries.count)
        wheel.giveBackRoom(from: entries.count)
        free = entries.indices.filter { !entries.isTaken[$0] }.map { UInt32($0) }
    }
}
