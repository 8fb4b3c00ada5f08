import Testing
import VarveEngine
import VarvePolicy
import VarveTestSupport

@testable import Varve

/// Removals of many keys go through memory in steps, and are none the less one change of each key.
struct MassRemovalTests {
    @Test("A shard is held for so many slots at a time, and none of what matches is left in the end")
    func steps() {
        var shard = MemoryShard<Int, Int>(
            policy: .init(.lru, capacity: 5000, expectedEntries: 5000), expectedEntries: 5000, isAuthority: false,
            now: 0
        )
        var discarded = Discarded<Int, Int>()
        for key in 0..<1000 {
            let entry = MemoryEntry(
                key: key, value: key, hash: UInt64(key) &* 0x9E37_79B9_7F4A_7C15, version: 1, deadlines: .never,
                weight: 1, traits: [])
            _ = shard.publish(entry, .write, &discarded)
        }
        shard.beginMassRemoval()
        var rounds = 0
        var asked = 0
        var end: Int?
        repeat {
            let before = asked
            discarded = Discarded()
            end = shard.removeMany(below: end, slots: 100, &discarded) { key in
                asked += 1
                return key % 2 == 0
            }
            #expect(asked - before <= 100)
            rounds += 1
        } while end != nil
        #expect(rounds == 10)
        #expect(asked == 1000)
        #expect(shard.entryCount == 500)
        shard.endMassRemoval(at: 2) { $0 % 2 == 0 }
        let isOver = !shard.isRemovingMany
        #expect(isOver)
    }

    /// What a client does, and whether it found what it must.
    private typealias Client = (Cache<String, Int>) async throws -> Bool

    /// A cache in memory alone in the midst of a removal of all that begins with "a": nothing has been come to yet.
    private func duringRemoval(_ name: String, _ client: Client) async throws -> Cache<String, Int> {
        let cache = try await CacheRig().cache(.memory, Int.self, CacheOptions(memory: .entries(100)))
        #expect(cache.memory.shardCount == 1)
        let version = try await cache.set(1, for: "a")
        try await cache.set(1, for: "b", EntryOptions(isPinned: true))
        #expect(try await cache.set(1, for: "a", ifVersion: version) != nil)
        let removal = PassingRemoval<String>(version: cache.store.nextVersion()) { $0.hasPrefix("a") }
        cache.memory.withShard(at: 0) { $0.beginRemoval(removal) }
        let isRight = try await client(cache)
        #expect(isRight, "\(name)")
        var end: Int?
        repeat {
            end = cache.memory.change(0) { shard, discarded in
                shard.removeMany(below: end, slots: 1, olderThan: removal.version, &discarded, where: removal.matches)
            }
        } while end != nil
        cache.memory.withShard(at: 0) { $0.endRemoval(at: removal.version) }
        return cache
    }

    @Test("In memory alone a key that is being removed is served until it has gone, and nothing is made of it")
    func inMemory() async throws {
        let changes: [(String, Int?, Client)] = [
            ("read", nil, { try await $0.value(for: "a") == 1 }),
            ("set", 2, { try await $0.set(2, for: "a").number > 0 }),
            ("add", 2, { try await $0.add(2, for: "a") != nil }),
            ("replace", nil, { try await $0.replace(2, for: "a") == nil }),
            ("take", nil, { try await $0.take("a") == nil }),
            ("increment", 10, { try await $0.increment("a", by: 10) == 10 }),
            ("update", 5, { try await $0.update("a") { $0 = ($0 ?? 4) + 1 } == 5 }),
            (
                "of an old version", nil,
                { cache in
                    let version = try #require(try await cache.entry(for: "a")).version
                    return try await cache.set(2, for: "a", ifVersion: version) == nil
                }
            ),
            ("refresh", 3, { try await $0.refresh("a") { _ in Loaded(3) } == 3 }),
            ("another", nil, { try await $0.set(2, for: "b").number > 0 }),
        ]
        for (name, left, change) in changes {
            let cache = try await duringRemoval(name, change)
            #expect(try await cache.value(for: "a") == left, "\(name)")
            #expect(try await cache.value(for: "b") == (name == "another" ? 2 : 1), "\(name)")
            #expect(cache.statistics.memoryEntries == (left == nil ? 1 : 2), "\(name)")
            try await cache.close()
        }
    }

    @Test("Who comes after a removal in memory alone, or a change that it refused, joins no load that found the key")
    func parted() {
        typealias Shard = MemoryShard<Int, Int>
        let ways: [(String, (inout Shard, inout Discarded<Int, Int>) -> Void)] = [
            ("the pass", { _ = $0.removeMany(below: nil, slots: 1, olderThan: 5, &$1) { _ in true } }),
            ("a change", { $0.completeRemovals(of: 1, 1, &$1) }),
        ]
        for (name, remove) in ways {
            // Another flight that was out before was told of the removal when it began.
            for wasOut in [false, true] {
                var shard = Shard(
                    policy: .init(.lru, capacity: 10, expectedEntries: 10), expectedEntries: 10, isAuthority: true,
                    now: 0
                )
                var discarded = Discarded<Int, Int>()
                let entry = MemoryEntry(
                    key: 1, value: 1, hash: 1, version: 1, deadlines: .never, weight: 1, traits: [])
                _ = shard.publish(entry, .write, &discarded)
                if wasOut { shard.beginFlight(1) }
                shard.beginRemoval(PassingRemoval(version: 5) { _ in true })
                shard.beginFlight(1)
                shard.loads[1] = Load()
                remove(&shard, &discarded)
                let (left, joinable) = (shard.peek(1, 1), shard.loads[1])
                #expect(left == nil && joinable == nil, "\(name), \(wasOut)")
                // What it brings from the source is newer than the removal.
                let (before, since) = (shard.isOutdated(1, since: 4), shard.isOutdated(1, since: 5))
                #expect(before && !since, "\(name), \(wasOut)")
            }
        }
    }

    @Test("A load that began before a removal in memory alone is not kept")
    func loads() async throws {
        let door = Door()
        let cache = try await CacheRig().cache(.memory, Int.self)
        let load = await cache.hangingLoad("a", of: 1, behind: door)
        try await cache.removeAll(withPrefix: "a")
        await door.open()
        #expect(try await load.value == 1)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }
}
