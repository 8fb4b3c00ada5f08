import Glibc
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Reads that are under way on an engine while another one takes its place, and removes its files.
struct ReplacedEngineTests {
    private let rig = DegradedRig()

    /// A cache that goes on in memory since its log failed, with a key that lies on disk alone.
    private func failedCache() async throws -> Cache<String, String> {
        let cache = try await rig.cache { $0.blockCacheBytes = 0 }
        try await cache.set("old", for: "a")
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
}
