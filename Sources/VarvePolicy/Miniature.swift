/// A cache in small: the queues at one width of the window, fed with a sample of the keys and holding the same sample's
/// share of the capacity. It counts the hits that the whole cache would have at that width.
///
/// Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations" (USENIX ATC 2017): a sample by the
/// hash of the key keeps the reuse distances, scaled by the rate.
struct Miniature: Sendable {
    private var queue: ReuseQueue
    /// Slot + 1 by linear probing from the hash; 0: free.
    private var places: [UInt32]
    private var free: [UInt32] = []
    private var made: UInt32 = 0

    init(capacity: Int, expectedEntries: Int, windowShare: Int) {
        queue = ReuseQueue(capacity: capacity, expectedEntries: expectedEntries, windowShare: windowShare)
        places = [UInt32](repeating: 0, count: 32)
    }

    var count: Int { queue.slots.count }
    var isFull: Bool { queue.slots.weight >= queue.capacity - queue.capacity / 8 }

    /// What the whole cache was asked for; true if it is here.
    mutating func access(_ mixed: UInt64, weight: Int) -> Bool {
        if let place = find(mixed) {
            let slot = places[place] - 1
            queue.hit(slot)
            return true
        }
        // What would flush the sample is not in it.
        if weight > queue.capacity / 2, weight > 1 { return false }
        let slot = free.popLast() ?? makeSlot()
        queue.admit(slot, mixed: mixed, weight: weight)
        insert(mixed, slot)
        while let left = queue.victim() {
            remove(queue.slots[left].hash)
            free.append(left)
        }
        return false
    }

    private mutating func makeSlot() -> UInt32 {
        made += 1
        return made - 1
    }

    private var mask: Int { places.count - 1 }

    @inline(__always)
    private func home(_ mixed: UInt64) -> Int { Int(truncatingIfNeeded: mixed >> 40) & mask }

    @inline(__always)
    private func find(_ mixed: UInt64) -> Int? {
        var place = home(mixed)
        while places[place] != 0 {
            if queue.slots[places[place] - 1].hash == mixed { return place }
            place = (place + 1) & mask
        }
        return nil
    }

    private mutating func insert(_ mixed: UInt64, _ slot: UInt32) {
        if Int(made) * 2 > places.count { grow() }
        put(slot, home(mixed))
    }

    private mutating func put(_ slot: UInt32, _ start: Int) {
        var place = start
        while places[place] != 0 { place = (place + 1) & mask }
        places[place] = slot + 1
    }

    private mutating func grow() {
        let old = places
        places = [UInt32](repeating: 0, count: old.count * 2)
        for value in old where value != 0 { put(value - 1, home(queue.slots[value - 1].hash)) }
    }

    /// Removal with backward shift: no tombstones.
    private mutating func remove(_ mixed: UInt64) {
        guard var hole = find(mixed) else { return }
        var next = (hole + 1) & mask
        while places[next] != 0 {
            let start = home(queue.slots[places[next] - 1].hash)
            if (next - start) & mask >= (next - hole) & mask {
                places[hole] = places[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        places[hole] = 0
    }
}
