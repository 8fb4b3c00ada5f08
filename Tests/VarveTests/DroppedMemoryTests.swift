import Testing
import VarveEngine
import VarvePolicy
import VarveTestSupport

@testable import Varve

/// Memory gives back what a drop of a tag has outdated: it is worth nothing, and what is worth something has the room.
struct DroppedMemoryTests {
    @Test("What carries a dropped tag leaves memory, pinned or not, read or not", arguments: CacheRig.Home.allCases)
    func sweep(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        for number in 0..<50 { try await cache.set(number, for: "plain \(number)") }
        try await cache.set(0, for: "other", EntryOptions(tags: ["other"]))
        let before = cache.statistics.memoryWeight
        for number in 0..<500 {
            let options = EntryOptions(
                expiry: number % 4 == 0 ? .seconds(1000) : nil, tags: ["other", "t"], isPinned: number % 3 == 0)
            try await cache.set(number, for: "\(number)", options)
        }
        try await cache.remove(taggedWith: "t")
        await cache.store.maintained()
        #expect(cache.statistics.memoryEntries == 51)
        #expect(cache.statistics.memoryWeight == before)
        #expect(cache.statistics.evictions == 0)
        for number in 0..<500 { #expect(try await cache.value(for: "\(number)") == nil) }
        // What is remembered of those that went is forgetful.
        #expect(cache.statistics.misses[.invalidated, default: 0] > 450)
        for number in 0..<50 { #expect(cache.valueInMemory(for: "plain \(number)") == number) }
        #expect(cache.valueInMemory(for: "other") == 0)
        try await cache.close()
    }

    @Test("Pinned entries whose tag was dropped take nothing of the limit", arguments: CacheRig.Home.allCases)
    func pinned(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self, CacheOptions(memory: .entries(10), policy: .lru))
        for number in 0..<10 {
            try await cache.set(number, for: "\(number)", EntryOptions(tags: ["t"], isPinned: true))
        }
        try await cache.remove(taggedWith: "t")
        await cache.store.maintained()
        for number in 10..<20 { try await cache.set(number, for: "\(number)") }
        for number in 10..<20 { #expect(cache.valueInMemory(for: "\(number)") == number) }
        try await cache.close()
    }

    @Test("What was found dropped is the first to leave for want of room")
    func foundAtRead() async throws {
        let cache = try await CacheRig().cache(.memory, Int.self, CacheOptions(memory: .entries(3), policy: .fifo))
        try await cache.set(1, for: "first")
        try await cache.set(2, for: "second")
        try await cache.set(3, for: "dropped", EntryOptions(tags: ["t"]))
        cache.memory.context.tags.note(TagRegistry.id(of: "t"), at: cache.store.nextVersion())
        for _ in 0..<3 { #expect(cache.valueInMemory(for: "dropped") == nil) }
        try await cache.set(4, for: "new")
        #expect(cache.valueInMemory(for: "first") == 1)
        #expect(cache.valueInMemory(for: "new") == 4)
        #expect(cache.statistics.evictions == 0)
        // One that comes again in its place lives.
        try await cache.set(5, for: "dropped", EntryOptions(tags: ["t"]))
        #expect(cache.valueInMemory(for: "dropped") == 5)
        try await cache.close()
    }

    @Test("However many were found dropped, some leave at a time")
    func someAtOnce() {
        let tags = TagRegistry()
        var shard = MemoryShard<Int, Int>(
            policy: MemoryPolicy(.lru, capacity: 1000, expectedEntries: 1000), expectedEntries: 1000, isAuthority: true,
            tags: tags, now: 0)
        let context = MemoryContext(
            clock: CacheClock(CacheRig().clock, storeTime: 0), tags: tags, chance: Chance(seed: 1))
        var discarded = Discarded<Int, Int>()
        func set(_ key: Int, _ tags: [UInt64]) {
            let entry = MemoryEntry(
                key: key, value: key, hash: UInt64(key), version: 1, deadlines: .never, tags: tags, weight: 1,
                traits: [])
            _ = shard.publish(entry, .write, &discarded)
        }
        for key in 1...200 { set(key, [7]) }
        tags.note(7, at: 2)
        for key in 1...200 { _ = shard.lookUp(key, UInt64(key), context) }
        var counts: [Int] = []
        for key in 201...205 {
            set(key, [])
            counts.append(shard.entryCount)
        }
        #expect(counts == [137, 74, 11, 4, 5])
    }

    @Test("A pass through the slots is rested from, and a sleep of the machine does not count")
    func rest() {
        #expect(DropSweep.rest(after: 1000) == 9000)
        #expect(DropSweep.rest(after: 0) == 0)
        #expect(DropSweep.rest(after: -5) == 0)
        for slept in [3_600_000_000_000, Int64.max] { #expect(DropSweep.rest(after: slept) == 10_000_000_000) }
    }

    @Test("What comes to memory after its tag was dropped does not stay, though no drop comes after it")
    func late() async throws {
        let cache = try await CacheRig().cache(.memory, Int.self)
        cache.memory.context.tags.note(TagRegistry.id(of: "t"), at: 10)
        await cache.store.maintained()
        for (key, version, stays) in [("a", UInt64(9), false), ("b", 10, false), ("c", 11, true)] {
            let hash = cache.memory.hash(key)
            let entry = MemoryEntry(
                key: key, value: 1, hash: hash, version: version, deadlines: .never, tags: [TagRegistry.id(of: "t")],
                weight: 1, traits: [.onDisk, .pinned])
            for origin in [MemoryShard<String, Int>.Origin.read, .write] {
                cache.memory.change(hash) { _ = $0.publish(entry, origin, &$1) }
                #expect((cache.memory.withShard(hash) { $0.peek(key, hash)?.version } != nil) == stays, "\(key)")
            }
        }
        #expect(cache.statistics.memoryEntries == 1)
        try await cache.close()
    }

    @Test("A drop that is under way takes nothing from memory, and none where it did not happen after all")
    func pending() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        try await cache.set(1, for: "a", EntryOptions(tags: ["t"]))
        let tag = TagRegistry.id(of: "t")
        cache.memory.context.tags.begin(tag, since: 1)
        // Another one has it swept.
        try await cache.remove(taggedWith: "another")
        await cache.store.maintained()
        #expect(cache.valueInMemory(for: "a") == 1)
        cache.memory.context.tags.end(tag, at: nil)
        await cache.store.maintained()
        #expect(cache.valueInMemory(for: "a") == 1)
        try await cache.close()
    }

    @Test(
        "Beside any course of writes, drops and evictions: what memory holds is alive, and weighs what it says",
        arguments: CacheRig.Home.allCases, 0..<12 as Range<UInt64>)
    func model(_ home: CacheRig.Home, seed: UInt64) async throws {
        var random = SplitMix(seed)
        let policy = EvictionPolicyKind.allCases.randomElement(using: &random) ?? .lru
        let limit = Int.random(in: 5...60, using: &random)
        let cache = try await CacheRig().cache(home, Int.self, CacheOptions(memory: .entries(limit), policy: policy))
        /// What was written and not removed since, with its tags.
        var model: [String: (value: Int, tags: Set<String>)] = [:]
        for step in 0..<200 {
            let key = "\(Int.random(in: 0..<80, using: &random))"
            switch Int.random(in: 0..<12, using: &random) {
            case 0:
                let tag = "tag \(Int.random(in: 0..<4, using: &random))"
                try await cache.remove(taggedWith: tag)
                model = model.filter { !$0.value.tags.contains(tag) }
            case 1:
                await cache.store.maintained()
                var dead: [String] = []
                cache.memory.changeAll { shard, _ in shard.forEach { if model[$0.key] == nil { dead.append($0.key) } } }
                #expect(dead.isEmpty, "seed \(seed), step \(step), \(home)")
                #expect(cache.statistics.memoryWeight == cache.statistics.memoryEntries, "seed \(seed), step \(step)")
            case 2:
                try await cache.remove(key)
                model[key] = nil
            case ..<7:
                let found = try await cache.value(for: key)
                if found != nil || home == .disk {
                    #expect(found == model[key]?.value, "seed \(seed), step \(step), \(home)")
                }
            default:
                let tags = Set((0..<4).filter { _ in random.next() % 3 == 0 }.map { "tag \($0)" })
                let isPinned = random.next() % 10 == 0
                try await cache.set(step, for: key, EntryOptions(tags: Array(tags), isPinned: isPinned))
                model[key] = (step, tags)
            }
        }
        try await cache.close()
    }
}
