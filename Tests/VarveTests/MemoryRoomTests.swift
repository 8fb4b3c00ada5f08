import Testing
import VarvePolicy
import VarveTestSupport

@testable import Varve

/// Slots that hold nothing are given back, and nobody can tell.
struct MemoryRoomTests {
    /// A shard, and what leaves it.
    private final class Memory {
        var shard: MemoryShard<Int, Int>
        let tags = TagRegistry()

        init(_ policy: EvictionPolicyKind, capacity: Int) {
            shard = MemoryShard(
                policy: MemoryPolicy(policy.kind, capacity: capacity, expectedEntries: 4000), expectedEntries: 4000,
                isAuthority: false, tags: tags, now: 0)
        }

        var isSparse: Bool { shard.isSparse }

        static func hash(_ key: Int) -> UInt64 { UInt64(key + 1) &* 0x9E37_79B9_7F4A_7C15 }

        /// The keys that left.
        func change(_ body: (inout MemoryShard<Int, Int>, inout Discarded<Int, Int>) -> Void) -> [Int] {
            var discarded = Discarded<Int, Int>()
            body(&shard, &discarded)
            return ([discarded.first].compactMap { $0 } + discarded.others).map(\.key)
        }

        func set(_ key: Int, version: UInt64, _ random: inout SplitMix) -> [Int] {
            let hash = Memory.hash(key)
            let until = random.next() % 2 == 0 ? Int64.max : Int64(random.next() % (1 << 42))
            let entry = MemoryEntry(
                key: key, value: Int(version), hash: hash, version: version,
                deadlines: Deadlines(usableUntil: until, freshUntil: .max), tags: random.next() % 4 == 0 ? [7] : [],
                weight: Int(random.next() % 8) + 1, traits: random.next() % 50 == 0 ? [.onDisk, .pinned] : .onDisk)
            return change { _ = $0.publish(entry, .write, &$1) }
        }

        func read(_ key: Int, _ context: MemoryContext) -> Int? {
            if case .hit(let value) = shard.lookUp(key, Memory.hash(key), context) { value } else { nil }
        }

        func remove(_ key: Int, version: UInt64) -> [Int] {
            change { $0.erase(key, Memory.hash(key), at: version, &$1) }
        }
    }

    @Test(
        "A shard that gives room back does in everything what one does that never does",
        arguments: EvictionPolicyKind.allCases, 0..<1 as Range<UInt64>)
    func twins(_ policy: EvictionPolicyKind, _ seed: UInt64) {
        var random = SplitMix(seed)
        let capacity = Int.random(in: 20_000...40_000, using: &random)
        let (shrinking, other) = (Memory(policy, capacity: capacity), Memory(policy, capacity: capacity))
        let clock = CacheRig().clock
        func context(_ memory: Memory) -> MemoryContext {
            MemoryContext(clock: CacheClock(clock, storeTime: 0), tags: memory.tags, chance: Chance(seed: seed))
        }
        let contexts = (context(shrinking), context(other))
        var time: Int64 = 0
        var given = 0
        var isMoving = false
        for step in 0..<30_000 {
            let place = "seed \(seed), \(policy), step \(step)"
            let version = UInt64(step + 1)
            // By turns it fills and empties.
            let isFilling = step / 6000 % 2 == 0
            let key = Int.random(in: 0..<5000, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case ..<(isFilling ? 80 : 10):
                var twin = random
                let left = shrinking.set(key, version: version, &random)
                let expected = other.set(key, version: version, &twin)
                #expect(left.sorted() == expected.sorted(), "\(place)")
            case ..<90 where !isFilling:
                for key in key..<key + 4 {
                    let left = shrinking.remove(key, version: version)
                    let expected = other.remove(key, version: version)
                    #expect(left.sorted() == expected.sorted(), "\(place)")
                }
            case 90 where step % 10 == 0:
                shrinking.tags.note(7, at: version)
                other.tags.note(7, at: version)
            case 91 where step % 10 == 0:
                time += Int64.random(in: 0...1 << 40, using: &random)
                let left = shrinking.change { _ = $0.removeExpired(time, atMost: 50, &$1) }
                let expected = other.change { _ = $0.removeExpired(time, atMost: 50, &$1) }
                #expect(left.sorted() == expected.sorted(), "\(place)")
            case 92 where step % 10 == 0:
                let lighter = capacity / Int.random(in: 1...4, using: &random)
                let left = shrinking.change { $0.setCapacity(lighter, &$1) }
                let expected = other.change { $0.setCapacity(lighter, &$1) }
                #expect(left.sorted() == expected.sorted(), "\(place)")
            default:
                let (found, expected) = (shrinking.read(key, contexts.0), other.read(key, contexts.1))
                #expect(found == expected, "\(place)")
            }
            isMoving = isMoving || shrinking.shard.isSparse
            if step % 3 == 0, isMoving {
                let before = shrinking.shard.entries.count
                isMoving = shrinking.shard.moveTogether(atMost: 20)
                given += 1
                #expect(before - shrinking.shard.entries.count <= 20, "\(place)")
            }
            guard step % 1500 == 0 else { continue }
            #expect(shrinking.shard.hottestKeys(.max) == other.shard.hottestKeys(.max), "\(place)")
            #expect(shrinking.shard.weight == other.shard.weight, "\(place)")
            for key in 0..<5000 {
                let (one, two) = (shrinking.shard.peek(key, Memory.hash(key)), other.shard.peek(key, Memory.hash(key)))
                #expect(one?.value == two?.value, "\(place), key \(key)")
            }
        }
        #expect(given > 10, "seed \(seed), \(policy): it never gave room back")
    }

    @Test("Entries whose deadline reads have moved for ever leave nothing in the timer wheel when they go")
    func deadlinesMovedForEver() {
        let clock = ManualClock()
        let memory = Memory(.lru, capacity: .max)
        let context = MemoryContext(
            clock: CacheClock(clock, storeTime: 0), tags: memory.tags, chance: Chance(seed: 1))
        for key in 0..<3000 {
            let entry = MemoryEntry(
                key: key, value: 1, hash: Memory.hash(key), version: 1,
                deadlines: Deadlines(usableUntil: .max - 1000, freshUntil: .max),
                idle: IdleRule(span: .max - 1000, limit: .max), weight: 1, traits: [])
            _ = memory.change { _ = $0.publish(entry, .write, &$1) }
        }
        clock.advance(by: .seconds(1))
        for key in 0..<3000 { #expect(memory.read(key, context) == 1) }
        for key in 0..<2900 { _ = memory.remove(key, version: 2) }
        #expect(memory.shard.wheel.count == 100)
        while memory.shard.moveTogether(atMost: 100) {}
        _ = memory.change { _ = $0.removeExpired(.max - 1, atMost: 10_000, &$1) }
        for key in 2900..<3000 { #expect(memory.read(key, context) == 1) }
        #expect(memory.shard.entryCount == 100)
    }

    @Test("What many small entries took is given back in steps, and what is left stays where reads find it")
    func steps() {
        var random = SplitMix(1)
        let memory = Memory(.lru, capacity: .max)
        for key in 0..<100_000 { _ = memory.set(key, version: 1, &random) }
        #expect(!memory.isSparse)
        for key in 0..<99_000 where key != 5 { _ = memory.remove(key, version: 2) }
        #expect(memory.isSparse)
        let (slots, places) = (memory.shard.entries.capacity, memory.shard.table.places.count)
        #expect(slots >= 100_000 && places >= 100_000)
        var steps = 1
        while memory.shard.moveTogether(atMost: 128) { steps += 1 }
        #expect(steps >= 98_000 / 128)
        #expect(!memory.isSparse)
        #expect(memory.shard.entries.capacity <= 2002)
        #expect(memory.shard.table.places.count <= 4096)
        for key in [5] + Array(99_000..<100_000) { #expect(memory.shard.peek(key, Memory.hash(key))?.key == key) }
        // All that is free can be taken again, once each.
        for key in 0..<5000 { _ = memory.set(key, version: 3, &random) }
        #expect(memory.shard.entryCount == 6000)
        for key in 0..<5000 { #expect(memory.shard.peek(key, Memory.hash(key))?.version == 3) }
    }

    @Test(
        "A pass in steps meets all that is held as long as it lasts, while entries move",
        arguments: 0..<20 as Range<UInt64>)
    func passes(_ seed: UInt64) {
        var random = SplitMix(seed)
        let memory = Memory(.fifo, capacity: .max)
        for key in 0..<8000 { _ = memory.set(key, version: 1, &random) }
        var held = Set(0..<8000)
        for key in 0..<8000 where random.next() % 8 > 0 {
            held.subtract(memory.remove(key, version: 2))
        }
        var met: Set<Int> = []
        var end: Int?
        repeat {
            let pass = memory.shard.entries.pass(below: end, slots: 64)
            for slot in pass.slots { if let entry = memory.shard.entries[slot] { met.insert(entry.key) } }
            end = pass.next
            _ = memory.shard.moveTogether(atMost: Int.random(in: 0...200, using: &random))
            held.subtract(memory.remove(Int.random(in: 0..<8000, using: &random), version: 3))
            _ = memory.set(8000 + Int.random(in: 0..<100, using: &random), version: 4, &random)
        } while end != nil
        #expect(held.isSubset(of: met), "seed \(seed): \(held.subtracting(met).count) were not met")
    }
}
