import Synchronization
import Testing
import VarveEngine
import VarvePolicy
import VarveTestSupport

@testable import Varve

struct ExpiryTests {
    @Test("Usable until the nanosecond before, in memory and after reopening")
    func afterWrite() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", .init(expiry: .seconds(10)))
        try await cache.set(1, for: "a")
        try await cache.set(2, for: "b", EntryOptions(expiry: .never))
        rig.clock.advance(by: .seconds(10) - .nanoseconds(1))
        #expect(try await cache.value(for: "a") == 1)
        rig.clock.advance(by: .nanoseconds(1))
        #expect(try await cache.value(for: "a") == nil)
        #expect(cache.statistics.misses[.expired] == 1)
        #expect(try await cache.value(for: "b") == 2)
        try await cache.store.close()
        let again: Cache<String, Int> = try await rig.store().cache(named: "c")
        #expect(try await again.value(for: "a") == nil)
        #expect(try await again.value(for: "b") == 2)
        try await again.store.close()
    }

    @Test(
        "What expires while other keys of a call take their time is loaded as well", arguments: CacheRig.Home.allCases)
    func expiresMeanwhile(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading.earlyRefresh = 0
        let cache = try await rig.cache(home, Int.self, options)
        try await cache.set(1, for: "short", EntryOptions(expiry: .seconds(10)))
        try await cache.set(1, for: "long", EntryOptions(expiry: .seconds(11)))
        let calls = Tally()
        let found = try await cache.values(for: ["short", "long", "missing"]) { keys in
            await calls.add()
            if keys == ["missing"] { rig.clock.advance(by: .seconds(10)) } else { #expect(keys == ["short"]) }
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 2) })
        }
        #expect(found == ["short": 2, "long": 1, "missing": 2])
        #expect(await calls.count == 2)
        try await cache.close()
    }

    @Test("What expires while other keys are read from disk is left out")
    func expiresBesideReads() async throws {
        let rig = CacheRig()
        let turns = Mutex(false)
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                if turns.withLock({ $0 }) { rig.clock.advance(by: .seconds(10)) }
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        let options = CacheOptions(memory: .entries(2), policy: .fifo)
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", coding: coding, options)
        try await cache.set(3, for: "on disk")
        try await cache.set(1, for: "short", EntryOptions(expiry: .seconds(10)))
        try await cache.set(2, for: "long", EntryOptions(expiry: .seconds(11)))
        turns.withLock { $0 = true }
        #expect(cache.valueInMemory(for: "short") == 1)
        #expect(try await cache.values(for: ["short", "on disk", "long"]) == ["on disk": 3, "long": 2])
        try await cache.store.close()
    }

    @Test(
        "Who asks for many is served nothing that has expired by then, and all that there is",
        arguments: CacheRig.Home.allCases, 1...10 as ClosedRange<UInt64>)
    func many(_ home: CacheRig.Home, seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        let rig = CacheRig()
        var options = CacheOptions()
        // On disk memory has no room for most of them.
        if home == .disk { options.memory = .entries(3) }
        options.loading.earlyRefresh = 0
        let cache = try await rig.cache(home, Int.self, options)
        for round in 1...20 {
            var deadlines: [String: Int64] = [:]
            let keys = (0..<10).map { "\(round) \($0)" }
            for key in keys where draw(4) > 0 {
                let span = 1 + draw(10)
                let expiry: Expiry = draw(2) == 0 ? .seconds(span) : Expiry(idle: .seconds(span))
                try await cache.set(-1, for: key, EntryOptions(expiry: expiry))
                if expiry.idle == nil { deadlines[key] = cache.store.clock.now() + Int64(span) * 1_000_000_000 }
            }
            rig.clock.advance(by: .seconds(draw(5)))
            let steps = (0..<4).map { _ in draw(4) }
            let calls = Tally()
            let found = try await cache.values(for: keys) { keys in
                rig.clock.advance(by: .seconds(steps[await calls.count % 4]))
                await calls.add()
                let number = await calls.count
                return Dictionary(uniqueKeysWithValues: keys.map { ($0, number) })
            }
            let now = cache.store.clock.now()
            #expect(found.count == keys.count, "seed \(seed), round \(round)")
            for (key, deadline) in deadlines {
                #expect((found[key] == -1) == (deadline > now), "seed \(seed), round \(round), key \(key)")
            }
        }
        try await cache.close()
    }

    @Test("A wall clock that steps back gives no entry life again", arguments: CacheRig.Home.allCases)
    func wallClock(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self, CacheOptions(expiry: .seconds(10)))
        try await cache.set(1, for: "a")
        rig.clock.setWall(nanoseconds: rig.clock.wallNanoseconds - 3_600_000_000_000)
        rig.clock.advance(by: .seconds(9))
        #expect(try await cache.value(for: "a") == 1)
        rig.clock.advance(by: .seconds(1))
        #expect(try await cache.value(for: "a") == nil)
        rig.clock.setWall(nanoseconds: rig.clock.wallNanoseconds - 3_600_000_000_000)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("Reads move an idle deadline", arguments: CacheRig.Home.allCases)
    func idle(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self, CacheOptions(expiry: Expiry(idle: .seconds(10))))
        try await cache.set(1, for: "read")
        try await cache.set(2, for: "left alone")
        for _ in 0..<5 {
            rig.clock.advance(by: .seconds(6))
            #expect(try await cache.value(for: "read") == 1)
        }
        #expect(try await cache.value(for: "left alone") == nil)
        rig.clock.advance(by: .seconds(10))
        #expect(try await cache.value(for: "read") == nil)
        try await cache.close()
    }

    @Test("The memory of what has expired is given back by the store's own thread", arguments: CacheRig.Home.allCases)
    func memoryIsGivenBack(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self, CacheOptions(expiry: .seconds(10)))
        for number in 0..<100 { try await cache.set(number, for: "\(number)") }
        try await cache.set(0, for: "stays", EntryOptions(expiry: .never))
        #expect(cache.statistics.memoryEntries == 101)
        rig.clock.advance(by: .seconds(60))
        await cache.store.maintained()
        #expect(cache.statistics.memoryEntries == 1)
        #expect(cache.statistics.expired == 100)
        try await cache.close()
    }

    @Test("A shard is held for so many expired entries at a time, and none is left in the end")
    func boundedSweep() {
        var shard = MemoryShard<Int, Int>(
            policy: .init(.lru, capacity: 1000, expectedEntries: 1000), expectedEntries: 1000, isAuthority: true, now: 0
        )
        var discarded = Discarded<Int, Int>()
        for key in 0..<1000 {
            let entry = MemoryEntry(
                key: key, value: key, hash: UInt64(key) &* 0x9E37_79B9_7F4A_7C15, version: 1,
                deadlines: Deadlines(usableUntil: 1_000_000_000, freshUntil: .max), weight: 1, traits: [])
            _ = shard.publish(entry, .write, &discarded)
        }
        var rounds = 0
        var hasMore = true
        while hasMore {
            discarded = Discarded()
            hasMore = shard.removeExpired(10_000_000_000, atMost: 100, &discarded)
            #expect(discarded.count <= 100)
            rounds += 1
        }
        #expect(shard.entryCount == 0)
        #expect((10...11).contains(rounds))
    }

    @Test(
        "The cache's own jitter parts what is written together, whatever the span and however it came",
        arguments: CacheRig.Home.allCases,
        [Expiry(usable: .seconds(10), jitter: 0.2), Expiry(idle: .seconds(10), jitter: 0.2)])
    func cacheJitter(_ home: CacheRig.Home, _ expiry: Expiry) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self, CacheOptions(expiry: expiry))
        for number in 0..<100 {
            try await cache.set(number, for: "set \(number)")
            _ = try await cache.value(for: "loaded \(number)") { _ in number }
        }
        func left(_ prefix: String) -> Int {
            let now = cache.store.clock.now()
            return (0..<100).count { number in
                let key = "\(prefix) \(number)"
                let hash = cache.memory.hash(key)
                let held = cache.memory.withShard(hash) { $0.peek(key, hash) }
                return held.map { $0.deadlines.usableUntil > now } ?? false
            }
        }
        rig.clock.advance(by: .seconds(8) - .nanoseconds(1))
        #expect(left("set") == 100 && left("loaded") == 100)
        rig.clock.advance(by: .seconds(1))
        #expect((1...99).contains(left("set")) && (1...99).contains(left("loaded")))
        rig.clock.advance(by: .seconds(1) + .nanoseconds(1))
        #expect(left("set") == 0 && left("loaded") == 0)
        try await cache.close()
    }

    private static let nothing: [Expiry] = [
        .seconds(0), .seconds(-1), Expiry(idle: .zero), Expiry(usable: .seconds(9), idle: .seconds(-1)),
    ]

    @Test("A write refuses an expiry that nobody can mean, and changes nothing", arguments: CacheRig.Home.allCases)
    func refused(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let version = try await cache.set(1, for: "a")
        let wrong =
            Self.nothing + [
                Expiry(usable: .seconds(9), fresh: .zero), Expiry(usable: .seconds(9), jitter: 1.1),
                Expiry(usable: .seconds(9), jitter: .nan),
            ]
        for expiry in wrong {
            let entry = EntryOptions(expiry: expiry)
            #expect(await code { try await cache.set(2, for: "a", entry) } == .invalidArgument)
            #expect(await code { _ = try await cache.set(2, for: "a", ifVersion: version, entry) } == .invalidArgument)
            #expect(await code { _ = try await cache.replace(2, for: "a", entry) } == .invalidArgument)
            #expect(await code { _ = try await cache.add(2, for: "b", entry) } == .invalidArgument)
            #expect(await code { try await cache.update("a", entry) { $0 = 2 } } == .invalidArgument)
            #expect(await code { try await cache.increment("a", by: 1, entry) } == .invalidArgument)
            let thrown = await code {
                try await cache.set(2, for: "a", entry) { _, _ in Issue.record("the origin was asked") }
            }
            #expect(thrown == .invalidArgument)
        }
        #expect(try await cache.entry(for: "a")?.version == version)
        #expect(try await cache.value(for: "b") == nil)
        try await cache.close()
    }

    @Test(
        "What a loader brings that is over at once is its callers', and the cache has nothing afterwards",
        arguments: CacheRig.Home.allCases)
    func overAtOnce(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        for expiry in Self.nothing {
            try await cache.set(1, for: "a")
            let over = Loaded(2, EntryOptions(expiry: expiry))
            #expect(try await cache.refresh("a", loading: { _ in over }) == 2)
            #expect(try await cache.value(for: "a") == nil)
            #expect(try await cache.value(for: "b", loading: { _ in over }) == 2)
            let both = try await cache.values(for: ["b", "c"], loading: { _ in ["b": over, "c": over] })
            #expect(both == ["b": 2, "c": 2])
            #expect(try await cache.values(for: ["a", "b", "c"]) == [:])
            #expect(try await cache.write("a", through: { _ in over }) == 2)
            #expect(try await cache.value(for: "a") == nil)
        }
        // Stale at once is another thing: it is served, and asked for again.
        let stale = Loaded(3, EntryOptions(expiry: Expiry(usable: .seconds(10), fresh: .seconds(-1), jitter: 7)))
        #expect(try await cache.value(for: "a", loading: { _ in stale }) == 3)
        #expect(try await cache.entry(for: "a")?.isStale == true)
        #expect(cache.statistics.loadFailures == 0 && cache.statistics.loadsUnstored == 0)
        try await cache.close()
    }

    @Test("Jitter shortens, by no more than its share")
    func jitter() {
        let expiry = Expiry(usable: .seconds(100), fresh: .seconds(50), jitter: 0.2)
        for step in 0..<10 {
            let deadlines = Deadlines(expiry, at: 0, draw: Double(step) / 10)
            #expect(deadlines.usableUntil <= 100_000_000_000 && deadlines.usableUntil >= 80_000_000_000)
            #expect(deadlines.freshUntil <= 50_000_000_000 && deadlines.freshUntil >= 40_000_000_000)
        }
        for step in 0..<10 {
            let rule = IdleRule(Expiry(idle: .seconds(100), jitter: 0.2), at: 0, draw: Double(step) / 10)
            #expect(rule.span == 100_000_000_000 - Int64(step) * 2_000_000_000)
        }
        // Nor for a round number.
        let odd = Expiry(usable: .milliseconds(19_999), idle: .milliseconds(19_999), jitter: 0.3)
        for draw in [0.5, 0.99999, 1.0.nextDown] {
            #expect(IdleRule(odd, at: 0, draw: draw).span >= 13_999_300_000)
            #expect(IdleRule(odd, at: 0, draw: draw).limit >= 13_999_300_000)
        }
        #expect(IdleRule(odd, at: 0, draw: 0.5).span == 16_999_000_000)
        #expect(Deadlines(.never, at: .max, draw: 0) == .never)
        #expect(Deadlines(.after(.seconds(Int64.max)), at: .max - 5, draw: 0).usableUntil == .max)
    }
}
