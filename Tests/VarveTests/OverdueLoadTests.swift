import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A loaded value that is over before it is written.
struct OverdueLoadTests {
    @Test("Who comes after the loaded value's deadline, while it is being written, has another loaded")
    func overdue() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        let sync = HeldThread((isReached: false, isOpen: false))
        rig.files.observe { call in
            guard call.operation == .sync, call.path.contains(".log") else { return }
            sync.update { $0.isReached = true }
            sync.wait { $0.isOpen }
        }
        let options = EntryOptions(expiry: .after(.milliseconds(10)), durability: .synced)
        let first = Task { try await cache.value(for: "a") { _ in Loaded(1, options) } }
        await sync.reached { $0.isReached }
        rig.clock.advance(by: .milliseconds(5))
        let inTime = Task { try await cache.value(for: "a") { _ in Loaded(0, options) } }
        while cache.statistics.loadsShared == 0 { await Task.yield() }
        rig.clock.advance(by: .milliseconds(5))
        let asked = Watched(false)
        let late = Task {
            try await cache.value(for: "a") { _ in
                asked.update { $0 = true }
                return Loaded(2, options)
            }
        }
        while !asked.current, cache.statistics.loadsShared < 2 { await Task.yield() }
        rig.files.observe(nil)
        sync.update { $0.isOpen = true }
        #expect(try await late.value == 2)
        #expect(try await first.value == 1)
        #expect(try await inTime.value == 1)
        try await cache.close()
    }

    @Test("What a load has found on disk, and what has expired since, is not for who came meanwhile")
    func foundOnDisk() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        let hash = cache.memory.hash("a")
        try await cache.set(1, for: "a", EntryOptions(expiry: .after(.seconds(10))))
        let held = try #require(cache.memory.withShard(hash) { $0.peek("a", hash) })
        rig.clock.advance(by: .seconds(9))
        // One that has read the value, and not told when it is over.
        let load = Load<Int>()
        let found = Load<Int>.Found(held, at: cache.store.clock.now())
        rig.clock.advance(by: .seconds(1))
        cache.memory.withShard(hash) { $0.loads["a"] = load }
        let late = Task { try await cache.value(for: "a") { _ in Loaded(2) } }
        while load.callers < 2 { await Task.yield() }
        cache.memory.withShard(hash) { $0.loads["a"] = nil }
        load.finish(.success(found))
        #expect(try await late.value == 2)
        try await cache.close()
    }

    @Test("A stale value that may no longer be served is waited for, though stale ones are served at once")
    func stale() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        try await cache.set(
            1, for: "a", EntryOptions(expiry: Expiry(usable: .seconds(10), fresh: .seconds(5))))
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.loadedValue(for: "a", .stale(1), nil) { _ in throw CancellationError() } == 1)
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.loadedValue(for: "a", .stale(1), nil) { _ in Loaded(2) } == 2)
        try await cache.close()
    }

    @Test("A stale value that memory has let go since it was found there is served from disk")
    func letGo() async throws {
        let rig = try await RefreshRig()
        try await rig.cache.set(1, for: "a")
        try await rig.forgetAll()
        rig.clock.advance(by: .seconds(20))
        #expect(try await rig.cache.loadedValue(for: "a", .stale(1), nil) { _ in throw CancellationError() } == 1)
        #expect(rig.cache.statistics.staleServed == 1)
        try await rig.cache.close()
    }
}
