import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Closing while operations are under way: each completes or throws `.closed`, and nothing hangs or is left behind.
struct ClosingTests {
    private func isClosed(_ error: any Error) -> Bool { (error as? VarveError)?.code == .closed }

    @Test("Later calls throw, hits in memory aside; closing again is fine", arguments: CacheRig.Home.allCases)
    func later(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        try await cache.set(1, for: "a")
        try await cache.close()
        try await cache.close()
        #expect(cache.valueInMemory(for: "a") == 1)
        #expect(try await cache.value(for: "a") { _ in 2 } == 1)
        #expect(cache.statistics.memoryEntries == 1)
        let calls: [@Sendable () async throws -> Void] = [
            { _ = try await cache.value(for: "b") },
            { _ = try await cache.values(for: ["a", "b"]) },
            { _ = try await cache.entry(for: "b") },
            { try await cache.set(1, for: "b") },
            { try await cache.remove("a") },
            { try await cache.removeAll() },
            { try await cache.removeAll(withPrefix: "a") },
            { try await cache.remove(taggedWith: "t") },
            { _ = try await cache.add(1, for: "b") },
            { _ = try await cache.take("a") },
            { try await cache.increment("a") },
            { _ = try await cache.value(for: "b") { _ in 1 } },
            { _ = try await cache.values(for: ["b", "c"], load: { _ in [:] }) },
            { try await cache.refresh("a") { _ in Loaded(1) } },
            { try await cache.set(1, for: "a") { _, _ in Issue.record("the origin was asked") } },
            { try await cache.remove("a") { _ in Issue.record("the origin was asked") } },
        ]
        for (index, call) in calls.enumerated() {
            await #expect("call \(index)") { try await call() } throws: { isClosed($0) }
        }
        #expect(await cache.ready() == .done)
    }

    @Test(
        "Loads under way are cancelled, though their loaders take no notice, and store nothing",
        arguments: CacheRig.Home.allCases)
    func loads(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self)
        try await cache.set(
            0, for: "refreshed", EntryOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(1))))
        rig.clock.advance(by: .seconds(2))
        let door = Door()
        let load: @Sendable (String) async throws -> Int = { _ in
            await door.pass()
            return 1
        }
        let waiting = (0..<10).map { number in Task { try await cache.value(for: "\(number % 5)", load: load) } }
        let batch = Task {
            try await cache.values(for: ["x", "y"]) { keys in
                await door.pass()
                return Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) })
            }
        }
        let detached = Task { try await cache.value(for: "detached", load: load) }
        #expect(try await cache.value(for: "refreshed", load: load) == 0)
        await door.arrived(8)
        try await cache.remove("detached")
        try await cache.close()
        for task in waiting + [detached] {
            await #expect { try await task.value } throws: { isClosed($0) }
        }
        await #expect { try await batch.value } throws: { isClosed($0) }
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(cache.valueInMemory(for: "0") == nil)
        if home == .disk {
            let again = try await rig.cache(.disk, Int.self)
            #expect(try await again.values(for: ["0", "1", "x", "y", "detached"]).isEmpty)
            try await again.close()
        }
    }

    @Test(
        "Whatever is under way when the store closes completes or says so, and what was acknowledged is there",
        arguments: 0..<12)
    func anything(_ seed: Int) async throws {
        let rig = CacheRig()
        let options = CacheOptions(memory: .entries(20), expiry: Expiry(idle: .seconds(10)))
        let cache: Cache<String, Int> = try await rig.cache(.disk, Int.self, options)
        for number in 0..<100 { try await cache.set(-1, for: "\(number)") }
        let door = Door()
        let workers = (0..<8).map { worker in
            Task { () -> [String: Int] in
                var random = SplitMix(UInt64(seed * 100 + worker))
                var acknowledged: [String: Int] = [:]
                await door.pass()
                do {
                    for step in 0..<10_000 {
                        // Keys of its own for what it writes, so that the last acknowledged value is known.
                        let own = "own \(worker) \(random.next() % 4)"
                        let other = "\(random.next() % 100)"
                        switch random.next() % 8 {
                        case 0, 1:
                            acknowledged[own] = nil
                            let durability: Durability = step % 3 == 0 ? .synced : .interval
                            try await cache.set(step, for: own, EntryOptions(durability: durability))
                            acknowledged[own] = step
                        case 2: _ = try await cache.value(for: other)
                        case 3: _ = try await cache.value(for: other) { _ in -2 }
                        case 4: _ = try await cache.values(for: [other, "absent \(step)"], load: { _ in [:] })
                        case 5: try await cache.remove(taggedWith: "t")
                        case 6: _ = try await cache.update(other) { $0 = ($0 ?? 0) - 1 }
                        default: _ = try await cache.refresh(other) { _ in Loaded(-3) }
                        }
                        if step % 50 == 0 { rig.clock.advance(by: .milliseconds(3)) }
                    }
                } catch {
                    #expect(isClosed(error), "seed \(seed): \(error)")
                }
                return acknowledged
            }
        }
        await door.arrived(8)
        await door.open()
        for _ in 0..<(seed * 40) { await Task.yield() }
        try await cache.close()
        var acknowledged: [String: Int] = [:]
        for worker in workers { acknowledged.merge(await worker.value) { $1 } }
        #expect(cache.loadsUnderWay.count == 0)
        let again: Cache<String, Int> = try await rig.cache(.disk, Int.self, options)
        for (key, value) in acknowledged {
            #expect(try await again.value(for: key) == value, "seed \(seed), \(key)")
        }
        try await again.close()
    }

    @Test("Closers of a cache and of its store, all at once: none returns before the work under way is done")
    func together() async throws {
        let rig = CacheRig()
        let store = try await rig.store()
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        let isSyncing = Watched(false)
        let mayGoOn = Watched(false)
        rig.files.observe { call in
            guard call.operation == .sync, call.path.contains(".log"), !isSyncing.current else { return }
            isSyncing.update { $0 = true }
            while !mayGoOn.current { usleep(1000) }
        }
        let write = Task { try await cache.set(1, for: "a", EntryOptions(durability: .synced)) }
        while !isSyncing.current { await Task.yield() }
        let done = Watched(0)
        let closers = (0..<6).map { number in
            Task {
                if number % 3 == 0 { try await store.close() } else { try await cache.close() }
                done.update { $0 += 1 }
            }
        }
        while !cache.gate.isClosed { await Task.yield() }
        for _ in 0..<2000 { await Task.yield() }
        #expect(done.current == 0)
        mayGoOn.update { $0 = true }
        for closer in closers { try await closer.value }
        _ = try await write.value
        try await cache.close()
        let again = try await rig.store()
        let found: Cache<String, Int> = try await again.cache(named: "c")
        #expect(try await found.value(for: "a") == 1)
        try await again.close()
    }

    @Test("A cache that is let go with loads under way is gone when they are")
    func letGo() async throws {
        let door = Door()
        weak var weakly: Cache<String, Int>?
        let load: Task<Int, any Error>
        do {
            let cache = try await CacheRig().cache(.memory, Int.self)
            weakly = cache
            load = Task { [cache] in
                try await cache.value(for: "a") { _ in
                    await door.pass()
                    return 1
                }
            }
            await door.arrived(1)
        }
        await door.open()
        #expect(try await load.value == 1)
        while weakly != nil { await Task.yield() }
    }
}
