import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Source versions that are acknowledged while the disk takes no writes.
struct FloorTests {
    private let rig = DegradedRig()

    @Test("Writers that come while a floor is being made durable share the next sync")
    func grouped() async throws {
        let cache = try await rig.cache()
        try await rig.fillDisk(cache)
        let floors = try #require(cache.store.degraded?.floors)
        let syncs = Watched(0)
        rig.files.observe { call in
            guard call.operation == .sync, call.path.hasSuffix("DEGRADED") else { return }
            if syncs.update({
                $0 += 1; return $0
            }) == 1 {
                while floors.waitingCount < 19 { usleep(1000) }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 {
                group.addTask { try await cache.set("new", for: "\(number)", EntryOptions(sourceVersion: 7)) }
                while syncs.current == 0 { await Task.yield() }
            }
            try await group.waitForAll()
        }
        #expect(syncs.current == 2)
        rig.files.observe(nil)
        let next = rig.crashed(1)
        next.files.capacity = nil
        let again = try await next.cache()
        for number in 0..<20 {
            let late = await code {
                try await again.set("late", for: "\(number)", EntryOptions(sourceVersion: 6))
            }
            #expect(late == .conditionFailed)
        }
        try await again.store.close()
        try await cache.store.close()
    }

    @Test(
        "What was acknowledged before the disk failed refuses older ones too, though a crash has taken it from the log",
        arguments: [true, false])
    func beforeTheMark(isLost: Bool) async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "b", EntryOptions(sourceVersion: 3))
        let weak = EntryOptions(sourceVersion: 7, durability: .interval)
        if isLost { rig.failLog() } else { rig.files.capacity = rig.files.usedBytes }
        try await cache.set("new", for: "a", weak)
        #expect(try await cache.remove("b", olderThan: 7, durability: .interval))
        // Whoever is told that this is safe may count on what came before it.
        try await cache.set(DegradedRig.large, for: "synced")
        #expect(cache.isDegraded)
        for seed in 1...12 as ClosedRange<UInt64> {
            let next = rig.crashed(seed)
            next.files.capacity = nil
            let again = try await next.cache()
            for key in ["a", "b"] {
                let late = await code { try await again.set("late", for: key, EntryOptions(sourceVersion: 6)) }
                #expect(late == .conditionFailed, "\(key), seed \(seed)")
            }
            try await again.store.close()
        }
        rig.files.capacity = nil
        rig.files.clearFaults()
        try await cache.store.close()
    }

    @Test("A write that is refused raises no floor")
    func refused() async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        try await rig.fillDisk(cache)
        try await cache.set("new", for: "a")
        try await cache.set("new", for: "b")
        let change = try cache.change("x", EntryOptions(sourceVersion: 100), .explicit)
        for key in ["a", "b"] {
            let demand = Cache<String, String>.Demand.version(1, tags: [], since: 0, notOlder: 100)
            #expect(await code { _ = try await cache.commit(key, change, demand, nil) } == .conditionFailed)
            try await cache.set("fifty", for: key, EntryOptions(sourceVersion: 50))
            #expect(try await cache.value(for: key) == "fifty")
        }
        try await cache.store.close()
    }

    @Test("A writer whose floor is durable is refused by a removal that comes before its turn at the key")
    func overtaken() async throws {
        let cache = try await rig.cache()
        try await rig.fillDisk(cache)
        try await cache.set("new", for: "a")
        let degraded = try #require(cache.store.degraded)
        let disk = try #require(cache.disk)
        let (key, hash) = (Array("a".utf8), cache.memory.hash("a"))
        let turn = HeldThread((isReached: false, isOpen: false))
        rig.files.observe { call in
            guard call.operation == .sync, call.path.hasSuffix("DEGRADED") else { return }
            turn.update { $0.isReached = true }
            turn.wait { $0.isOpen }
        }
        let late = Task { await code { try await cache.set("late", for: "a", EntryOptions(sourceVersion: 5)) } }
        await turn.reached { $0.isReached }
        await IOThread.run(name: "test-removal") {
            // As another's removal makes its change, with its floor durable before.
            cache.memory.change(hash) { shard, discarded in
                turn.update { $0.isOpen = true }
                for _ in 0..<60_000 where degraded.mark.floor(ofKeyHash: disk.keyHash(key)) < 5 { usleep(1000) }
                // Whatever the writer does before it has the lock it has done by then.
                usleep(50_000)
                disk.shadow?.hide(key, sourceVersion: 7)
                shard.erase("a", hash, at: degraded.nextVersion(), &discarded)
            }
        }
        #expect(await late.value == .conditionFailed)
        #expect(try await cache.value(for: "a") == nil)
        rig.files.observe(nil)
        try await cache.store.close()
    }
}
