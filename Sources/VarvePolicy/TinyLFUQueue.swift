/// W-TinyLFU: newcomers pass an LRU window; at its end the sketch decides whether the newcomer or the victim of the
/// segmented LRU main region was seen more often lately, and the other leaves.
///
/// Einziger, Friedman, Manes, "TinyLFU" (ACM TOS 2017). The window's width follows the density of hits (hits for each
/// weight) in window and main, in steps of a sixteenth, as Caffeine has done since 2026.
struct TinyLFUQueue: EvictionQueue {
    var slots = SlotQueues()
    var capacity: Int { didSet { settle() } }
    private var sketch: FrequencySketch
    private var windowTarget = 0
    private var protectedTarget = 0
    /// Of the capacity, in 1/64.
    private var windowShare = 6
    private var windowHits = 0
    private var mainHits = 0
    private var requests = 0

    init(capacity: Int, expectedEntries: Int) {
        self.capacity = capacity
        sketch = FrequencySketch(expectedEntries: min(max(expectedEntries, 1), 1 << 14))
        settle()
        if capacity == expectedEntries, expectedEntries > 1 << 14 { sketch.grow(expectedEntries: expectedEntries) }
    }

    private mutating func settle() {
        windowTarget = max(1, capacity / 64 * windowShare + capacity % 64 * windowShare / 64)
        protectedTarget = (capacity - windowTarget) / 5 * 4
    }

    mutating func hit(_ slot: UInt32) {
        slots.use(slot)
        sketch.add(slots[slot].hash)
        switch slots.region(slot) {
        case .window:
            windowHits += 1
            slots.move(slot, to: .window)
        case .main, .protected:
            mainHits += 1
            slots.move(slot, to: .protected)
            while slots.list(.protected).weight > protectedTarget, slots.list(.protected).count > 1 {
                slots.move(slots.list(.protected).last, to: .main)
            }
        case .none, .pinned: break
        }
        steer()
    }

    mutating func admit(_ slot: UInt32, hash: UInt64, weight: Int, isPinned: Bool) {
        sketch.add(hash)
        slots.add(slot, mixed: hash, weight: weight, to: isPinned ? .pinned : .window)
        if slots.count > sketch.capacity { sketch.grow(expectedEntries: slots.count * 2) }
        steer()
    }

    mutating func recordMiss(hash: UInt64) { sketch.add(hash) }
    func frequency(hash: UInt64) -> Int { sketch.frequency(hash) }

    mutating func victim() -> UInt32? {
        guard slots.weight > capacity else { return nil }
        while slots.list(.window).weight > windowTarget {
            let candidate = slots.list(.window).last
            let mainWeight = slots.list(.main).weight + slots.list(.protected).weight
            if mainWeight + Int(slots[candidate].weight) <= slots.room(in: capacity) - windowTarget {
                slots.move(candidate, to: .main)
                continue
            }
            let victim = mainVictim ?? candidate
            let wins = sketch.frequency(slots[candidate].hash) > sketch.frequency(slots[victim].hash)
            let leaving = wins ? victim : candidate
            slots.discard(leaving)
            return leaving
        }
        guard let leaving = mainVictim ?? windowVictim else { return nil }
        slots.discard(leaving)
        return leaving
    }

    private var mainVictim: UInt32? {
        for region in [Region.main, .protected] where slots.list(region).count > 0 { return slots.list(region).last }
        return nil
    }

    private var windowVictim: UInt32? { slots.list(.window).count > 0 ? slots.list(.window).last : nil }

    /// Moves the border toward the side where a place earns more hits.
    private mutating func steer() {
        requests += 1
        guard requests >= max(64, 10 * slots.count) else { return }
        let mainWeight = slots.list(.main).weight + slots.list(.protected).weight
        let window = Double(windowHits) / Double(max(1, slots.list(.window).weight))
        let main = Double(mainHits) / Double(max(1, mainWeight))
        if window > main * 1.05 {
            windowShare = min(60, windowShare + 4)
        } else if main > window * 1.05 {
            windowShare = max(1, windowShare - 4)
        }
        settle()
        requests = 0
        windowHits = 0
        mainHits = 0
    }

    func worth(_ slot: UInt32) -> UInt64 { UInt64(sketch.frequency(slots[slot].hash)) }

    func forEachHottestFirst(_ body: (UInt32) -> Bool) {
        guard slots.forEach(.pinned, body) else { return }
        _ = slots.forEach(.protected, body) && slots.forEach(.window, body) && slots.forEach(.main, body)
    }

    func encode(into writer: inout StateWriter) {
        writer.append(UInt8(windowShare))
        sketch.encode(into: &writer)
    }

    mutating func decode(from reader: inout StateReader) throws(StateError) {
        let share = Int(try reader.next(UInt8.self))
        guard (1...60).contains(share) else { throw .foreign }
        sketch = try FrequencySketch(from: &reader, expectedEntries: sketch.capacity)
        windowShare = share
        settle()
    }
}
