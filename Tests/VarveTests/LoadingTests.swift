import Testing
import VarveEngine
import VarvePolicy
import VarveTestSupport

@testable import Varve

struct LoadingTests {
    struct SourceDown: Error {}

    @Test("Ten thousand callers of one missing key run the loader once", arguments: CacheRig.Home.allCases)
    func oneLoad(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let tally = Tally()
        let door = Door()
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<10_000 {
                group.addTask {
                    try await cache.value(for: "a") { _ in
                        await tally.add()
                        await door.pass()
                        return 1
                    }
                }
            }
            await door.arrived(1)
            await door.open()
            return try await group.reduce(0, +)
        }
        #expect(sum == 10_000)
        #expect(await tally.count == 1)
        #expect(cache.statistics.loads == 1)
        #expect(try await cache.value(for: "a") == 1)
        try await cache.close()
    }

    @Test("A loading cache asks its loader for what is missing", arguments: CacheRig.Home.allCases)
    func loadingCache(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let tally = Tally()
        let loading = LoadingCache(cache) { key in
            await tally.add()
            return key.count
        }
        #expect(try await loading.value(for: "four") == 4)
        #expect(try await loading.value(for: "four") == 4)
        #expect(await tally.count == 1)
        try await loading.cache.set(5, for: "four")
        #expect(try await loading.value(for: "four") == 5)
        #expect(try await loading.valueOrNil(for: "four") == 5)
        #expect(try await loading.refresh("four") == 4)
        #expect(try await cache.value(for: "four") == 4)
        #expect(await tally.count == 2)
        let absent = LoadingCache(cache, loading: { _ in Loaded(nil, .init(expiry: .hours(1))) })
        await #expect(throws: ValueAbsent.self) { try await absent.value(for: "none") }
        // It is remembered: the other's loader is not asked.
        await #expect(throws: ValueAbsent.self) { try await loading.value(for: "none") }
        #expect(await tally.count == 2)
        #expect(try await absent.valueOrNil(for: "none") == nil)
        #expect(try await absent.refresh("four") == nil)
        let failing = LoadingCache(cache, load: { _ in throw SourceDown() })
        await #expect(throws: SourceDown.self) { try await failing.value(for: "five") }
        try await cache.close()
    }

    @Test("A loaded value is there after reopening, and is not loaded again")
    func survives() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c")
        #expect(try await cache.value(for: "a") { _ in 1 } == 1)
        try await cache.store.close()
        let again: Cache<String, Int> = try await rig.store().cache(named: "c")
        #expect(try await again.value(for: "a") { _ in throw SourceDown() } == 1)
        try await again.store.close()
    }

    @Test("One caller's end is its own; the last one's ends the load", arguments: CacheRig.Home.allCases)
    func cancellation(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let door = Door()
        let ended = Tally()
        let load: @Sendable (String) async throws -> Int = { _ in
            await door.pass()
            if Task.isCancelled { await ended.add() }
            try Task.checkCancellation()
            return 1
        }
        let first = Task { try await cache.value(for: "a", load: load) }
        await door.arrived(1)
        let second = Task { try await cache.value(for: "a", load: load) }
        while cache.statistics.loadsShared < 1 { await Task.yield() }
        first.cancel()
        await #expect(throws: CancellationError.self) { try await first.value }
        await door.open()
        #expect(try await second.value == 1)
        #expect(await ended.count == 0)

        let other = Door()
        let alone = Task {
            try await cache.value(for: "b") { _ in
                await other.pass()
                if Task.isCancelled { await ended.add() }
                try Task.checkCancellation()
                return 2
            }
        }
        await other.arrived(1)
        alone.cancel()
        await #expect(throws: CancellationError.self) { try await alone.value }
        await other.open()
        while await ended.count == 0 { await Task.yield() }
        #expect(try await cache.value(for: "b") == nil)
        #expect(try await cache.value(for: "b") { _ in 3 } == 3)
        try await cache.close()
    }

    enum Change: CaseIterable, Sendable {
        case set, remove, prefix, all, tag
    }

    @Test(
        "A load that began before a change never stores its result, and who comes after the change does not get it",
        arguments: CacheRig.Home.allCases, Change.allCases)
    func outdated(_ home: CacheRig.Home, _ change: Change) async throws {
        let cache = try await CacheRig().cache(home, String.self)
        let door = Door()
        let load = Task {
            try await cache.value(for: "key") { _ in
                await door.pass()
                return Loaded("old", EntryOptions(tags: ["t"]))
            }
        }
        await door.arrived(1)
        switch change {
        case .set: try await cache.set("new", for: "key")
        case .remove: try await cache.remove("key")
        case .prefix: try await cache.removeAll(withPrefix: "k")
        case .all: try await cache.removeAll()
        case .tag: try await cache.remove(taggedWith: "t")
        }
        let expected = change == .set ? "new" : nil
        #expect(try await cache.value(for: "key") == expected)
        // Who comes now must not be given what the load brings that began before. After a drop that one is waited for, since
        // nobody knows yet what it will carry.
        let later = Task { try await cache.value(for: "key") { _ in "fresh" } }
        if change == .tag { while cache.statistics.loadsShared == 0 { await Task.yield() } }
        if change != .set, change != .tag { #expect(try await later.value == "fresh") }
        await door.open()
        #expect(try await load.value == "old")
        #expect(try await later.value == expected ?? "fresh")
        #expect(try await cache.value(for: "key") == expected ?? "fresh")
        try await cache.close()
    }

    @Test("A stale value is served while one refresh runs", arguments: CacheRig.Home.allCases)
    func staleWhileRevalidate(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let expiry = Expiry(usable: .seconds(100), fresh: .seconds(10))
        let cache = try await rig.cache(home, Int.self, CacheOptions(expiry: expiry))
        let source = Tally()
        let load: @Sendable (String) async throws -> Int = { _ in
            await source.add()
            return await source.count
        }
        #expect(try await cache.value(for: "a", load: load) == 1)
        rig.clock.advance(by: .seconds(20))
        #expect(try await cache.value(for: "a", load: load) == 1)
        while await source.count < 2 { await Task.yield() }
        while cache.valueInMemory(for: "a") != 2 { await Task.yield() }
        #expect(try await cache.value(for: "a", load: load) == 2)
        #expect(cache.statistics.staleServed >= 1)
        try await cache.close()
    }

    @Test(
        "A stale value is served when the source fails, and only while it is usable", arguments: CacheRig.Home.allCases)
    func staleIfError(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.loading.softTimeout = nil
        let cache = try await rig.cache(home, Int.self, options)
        #expect(try await cache.value(for: "a") { _ in 1 } == 1)
        rig.clock.advance(by: .seconds(20))
        #expect(try await cache.value(for: "a") { _ in throw SourceDown() } == 1)
        #expect(try await cache.value(for: "a") { _ in 2 } == 2)
        rig.clock.advance(by: .seconds(100))
        await #expect(throws: SourceDown.self) { try await cache.value(for: "a") { _ in throw SourceDown() } }
        try await cache.close()
    }

    @Test("That the source has none is remembered for as long as is said", arguments: CacheRig.Home.allCases)
    func absence(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading.absence = .seconds(10)
        let cache = try await rig.cache(home, Int.self, options)
        let source = Tally()
        let load: Cache<String, Int>.Loader = { _ in
            await source.add()
            return Loaded(nil)
        }
        #expect(try await cache.value(for: "a", loading: load) == nil)
        #expect(try await cache.value(for: "a", loading: load) == nil)
        #expect(await source.count == 1)
        rig.clock.advance(by: .seconds(10))
        #expect(try await cache.value(for: "a", loading: load) == nil)
        #expect(await source.count == 2)
        #expect(try await cache.add(1, for: "a") != nil)
        #expect(try await cache.value(for: "a", loading: load) == 1)
        try await cache.close()
    }

    @Test("A key whose load failed is left alone, longer each time", arguments: CacheRig.Home.allCases)
    func backOff(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading.backOff = .init(initial: .seconds(1), maximum: .seconds(3))
        let cache = try await rig.cache(home, Int.self, options)
        func fails() async {
            await #expect(throws: SourceDown.self) { try await cache.value(for: "a") { _ in throw SourceDown() } }
        }
        func isRefused() async {
            await #expect(throws: LoadRefused.self) { try await cache.value(for: "a") { _ in 1 } }
        }
        await fails()
        await isRefused()
        rig.clock.advance(by: .seconds(1))
        await fails()
        rig.clock.advance(by: .seconds(1))
        await isRefused()
        rig.clock.advance(by: .seconds(1))
        await fails()
        rig.clock.advance(by: .seconds(3))
        #expect(try await cache.value(for: "b") { _ in 2 } == 2)
        #expect(try await cache.value(for: "a") { _ in 1 } == 1)
        try await cache.close()
    }

    @Test("After many failures the source is given a rest, and one load decides", arguments: CacheRig.Home.allCases)
    func circuitBreaker(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading.breaker = .init(failures: 3, pause: .seconds(5))
        let cache = try await rig.cache(home, Int.self, options)
        for number in 0..<3 {
            await #expect(throws: SourceDown.self) {
                try await cache.value(for: "\(number)") { _ in throw SourceDown() }
            }
        }
        await #expect(throws: LoadRefused.self) { try await cache.value(for: "x") { _ in 1 } }
        rig.clock.advance(by: .seconds(5))
        await #expect(throws: SourceDown.self) { try await cache.value(for: "x") { _ in throw SourceDown() } }
        await #expect(throws: LoadRefused.self) { try await cache.value(for: "y") { _ in 1 } }
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.value(for: "y") { _ in 1 } == 1)
        #expect(try await cache.value(for: "z") { _ in 1 } == 1)
        #expect(cache.statistics.loadsRefused == 2)
        try await cache.close()
    }

    @Test("Misses of a batch are asked for in one call", arguments: CacheRig.Home.allCases)
    func batch(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(0, for: "0")
        let calls = Tally()
        let load: @Sendable ([String]) async throws -> [String: Int] = { keys in
            await calls.add()
            return Dictionary(uniqueKeysWithValues: keys.filter { $0 != "none" }.map { ($0, Int($0) ?? -1) })
        }
        let found = try await cache.values(for: ["0", "1", "2", "none", "1"], load: load)
        #expect(found == ["0": 0, "1": 1, "2": 2])
        #expect(await calls.count == 1)
        #expect(try await cache.value(for: "2") == 2)
        try await cache.close()
    }

    @Test(
        "A batch counts each key as one request",
        arguments: CacheRig.Home.allCases)
    func staleBatch(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self)
        try await cache.set(0, for: "0", .init(expiry: Expiry(usable: .seconds(10), fresh: .seconds(1))))
        rig.clock.advance(by: .seconds(2))
        let found = try await cache.values(for: ["0"], load: { _ in [:] })
        #expect(found == ["0": 0])
        #expect(cache.statistics.requests == 1)
        let loaded = try await cache.values(for: ["1", "2"]) { _ in ["1": 1] }
        #expect(loaded == ["1": 1])
        #expect(cache.statistics.requests == 3)
        try await cache.close()
    }

    @Test("Dear loads are refreshed early, by chance, and cheap ones are not")
    func earlyRefresh() {
        let clock = CacheRig().clock
        let context = MemoryContext(
            clock: CacheClock(clock, storeTime: 0), tags: TagRegistry(), chance: Chance(seed: 7))
        let fresh = Deadlines(usableUntil: .max, freshUntil: 10_000_000_000)
        let usable = Deadlines(usableUntil: 10_000_000_000, freshUntil: .max)
        func share(loadSeconds: Int64, _ deadlines: Deadlines, _ idle: IdleRule = .none) -> Int {
            var shard = MemoryShard<String, Int>(
                policy: .init(.lru, capacity: 10, expectedEntries: 10), expectedEntries: 10, isAuthority: true, now: 0)
            var discarded = Discarded<String, Int>()
            let entry = MemoryEntry(
                key: "a", value: 1, hash: 1, version: 1,
                deadlines: deadlines, idle: idle, loadNanoseconds: loadSeconds * 1_000_000_000, weight: 1, traits: [])
            _ = shard.publish(entry, .write, &discarded)
            return (0..<1000).filter { _ in
                if case .due = shard.lookUp("a", 1, context) { true } else { false }
            }.count
        }
        // e^-(10/5) of them: about 135 of 1000. Without a fresh deadline the usable one is what draws near.
        for deadlines in [fresh, usable] {
            #expect((50...300).contains(share(loadSeconds: 5, deadlines)))
            #expect(share(loadSeconds: 0, deadlines) == 0)
        }
        // A deadline that reads move is no reason, the one that they do not is.
        let span: Int64 = 10_000_000_000
        #expect(share(loadSeconds: 5, usable, IdleRule(span: span, limit: .max)) == 0)
        #expect((50...300).contains(share(loadSeconds: 5, usable, IdleRule(span: span, limit: span))))
    }
}
