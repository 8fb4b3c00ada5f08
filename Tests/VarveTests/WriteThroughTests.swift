import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Origin and cache written as one: no failure leaves the cache with what the origin no longer has.
struct WriteThroughTests {
    struct OriginDown: Error {}

    /// What a cache stands in front of.
    actor Origin {
        private(set) var values: [String: Int] = [:]
        private(set) var writes = 0
        func set(_ value: Int?, for key: String) {
            values[key] = value
            writes += 1
        }
        func value(for key: String) -> Int? { values[key] }
    }

    @Test("The origin has it, then the cache", arguments: CacheRig.Home.allCases)
    func success(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let origin = Origin()
        let version = try await cache.set(1, for: "a") { key, value in
            // While the origin is asked the cache has nothing.
            let held = try await cache.value(for: key)
            #expect(held == nil)
            await origin.set(value, for: key)
        }
        #expect(version != nil)
        #expect(try await cache.entry(for: "a")?.version == version)
        #expect(try await cache.value(for: "a") == 1)
        let completed = try await cache.write("a") { key in
            await origin.set(20, for: key)
            return Loaded(20, EntryOptions(tags: ["t"], sourceVersion: 3))
        }
        #expect(completed == 20)
        #expect(try await cache.value(for: "a") == 20)
        await #expect(throws: VarveError.self) { try await cache.set(1, for: "a", EntryOptions(sourceVersion: 2)) }
        try await cache.remove("a") { await origin.set(nil, for: $0) }
        #expect(try await cache.value(for: "a") == nil)
        #expect(await origin.writes == 3)
        #expect(cache.turns.count == 0)
        try await cache.close()
    }

    @Test(
        "Where the origin fails or its caller is cancelled, nobody knows what it has: the key is absent",
        arguments: CacheRig.Home.allCases, [true, false])
    func failure(_ home: CacheRig.Home, _ isCancelled: Bool) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "a")
        try await cache.set(1, for: "b")
        let door = Door()
        let fail: @Sendable () async throws -> Void = {
            await door.pass()
            try Task.checkCancellation()
            throw OriginDown()
        }
        let set = Task { try await cache.set(2, for: "a") { _, _ in try await fail() } }
        let remove = Task { try await cache.remove("b") { _ in try await fail() } }
        await door.arrived(2)
        // Somebody stores meanwhile what the origin may no longer have.
        try await cache.set(3, for: "a")
        if isCancelled {
            set.cancel()
            remove.cancel()
        }
        await door.open()
        await #expect { try await set.value } throws: { ($0 is CancellationError) == isCancelled }
        await #expect { try await remove.value } throws: { ($0 is CancellationError) == isCancelled }
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await cache.value(for: "b") == nil)
        try await cache.close()
    }

    @Test(
        "A load that began before the origin was written stores nothing, whatever came of the write",
        arguments: CacheRig.Home.allCases, [true, false])
    func loads(_ home: CacheRig.Home, _ succeeds: Bool) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let before = Door()
        let during = Door()
        let write = Door()
        let first = Task {
            try await cache.value(for: "a") { _ in
                await before.pass()
                return -1
            }
        }
        await before.arrived(1)
        let writer = Task {
            try await cache.set(1, for: "a") { _, _ in
                await write.pass()
                if !succeeds { throw OriginDown() }
            }
        }
        await write.arrived(1)
        let second = Task {
            try await cache.value(for: "a") { _ in
                await during.pass()
                return -2
            }
        }
        await during.arrived(1)
        // One that ends while the origin is asked.
        let third = Task { try await cache.refresh("b") { _ in Loaded(5) } }
        #expect(try await third.value == 5)
        await write.open()
        if succeeds { #expect(try await writer.value != nil) } else { _ = await writer.result }
        await before.open()
        await during.open()
        #expect(try await first.value == -1)
        #expect(try await second.value == -2)
        #expect(try await cache.value(for: "a") == (succeeds ? 1 : nil))
        #expect(try await cache.value(for: "a") { _ in 9 } == (succeeds ? 1 : 9))
        try await cache.close()
    }

    enum Change: CaseIterable, Sendable {
        case set, remove, removeAll, tag
    }

    @Test(
        "Where anybody else changes the key meanwhile, the cache is left without it",
        arguments: CacheRig.Home.allCases, Change.allCases)
    func others(_ home: CacheRig.Home, _ change: Change) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let door = Door()
        let writer = Task {
            try await cache.set(1, for: "a", EntryOptions(tags: ["t"])) { _, _ in await door.pass() }
        }
        await door.arrived(1)
        switch change {
        case .set: try await cache.set(2, for: "a")
        case .remove: try await cache.remove("a")
        case .removeAll: try await cache.removeAll()
        case .tag: try await cache.remove(taggedWith: "t")
        }
        await door.open()
        #expect(try await writer.value == nil)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test(
        "Writes of one key through to the origin take turns, and end alike in both", arguments: CacheRig.Home.allCases)
    func turns(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let origin = Origin()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask {
                    _ = try? await cache.set(number, for: "a") { key, value in
                        await Task.yield()
                        await origin.set(value, for: key)
                        if number % 7 == 0 { throw OriginDown() }
                    }
                }
                group.addTask { _ = try? await cache.value(for: "a") { await origin.value(for: $0) ?? -1 } }
            }
        }
        let held = try await cache.value(for: "a")
        let truth = await origin.value(for: "a")
        #expect(held == nil || held == truth)
        #expect(cache.turns.count == 0)
        try await cache.close()
    }

    @Test("Who is cancelled while it waits for its turn writes nothing")
    func cancelledTurn() async throws {
        let cache = try await CacheRig().cache(.memory, Int.self)
        let door = Door()
        let first = Task { try await cache.set(1, for: "a") { _, _ in await door.pass() } }
        await door.arrived(1)
        let second = Task { try await cache.set(2, for: "a") { _, _ in Issue.record("the origin was asked") } }
        for _ in 0..<100 { await Task.yield() }
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        await door.open()
        #expect(try await first.value != nil)
        #expect(try await cache.value(for: "a") == 1)
        #expect(cache.turns.count == 0)
    }

    @Test(
        "An origin that never answers keeps the next writer no longer than its timeout, and leaves the key absent",
        arguments: CacheRig.Home.allCases)
    func originTimeout(_ home: CacheRig.Home) async throws {
        var options = CacheOptions()
        options.originTimeout = .milliseconds(100)
        let cache = try await CacheRig().cache(home, Int.self, options)
        try await cache.set(1, for: "a")
        let (door, cancelled) = (Door(), Tally())
        let hang: @Sendable () async -> Void = {
            await door.pass()
            if Task.isCancelled { await cancelled.add() }
        }
        await #expect(throws: OriginTimeout.self) { try await cache.set(2, for: "a") { _, _ in await hang() } }
        #expect(try await cache.value(for: "a") == nil)
        await #expect(throws: OriginTimeout.self) { try await cache.remove("a") { _ in await hang() } }
        await #expect(throws: OriginTimeout.self) {
            try await cache.write("a") { _ in
                await hang()
                return Loaded(2)
            }
        }
        #expect(try await cache.set(3, for: "a") { _, _ in } != nil)
        #expect(try await cache.value(for: "a") == 3)
        await door.open()
        while await cancelled.count < 3 { await Task.yield() }
        // What they bring in the end is for nobody.
        #expect(try await cache.value(for: "a") == 3)
        #expect(cache.turns.count == 0)
        try await cache.close()
        options.originTimeout = .zero
        #expect(await code { _ = try await CacheRig().cache(home, Int.self, options) } == .invalidArgument)
    }

    @Test("Where origins have a timeout, who is cancelled tells his, and the next writer waits for its end")
    func cancelledWithTimeout() async throws {
        var options = CacheOptions()
        options.originTimeout = .seconds(1000)
        let cache = try await CacheRig().cache(.memory, Int.self, options)
        let (door, asked) = (Door(), Tally())
        let first = Task {
            try await cache.set(1, for: "a") { _, _ in
                await door.pass()
                try Task.checkCancellation()
            }
        }
        await door.arrived(1)
        let second = Task { try await cache.set(2, for: "a") { _, _ in await asked.add() } }
        first.cancel()
        for _ in 0..<1000 { await Task.yield() }
        #expect(await asked.count == 0)
        await door.open()
        await #expect(throws: CancellationError.self) { try await first.value }
        #expect(try await second.value != nil)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("The origin is not asked where the key cannot be removed first, or the value not be stored")
    func refusal() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, [UInt8].self)
        await #expect(throws: VarveError.self) {
            try await cache.set([UInt8](repeating: 0, count: 65 << 20), for: "a") { _, _ in
                Issue.record("the origin was asked")
            }
        }
        try await cache.set([1], for: "a")
        rig.files.fail(5, sticky: true) { $0.operation == .sync }
        await #expect(throws: VarveError.self) {
            try await cache.set([2], for: "a") { _, _ in Issue.record("the origin was asked") }
        }
        try? await cache.close()
    }

    @Test("What the disk cannot take after the origin did is no failure, and no older value is left")
    func diskFailsAfterwards() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        try await cache.set(1, for: "a")
        let version = try await cache.set(2, for: "a", EntryOptions(durability: .synced)) { _, _ in
            rig.files.fail(5, sticky: true) { $0.operation == .sync }
        }
        #expect(version == nil)
        #expect(cache.valueInMemory(for: "a") == nil)
        let files = rig.files.killProcess()
        try? await cache.close()
        var after = rig
        after.files = files
        let again = try await after.cache(.disk, Int.self)
        #expect(try await again.value(for: "a") != 1)
        try await again.close()
    }

    @Test("Power is cut at any call: no value shows that the origin no longer has", arguments: 0..<40)
    func powerCut(_ seed: Int) async throws {
        var rig = CacheRig()
        let origin = Origin()
        let cache = try await rig.cache(.disk, Int.self)
        for key in ["a", "b"] {
            try await cache.set(1, for: key) { await origin.set($1, for: $0) }
        }
        try await cache.disk?.engine.sync()
        rig.files.cutPower(atChange: rig.files.changeCount + 1 + seed % 20)
        _ = try? await cache.set(2, for: "a") { await origin.set($1, for: $0) }
        _ = try? await cache.remove("b") { await origin.set(nil, for: $0) }
        rig.files.cutPower()
        let files = rig.files.crash(seed: UInt64(seed))
        try? await cache.close()
        rig.files = files
        rig.clock.reboot()
        let again = try await rig.cache(.disk, Int.self)
        for key in ["a", "b"] {
            let held = try await again.value(for: key)
            let truth = await origin.value(for: key)
            #expect(held == nil || held == truth, "seed \(seed): \(key)")
        }
        try await again.close()
    }
}
