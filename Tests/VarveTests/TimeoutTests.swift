import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Soft and hard timeouts, and stale values while and when the source does not answer.
struct TimeoutTests {
    struct SourceDown: Error {}

    /// Where a stale entry lies when it is asked for.
    enum Place: CaseIterable, Sendable {
        case memory, disk
    }

    /// A cache with a stale entry 1 under "a", fresh for 10 seconds and usable for 100, written 20 seconds ago.
    private func stale(
        _ rig: CacheRig, _ place: Place, _ adjust: (inout LoadOptions) -> Void
    ) async throws -> Cache<String, Int> {
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.warmRestart = nil
        adjust(&options.loading)
        var cache = try await rig.cache(.disk, Int.self, options)
        try await cache.set(1, for: "a")
        if place == .disk {
            // Into a table that must be read, so that the fetch needs a task of its own.
            try await cache.disk?.engine.flush()
            try await cache.close()
            cache = try await rig.cache(.disk, Int.self, options)
        }
        rig.clock.advance(by: .seconds(20))
        return cache
    }

    @Test(
        "A caller waits for the fresh value no longer than the soft timeout, and the load goes on",
        arguments: Place.allCases)
    func softTimeout(_ place: Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place) { $0.softTimeout = .milliseconds(10) }
        let door = Door()
        let load: @Sendable (String) async throws -> Int = { _ in
            await door.pass()
            try Task.checkCancellation()
            return 2
        }
        #expect(try await cache.value(for: "a", load: load) == 1)
        #expect(cache.statistics.staleServed == 1)
        await door.open()
        while cache.valueInMemory(for: "a") != 2 { await Task.yield() }
        #expect(cache.statistics.loads == 1)
        try await cache.close()
    }

    @Test("Without a soft timeout a caller waits until the load has ended", arguments: Place.allCases)
    func noSoftTimeout(_ place: Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place) { $0.softTimeout = nil }
        #expect(try await cache.value(for: "a") { _ in 2 } == 2)
        #expect(cache.statistics.staleServed == 0)
        try await cache.close()
    }

    @Test("With a soft timeout of zero nobody waits", arguments: Place.allCases)
    func atOnce(_ place: Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place) { $0.softTimeout = .zero }
        let door = Door()
        let load: @Sendable (String) async throws -> Int = { _ in
            await door.pass()
            return 2
        }
        for _ in 0..<3 { #expect(try await cache.value(for: "a", load: load) == 1) }
        await door.open()
        while cache.valueInMemory(for: "a") != 2 { await Task.yield() }
        #expect(cache.statistics.loads == 1)
        try await cache.close()
    }

    @Test(
        "How early an entry is loaded anew is the owner's to say; nobody waits for that, or is served anything stale",
        arguments: [0.0, 100.0], [Duration.zero, nil])
    func earlyRefresh(factor: Double, softTimeout: Duration?) async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.loading.earlyRefresh = factor
        options.loading.softTimeout = softTimeout
        let cache = try await rig.cache(.memory, Int.self, options)
        _ = try await cache.value(for: "a") { _ in
            let began = Latencies.now()
            while Latencies.now() - began < 2_000_000 { await Task.yield() }
            return 1
        }
        // A fifth of a second is what counts at the least: it is hardly ever not due a microsecond before its deadline.
        rig.clock.advance(by: .seconds(10) - .microseconds(1))
        let door = Door()
        for _ in 0..<100 where cache.statistics.loads == 1 {
            let value = try await cache.value(for: "a") { _ in
                await door.pass()
                return 2
            }
            #expect(value == 1)
            // For many at once as for one.
            #expect(try await cache.values(for: ["a"], load: { _ in ["a": 2] }) == ["a": 1])
            for _ in 0..<100 where cache.loadsUnderWay.count > 0 { await Task.yield() }
        }
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect((cache.statistics.loads > 1) == (factor > 0))
        #expect(try await cache.value(for: "a") == (factor > 0 ? 2 : 1))
        #expect(cache.statistics.staleServed == 0)
        try await cache.close()
        for factor in [-0.1, 101, .nan] {
            options.loading.earlyRefresh = factor
            await #expect(throws: VarveError.self) { try await rig.cache(.memory, Int.self, options) }
        }
    }

    @Test(
        "What comes from disk is loaded anew early, by what loads took lately; what was set is not",
        arguments: [true, false])
    func earlyRefreshFromDisk(isLoaded: Bool) async throws {
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(3), expiry: .seconds(10), policy: .lru)
        options.loading.earlyRefresh = 100
        let cache = try await rig.cache(.disk, Int.self, options)
        let slow: @Sendable (String) async throws -> Int = { _ in
            let began = Latencies.now()
            while Latencies.now() - began < 2_000_000 { await Task.yield() }
            return 1
        }
        if isLoaded {
            _ = try await cache.value(for: "a", load: slow)
        } else {
            try await cache.set(1, for: "a")
            _ = try await cache.value(for: "other", load: slow)
        }
        for number in 0..<5 { try await cache.set(number, for: "\(number)") }
        for number in 0..<5 { try await cache.remove("\(number)") }
        #expect(cache.valueInMemory(for: "a") == nil)
        rig.clock.advance(by: .seconds(10) - .microseconds(1))
        // A fifth of a second is what counts at the least.
        for _ in 0..<100 where cache.statistics.loads == 1 {
            #expect(try await cache.value(for: "a") { _ in 2 } == 1)
            while cache.loadsUnderWay.count > 0 { await Task.yield() }
        }
        #expect(cache.statistics.loads == (isLoaded ? 2 : 1))
        #expect(try await cache.value(for: "a") == (isLoaded ? 2 : 1))
        try await cache.close()
    }

    @Test("When the source fails the stale value is served, and only while it is usable", arguments: Place.allCases)
    func staleIfError(_ place: Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place) { $0.softTimeout = nil }
        #expect(try await cache.value(for: "a") { _ in throw SourceDown() } == 1)
        #expect(cache.statistics.staleServed == 1)
        // The deadline passes while the source is asked.
        await #expect(throws: SourceDown.self) {
            try await cache.value(for: "a") { _ in
                rig.clock.advance(by: .seconds(80))
                throw SourceDown()
            }
        }
        try await cache.close()
    }

    @Test("After the soft timeout the stale value is served only while it is usable", arguments: Place.allCases)
    func staleAfterTimeout(_ place: Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place) { $0.softTimeout = .milliseconds(10) }
        let value = try await cache.value(for: "a") { _ in
            rig.clock.advance(by: .seconds(80))
            try await Task.sleep(for: .milliseconds(100))
            return 2
        }
        #expect(value == 2)
        #expect(cache.statistics.staleServed == 0)
        try await cache.close()
    }

    @Test(
        "A load is given up after the hard timeout, even by a loader that takes no notice, and what it brings is dropped",
        arguments: CacheRig.Home.allCases)
    func hardTimeout(_ home: CacheRig.Home) async throws {
        var options = CacheOptions()
        options.loading.hardTimeout = .milliseconds(10)
        let cache = try await CacheRig().cache(home, Int.self, options)
        let door = Door()
        let ended = Tally()
        await #expect(throws: LoadTimeout.self) {
            try await cache.value(for: "a") { _ in
                await door.pass()
                await ended.add()
                return 1
            }
        }
        #expect(cache.statistics.loadTimeouts == 1)
        #expect(cache.statistics.loadFailures == 1)
        await door.open()
        while await ended.count == 0 { await Task.yield() }
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await cache.value(for: "a") { _ in 2 } == 2)
        #expect(cache.loadsUnderWay.count == 0)
        try await cache.close()
    }

    @Test(
        "A loader that is cancelled with its last caller and brings a value all the same brings it to nobody",
        arguments: CacheRig.Home.allCases)
    func cancelledLoader(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let door = Door()
        let alone = await cache.hangingLoad("a", of: 1, behind: door)
        alone.cancel()
        await #expect(throws: CancellationError.self) { try await alone.value }
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("A load that everybody has left, and whose loader runs on, is in no refresh's way", arguments: Place.allCases)
    func abandoned(_ place: Place) async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, place) { $0.softTimeout = .zero }
        let door = Door()
        let alone = Task {
            try await cache.refresh("a") { _ in
                await door.pass()
                return Loaded(7)
            }
        }
        await door.arrived(1)
        alone.cancel()
        await #expect(throws: CancellationError.self) { try await alone.value }
        #expect(try await cache.value(for: "a") { _ in 2 } == 1)
        // One was begun for whom it found stale.
        #expect(cache.loadsUnderWay.count > 1 || cache.statistics.loads > 1)
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("A hard timeout counts as a failure: the stale value is served, and back-off leaves the key alone")
    func hardTimeoutIsAFailure() async throws {
        let rig = CacheRig()
        let cache = try await stale(rig, .memory) {
            $0.softTimeout = nil
            $0.hardTimeout = .milliseconds(10)
            $0.backOff = .init(initial: .seconds(1), maximum: .seconds(1))
        }
        let load: @Sendable (String) async throws -> Int = { _ in
            try await Task.sleep(for: .seconds(1000))
            return 2
        }
        #expect(try await cache.value(for: "a", load: load) == 1)
        #expect(try await cache.value(for: "a", load: load) == 1)
        #expect(cache.statistics.loads == 1)
        #expect(cache.statistics.loadsRefused == 1)
        try await cache.close()
    }

    @Test("A refresh asks the source, though another's load finds the key on disk")
    func refresh() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self, CacheOptions(memory: .entries(1), policy: .fifo))
        try await cache.set(1, for: "a")
        try await cache.set(0, for: "other")
        // A load that reads the disk alone, as a caller's does for whom what lies there is good enough.
        let hash = cache.memory.hash("a")
        let present = Load<Int>()
        cache.memory.withShard(hash) { $0.loads["a"] = present }
        let refreshed = Task { try await cache.refresh("a") { _ in Loaded(2) } }
        while cache.statistics.loadsShared < 1 { await Task.yield() }
        cache.memory.withShard(hash) { $0.loads["a"] = nil }
        present.finish(.success(.init(value: 1, isFromDisk: true)))
        #expect(try await refreshed.value == 2)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("Callers of a refresh share one call to the source", arguments: CacheRig.Home.allCases)
    func refreshes(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "a")
        let door = Door()
        let load: Cache<String, Int>.Loader = { _ in
            await door.pass()
            return Loaded(2)
        }
        let all = (0..<10).map { _ in Task { try await cache.refresh("a", loading: load) } }
        while cache.statistics.loadsShared < 9 { await Task.yield() }
        await door.open()
        for task in all { #expect(try await task.value == 2) }
        #expect(cache.statistics.loads == 1)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }
}
