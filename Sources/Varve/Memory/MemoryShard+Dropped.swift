internal import VarvePolicy

/// Entries that carry a dropped tag. Nobody is served them, so that they leave: those that are found by the way as soon as
/// anything else changes, the rest by a pass through the slots after the drop.
///
/// None is missed. An entry is judged when it takes its slot, under the lock; a drop that comes later raises the registry's
/// number, and the pass that follows it begins after that.
extension MemoryShard {
    /// A slot's entry carries a dropped tag. It is let go of where what leaves can be kept until the lock is free.
    mutating func noteDropped(_ slot: Int) {
        guard !entries[backOfTaken: slot].traits.contains(.isDropped) else { return }
        entries[backOfTaken: slot].traits.insert(.isDropped)
        dropped.append(UInt32(slot))
    }

    /// Lets some of those go that were found, before anything that is worth something has to.
    @usableFromInline
    mutating func evictDropped(_ discarded: inout Discarded<Key, Value>) {
        for _ in 0..<Self.droppedAtOnce {
            guard let next = dropped.popLast() else { return }
            let slot = Int(next)
            // Another one may have its slot, or its place.
            guard entries.holds(slot), entries[backOfTaken: slot].traits.contains(.isDropped) else { continue }
            ledger.note(entries[backOfTaken: slot].hash, .invalidated)
            discarded.add(remove(slot))
        }
    }

    /// So many under one hold of the lock.
    static var droppedAtOnce: Int { 64 }

    /// Lets go of what carries a dropped tag, among so many slots below `end` (nil: from the last one down), and tells where
    /// to go on; nil at the end.
    mutating func removeDropped(
        below end: Int?, slots: Int, _ discarded: inout Discarded<Key, Value>
    ) -> Int? {
        let pass = entries.pass(below: end, slots: slots)
        for slot in pass.slots where entries.isTaken[slot] && entries[backOfTaken: slot].hasTags {
            let record = entries[backOfTaken: slot]
            if tags.keeps(record.tags, version: record.version) { continue }
            ledger.note(record.hash, .invalidated)
            discarded.add(remove(slot))
        }
        return pass.next
    }
}

/// The last pass that looked for what carries a dropped tag.
struct DropSweep: Sendable {
    /// How many drops there had been before it.
    var drops: UInt64 = 0
    /// Of the store's clock.
    var restsUntil = Int64.min

    /// How long to rest after a pass that took so long, in nanoseconds: nine times as long, but where the machine slept
    /// meanwhile the clock says too much.
    static func rest(after took: Int64) -> Int64 {
        let (rest, overflow) = max(0, took).multipliedReportingOverflow(by: 9)
        return overflow ? longestRest : min(rest, longestRest)
    }

    private static let longestRest: Int64 = 10_000_000_000
}
