import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Many keys in one call, beside back-off and circuit breaker.
struct BatchLoadTests {
    struct SourceDown: Error {}

    private func cache(
        _ rig: CacheRig, _ adjust: (inout LoadOptions) -> Void
    ) async throws -> Cache<String, Int> {
        var options = CacheOptions()
        adjust(&options.loading)
        return try await rig.cache(.disk, Int.self, options)
    }

    private static let keys = (0..<10).map { "\($0)" }

    private func answer(_ keys: [String]) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: keys.map { ($0, Int($0) ?? -1) })
    }

    @Test("A call that fails is one failure, however many keys it was for")
    func oneFailure() async throws {
        let cache = try await cache(CacheRig()) { $0.breaker = .init(failures: 2, pause: .seconds(5)) }
        await #expect(throws: SourceDown.self) {
            try await cache.values(for: Self.keys, load: { _ in throw SourceDown() })
        }
        #expect(cache.statistics.loads == 1 && cache.statistics.loadFailures == 1)
        #expect(try await cache.values(for: Self.keys, load: { answer($0) }).count == 10)
        #expect(cache.statistics.loads == 2 && cache.statistics.loadsRefused == 0)
        try await cache.close()
    }

    @Test("A source that is asked by batches alone is found well again by one of them")
    func recovery() async throws {
        let rig = CacheRig()
        let cache = try await cache(rig) { $0.breaker = .init(failures: 2, pause: .seconds(5)) }
        for _ in 0..<2 {
            await #expect(throws: SourceDown.self) {
                try await cache.values(for: Self.keys, load: { _ in throw SourceDown() })
            }
        }
        let asked = Tally()
        let load: @Sendable ([String]) async throws -> [String: Int] = { keys in
            await asked.add()
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
        }
        await #expect(throws: LoadRefused.self) { try await cache.values(for: Self.keys, load: load) }
        #expect(await asked.count == 0)
        rig.clock.advance(by: .seconds(5))
        await #expect(throws: SourceDown.self) {
            try await cache.values(for: Self.keys, load: { _ in throw SourceDown() })
        }
        await #expect(throws: LoadRefused.self) { try await cache.values(for: Self.keys, load: load) }
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.values(for: Self.keys, load: load).count == 10)
        #expect(try await cache.values(for: ["more", "and more"], load: load).count == 2)
        #expect(await asked.count == 2)
        try await cache.close()
    }

    @Test("A key that is left alone is not asked for, and the others are stored before the refusal is thrown")
    func backOff() async throws {
        let rig = CacheRig()
        let cache = try await cache(rig) { $0.backOff = .init(initial: .seconds(1), maximum: .seconds(1)) }
        await #expect(throws: SourceDown.self) { try await cache.value(for: "0") { _ in throw SourceDown() } }
        await #expect(throws: LoadRefused.self) {
            try await cache.values(
                for: ["0", "1", "2"],
                load: { keys in
                    #expect(Set(keys) == ["1", "2"])
                    // Time enough for the refusal to end it, if it did.
                    for _ in 0..<100 { await Task.yield() }
                    return answer(keys)
                })
        }
        #expect(try await cache.values(for: ["0", "1", "2"]) == ["1": 1, "2": 2])
        rig.clock.advance(by: .seconds(1))
        #expect(try await cache.values(for: ["0", "1", "2"], load: { answer($0) }) == ["0": 0, "1": 1, "2": 2])
        // The call's failure is one of each key.
        await #expect(throws: SourceDown.self) {
            try await cache.values(for: ["3", "4"], load: { _ in throw SourceDown() })
        }
        for key in ["3", "4"] {
            await #expect(throws: LoadRefused.self) { try await cache.value(for: key) { _ in 1 } }
        }
        try await cache.close()
    }

    @Test("Another's load that fails is thrown once the call has ended, and what the call brought is stored")
    func othersFailure() async throws {
        let cache = try await cache(CacheRig()) { _ in }
        let (first, second) = (Door(), Door())
        let other = Task {
            try await cache.value(for: "0") { _ in
                await first.pass()
                throw SourceDown()
            }
        }
        await first.arrived(1)
        let batch = Task {
            try await cache.values(
                for: ["0", "1"],
                load: { keys in
                    await second.pass()
                    return answer(keys)
                })
        }
        await second.arrived(1)
        await first.open()
        await #expect(throws: SourceDown.self) { try await other.value }
        for _ in 0..<100 { await Task.yield() }
        await second.open()
        await #expect(throws: SourceDown.self) { try await batch.value }
        #expect(try await cache.value(for: "1") == 1)
        try await cache.close()
    }

    @Test("A call that takes too long is one timeout")
    func hardTimeout() async throws {
        let cache = try await cache(CacheRig()) { $0.hardTimeout = .milliseconds(20) }
        let door = Door()
        await #expect(throws: LoadTimeout.self) {
            try await cache.values(
                for: Self.keys,
                load: { keys in
                    await door.pass()
                    return answer(keys)
                })
        }
        await door.open()
        #expect(cache.statistics.loadTimeouts == 1 && cache.statistics.loadFailures == 1)
        #expect(try await cache.values(for: Self.keys).isEmpty)
        try await cache.close()
    }

    @Test("With the last caller goes the call", arguments: [Duration.zero, nil])
    func lastCaller(softTimeout: Duration?) async throws {
        let rig = CacheRig()
        let cache = try await cache(rig) { $0.softTimeout = softTimeout }
        // Where its fresh value is waited for, a stale key is like one that is missing.
        if softTimeout == nil {
            try await cache.set(-1, for: "0", .init(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10))))
            rig.clock.advance(by: .seconds(20))
        }
        let (door, ended) = (Door(), Tally())
        let load: @Sendable ([String]) async throws -> [String: Int] = { keys in
            await withTaskCancellationHandler {
                await door.pass()
            } onCancel: {
                Task { await ended.add() }
            }
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
        }
        let first = Task { try await cache.values(for: ["0", "1"], load: load) }
        await door.arrived(1)
        let second = Task { try await cache.values(for: ["1", "0"], load: load) }
        while cache.statistics.loadsShared < 2 { await Task.yield() }
        first.cancel()
        await #expect(throws: CancellationError.self) { try await first.value }
        #expect(await ended.count == 0)
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        while await ended.count == 0 { await Task.yield() }
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        // What it brought is nobody's.
        #expect(try await cache.value(for: "1") == nil)
        #expect(cache.statistics.loadFailures == 0)
        try await cache.close()
    }

    @Test("A call that refreshes a key in the background goes on for that one, though its last caller goes")
    func background() async throws {
        let rig = CacheRig()
        let cache = try await cache(rig) { _ in }
        try await cache.set(-1, for: "0", .init(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10))))
        rig.clock.advance(by: .seconds(20))
        let (door, ended) = (Door(), Tally())
        let caller = Task {
            try await cache.values(
                for: ["0", "1"],
                load: { keys in
                    await door.pass()
                    if Task.isCancelled { await ended.add() }
                    return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
                })
        }
        await door.arrived(1)
        caller.cancel()
        await #expect(throws: CancellationError.self) { try await caller.value }
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(await ended.count == 0)
        #expect(try await cache.values(for: ["0", "1"]) == ["0": 1])
        try await cache.close()
    }

    @Test("However many keys there are, they are asked for in one call", arguments: CacheRig.Home.allCases)
    func manyKeys(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let keys = (0..<5000).map { "\($0)" }
        for key in keys.prefix(1000) { try await cache.set(-1, for: key) }
        let found = try await cache.values(for: keys) { keys in
            #expect(keys.count == 4000)
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
        }
        #expect(found.count == 5000 && found.values.count { $0 == -1 } == 1000)
        #expect(cache.statistics.loads == 1)
        #expect(try await cache.values(for: keys) == found)
        try await cache.close()
    }

    @Test("Who is cancelled leaves the others theirs")
    func cancellation() async throws {
        let cache = try await cache(CacheRig()) { $0.breaker = .init(failures: 1, pause: .seconds(5)) }
        let (door, ended) = (Door(), Tally())
        let load: @Sendable ([String]) async throws -> [String: Int] = { keys in
            await door.pass()
            if Task.isCancelled { await ended.add() }
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
        }
        let first = Task { try await cache.values(for: ["0", "1"], load: load) }
        await door.arrived(1)
        let second = Task { try await cache.value(for: "0") { _ in 7 } }
        while cache.statistics.loadsShared < 1 { await Task.yield() }
        first.cancel()
        await #expect(throws: CancellationError.self) { try await first.value }
        await door.open()
        #expect(try await second.value == 1)
        #expect(await ended.count == 0)
        // Nothing was said of the source.
        #expect(try await cache.value(for: "2") { _ in 2 } == 2)
        try await cache.close()
    }

    @Test("What is missing and what is stale is asked for in one call, and what is stale is not waited for")
    func staleAndMissing() async throws {
        let rig = CacheRig()
        let options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        let cache = try await rig.cache(.memory, Int.self, options)
        for key in Self.keys.prefix(4) { try await cache.set(-1, for: key) }
        rig.clock.advance(by: .seconds(20))
        let calls = Tally()
        let found = try await cache.values(for: Self.keys) { keys in
            #expect(keys.count == 10)
            await calls.add()
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
        }
        let old = Set(Self.keys.prefix(4))
        #expect(found == Dictionary(uniqueKeysWithValues: Self.keys.map { ($0, old.contains($0) ? -1 : 1) }))
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(await calls.count == 1)
        #expect(try await cache.values(for: Self.keys).values.allSatisfy { $0 == 1 })
        #expect(cache.statistics.staleServed == 4)
        try await cache.close()
    }

    @Test("What is stale is served at once, and loaded anew in one call", arguments: CacheRig.Home.allCases)
    func stale(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        // On disk memory has no room for most of them.
        if home == .disk { options.memory = .entries(3) }
        options.loading.softTimeout = .zero
        options.loading.backOff = .init(initial: .seconds(1), maximum: .seconds(1))
        let cache = try await rig.cache(home, Int.self, options)
        for key in Self.keys { try await cache.set(-1, for: key) }
        try await cache.disk?.engine.flush()
        // What no one has read yet of a new table is not found at once.
        _ = try await cache.disk?.read(cache.keyBytes("0"))
        rig.clock.advance(by: .seconds(20))
        // One that is left alone keeps nobody waiting.
        await #expect(throws: SourceDown.self) { try await cache.refresh("0") { _ in throw SourceDown() } }
        let (door, calls) = (Door(), Tally())
        let load: @Sendable ([String]) async throws -> [String: Int] = { keys in
            #expect(keys.count == 9)
            await calls.add()
            await door.pass()
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
        }
        for _ in 0..<3 {
            let found = try await cache.values(for: Self.keys, load: load)
            #expect(found == Dictionary(uniqueKeysWithValues: Self.keys.map { ($0, -1) }))
        }
        #expect(cache.statistics.staleServed == 30)
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(await calls.count == 1)
        let values = try await cache.values(for: Self.keys)
        #expect(values == Dictionary(uniqueKeysWithValues: Self.keys.map { ($0, $0 == "0" ? -1 : 1) }))
        try await cache.close()
    }
}
