import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Reads that are under way on an engine while another one takes its place, and removes its files.
struct ReplacedEngineTests {
    private let rig = DegradedRig()

    /// A cache that goes on in memory since its log failed, with a key that lies on disk alone.
    private func failedCache() async throws -> Cache<String, String> {
        let cache = try await rig.cache { $0.blockCacheBytes = 0 }
        try await cache.set("old", for: "a", EntryOptions(sourceVersion: 7))
        try await cache.set("old", for: "b")
        try await rig.evictAll(cache)
        try await cache.store.engine?.flush()
        rig.failLog()
        try await cache.set("new", for: "c")
        rig.files.clearFaults()
        rig.files.dropCaches()
        return cache
    }

    /// Does something at the next read of a table, which then fails.
    private func atNextRead(_ body: @escaping @Sendable () -> Void) {
        let isDone = Watched(false)
        rig.files.fail(EIO) { $0.operation == .read && $0.path.hasSuffix(".sst") }
        rig.files.observe { call in
            guard call.operation == .read, call.path.hasSuffix(".sst") else { return }
            let isFirst = isDone.update { isDone in
                defer { isDone = true }
                return !isDone
            }
            if isFirst { body() }
        }
    }

    @Test("A read that fails on an engine which was replaced meanwhile is made anew, and is no damage")
    func again() async throws {
        let cache = try await failedCache()
        let degraded = try #require(cache.store.degraded)
        let before = cache.store.engine
        atNextRead { degraded.tryReturn() }
        #expect(try await cache.value(for: "a") == "old")
        #expect(cache.store.engine !== before)
        #expect(cache.health.isHealthy)
        #expect(cache.health.damagedReads == 0)
        #expect(cache.health.lastDamage == nil)
        rig.files.observe(nil)
        try await cache.store.close()
    }

    @Test("What was changed since is not read from the engine that took its place")
    func changed() async throws {
        let cache = try await failedCache()
        let degraded = try #require(cache.store.degraded)
        try await cache.remove("a")
        atNextRead { degraded.tryReturn() }
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await cache.value(for: "b") == "old")
        #expect(cache.health.damagedReads == 0)
        rig.files.observe(nil)
        try await cache.store.close()
    }

    @Test("A read that fails on the engine that is still there is damage as before")
    func damage() async throws {
        let cache = try await failedCache()
        atNextRead {}
        #expect(try await cache.value(for: "a") == nil)
        #expect(cache.health.damagedReads == 1)
        rig.files.observe(nil)
        #expect(await cache.tryReturn())
        try await cache.store.close()
    }

    @Test(
        "A condition that an engine cannot tell any more, since another one is about to take its place, is asked of that one",
        arguments: [false, true])
    func condition(ofLoad: Bool) async throws {
        let cache = try await failedCache()
        let degraded = try #require(cache.store.degraded)
        let old = try #require(cache.store.engine)
        let thread = Watched<IOThread?>(nil)
        atNextRead {
            // Not here: the return waits for the writer that reads.
            let comeback = try? IOThread(name: "test-return") { degraded.tryReturn() }
            thread.update { $0 = comeback }
            let signal = Signal()
            while !old.isRetired { signal.wait(after: signal.generation, atMost: .milliseconds(1)) }
        }
        let late = EntryOptions(sourceVersion: 3)
        if ofLoad {
            #expect(try await cache.refresh("a", loading: { _ in Loaded("late", late) }) == "late")
        } else {
            #expect(await code { try await cache.set("late", for: "a", late) } == .conditionFailed)
        }
        await IOThread.run(name: "test-join") { thread.current?.join() }
        #expect(cache.store.engine !== old)
        #expect(try await cache.value(for: "a") == "old")
        #expect(cache.health.damagedReads == 0)
        rig.files.observe(nil)
        try await cache.store.close()
    }

    @Test("Damage is told again where the store could not be opened anew, however long the engine is read yet")
    func failedOpening() async throws {
        let cache = try await failedCache()
        rig.files.fail(EIO, sticky: true) { $0.operation == .create && $0.path.contains("MANIFEST") }
        #expect(await !cache.tryReturn())
        #expect(cache.store.engine?.isRetired == true)
        rig.files.clearFaults()
        rig.files.dropCaches()
        atNextRead {}
        #expect(try await cache.value(for: "a") == nil)
        #expect(cache.health.damagedReads == 1)
        rig.files.observe(nil)
        #expect(await cache.tryReturn())
        try await cache.store.close()
    }
}
