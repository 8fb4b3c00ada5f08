/// Least frequently used leaves first, with dynamic aging: an entry's priority is its hits plus the priority that the
/// last victim had at the time, so that what was popular once does not stay for ever. A binary heap, so a hit costs a logarithm.
///
/// Arlitt, Cherkasova et al., "Evaluating Content Management Techniques for Web Proxy Caches" (2000): LFU-DA.
struct LFUQueue: EvictionQueue {
    private struct Rank: Sendable {
        var priority: UInt64 = 0
        var hits: UInt64 = 1
        /// When it was used; of two alike the older one leaves.
        var used: UInt64 = 0
        var place = -1

        func isBelow(_ other: Rank) -> Bool { (priority, used) < (other.priority, other.used) }
    }

    var slots = SlotQueues()
    var capacity: Int
    private var heap: [UInt32] = []
    private var ranks: [Rank] = []
    private var age: UInt64 = 0
    private var uses: UInt64 = 0

    init(capacity: Int, expectedEntries: Int) { self.capacity = capacity }

    mutating func hit(_ slot: UInt32) {
        slots.use(slot)
        uses += 1
        ranks[Int(slot)].hits += 1
        ranks[Int(slot)].priority = ranks[Int(slot)].hits + age
        ranks[Int(slot)].used = uses
        if ranks[Int(slot)].place >= 0 { sink(ranks[Int(slot)].place) }
    }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        slots.add(slot, mixed: hash, weight: weight, to: isPinned ? .pinned : .main)
        if Int(slot) >= ranks.count {
            ranks.append(contentsOf: repeatElement(Rank(), count: Int(slot) + 1 - ranks.count))
        }
        uses += 1
        ranks[Int(slot)] = Rank(priority: age + 1, used: uses)
        if !isPinned { push(slot) }
    }

    mutating func remove(_ slot: UInt32) {
        slots.discard(slot)
        pull(slot)
    }

    mutating func renumber(_ slot: UInt32, to other: UInt32) {
        slots.renumber(slot, to: other)
        if Int(other) >= ranks.count {
            ranks.append(contentsOf: repeatElement(Rank(), count: Int(other) + 1 - ranks.count))
        }
        ranks[Int(other)] = ranks[Int(slot)]
        ranks[Int(slot)] = Rank()
        let place = ranks[Int(other)].place
        if place >= 0 { heap[place] = other }
    }

    mutating func giveBackRoom(from count: Int) {
        slots.giveBackRoom(from: count)
        if count < ranks.count { ranks = Array(ranks[..<count]) }
        // A slice of all of it would keep its room.
        heap = heap.map(\.self)
    }

    mutating func update(_ slot: UInt32, weight: Int, isPinned: Bool) {
        slots.setWeight(slot, weight)
        guard isPinned != (slots.region(slot) == .pinned) else { return }
        slots.move(slot, to: isPinned ? .pinned : .main)
        if isPinned { pull(slot) } else { push(slot) }
    }

    mutating func victim() -> UInt32? {
        guard slots.weight > capacity else { return nil }
        guard let slot = heap.first else { return nil }
        age = max(age, ranks[Int(slot)].priority)
        remove(slot)
        return slot
    }

    func worth(_ slot: UInt32) -> UInt64 { ranks[Int(slot)].priority }

    func forEachHottestFirst(_ body: (UInt32) -> Bool) {
        guard slots.forEach(.pinned, body) else { return }
        for slot in heap.sorted(by: { ranks[Int($1)].isBelow(ranks[Int($0)]) }) where !body(slot) { return }
    }

    // MARK: The heap, its least on top

    private mutating func push(_ slot: UInt32) {
        ranks[Int(slot)].place = heap.count
        heap.append(slot)
        rise(heap.count - 1)
    }

    private mutating func pull(_ slot: UInt32) {
        let place = ranks[Int(slot)].place
        guard place >= 0 else { return }
        ranks[Int(slot)].place = -1
        let last = heap.removeLast()
        guard place < heap.count else { return }
        put(last, place)
        sink(place)
        rise(ranks[Int(last)].place)
    }

    @inline(__always)
    private mutating func put(_ slot: UInt32, _ place: Int) {
        heap[place] = slot
        ranks[Int(slot)].place = place
    }

    private mutating func rise(_ start: Int) {
        let slot = heap[start]
        var place = start
        while place > 0 {
            let parent = heap[(place - 1) / 2]
            guard ranks[Int(slot)].isBelow(ranks[Int(parent)]) else { break }
            put(parent, place)
            place = (place - 1) / 2
        }
        put(slot, place)
    }

    private mutating func sink(_ start: Int) {
        let slot = heap[start]
        var place = start
        while place * 2 + 1 < heap.count {
            var child = place * 2 + 1
            if child + 1 < heap.count, ranks[Int(heap[child + 1])].isBelow(ranks[Int(heap[child])]) { child += 1 }
            guard ranks[Int(heap[child])].isBelow(ranks[Int(slot)]) else { break }
            put(heap[child], place)
            place = child
        }
        put(slot, place)
    }
}
