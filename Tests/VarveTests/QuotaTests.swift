import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What one cache of a store may take on disk, and what it says of it.
struct QuotaTests {
    /// A store with room, in which each cache keeps what it is given.
    private func store(_ rig: CacheRig) async throws -> CacheStore {
        try await rig.store { options in
            options.diskBudgetBytes = 64 << 20
            options.memtableEntries = 200
        }
    }

    private func fill(_ cache: Cache<String, String>, _ numbers: Range<Int>) async throws {
        for number in numbers { try await cache.set(String(repeating: "v", count: 50), for: "key \(number)") }
    }

    /// Returns once everything is in tables and nothing is left to do.
    private func settle(_ store: CacheStore) async throws {
        guard let engine = store.engine else { return }
        try await engine.flush()
        while !engine.isSettled { try await Task.sleep(for: .milliseconds(2)) }
    }

    private func onDisk(_ cache: Cache<String, String>, _ numbers: Range<Int>) async throws -> Int {
        var count = 0
        for number in numbers where try await cache.value(for: "key \(number)") != nil { count += 1 }
        return count
    }

    @Test("A cache keeps to its quota, and no other loses anything for it; readings are of each alone")
    func quota() async throws {
        let rig = CacheRig()
        let store = try await store(rig)
        var options = CacheOptions(memory: .entries(10))
        let free: Cache<String, String> = try await store.cache(named: "free", options)
        options.diskQuota = .entries(500)
        let bound: Cache<String, String> = try await store.cache(named: "bound", options)
        try await fill(free, 0..<1000)
        try await fill(bound, 0..<1500)
        try await settle(store)
        let (mine, theirs) = (try #require(bound.statistics.ownDisk), try #require(free.statistics.ownDisk))
        #expect(mine.entries <= 500 && mine.entries > 200 && mine.entriesEvicted == 1500 - mine.entries)
        #expect(mine.quota == .entries(500) && mine.use ?? 2 <= 1)
        #expect(mine.entriesLogged == 1500 && mine.bytesRewritten > mine.bytes && mine.entriesRewritten > 0)
        #expect(theirs.entries == 1000 && theirs.entriesEvicted == 0 && theirs.entriesLogged == 1000)
        #expect(theirs.quota == nil && theirs.use == nil && theirs.bytes > 0)
        #expect(try await onDisk(free, 0..<1000) == 1000)
        #expect(try await onDisk(bound, 0..<1500) <= 510)
        #expect(try await onDisk(bound, 1400..<1500) == 100, "what came last is there")
        try await store.close()
    }

    @Test("A changed quota holds at the next opening, and at once where it is changed while the cache is open")
    func changed() async throws {
        let rig = CacheRig()
        var store = try await store(rig)
        var cache: Cache<String, String> = try await store.cache(named: "c", CacheOptions(memory: .entries(10)))
        try await fill(cache, 0..<1000)
        try await settle(store)
        #expect(cache.statistics.ownDisk?.entries == 1000)
        try cache.setDiskQuota(.entries(600))
        try await settle(store)
        #expect(cache.statistics.ownDisk?.entries ?? 0 <= 600)
        try await store.close()
        store = try await self.store(rig)
        var options = CacheOptions(memory: .entries(10))
        options.diskQuota = .entries(300)
        cache = try await store.cache(named: "c", options)
        try await settle(store)
        #expect(cache.statistics.ownDisk?.entries ?? 999 <= 300)
        try cache.setDiskQuota(nil)
        try await fill(cache, 2000..<2600)
        try await settle(store)
        #expect(cache.statistics.ownDisk?.entries ?? 0 >= 600)
        try await store.close()
    }

    @Test("A cache that has filled its quota takes from loads what was seen before, though its store has room")
    func admission() async throws {
        let rig = CacheRig()
        let store = try await store(rig)
        var options = CacheOptions(memory: .entries(10))
        options.diskQuota = .entries(400)
        let cache: Cache<String, String> = try await store.cache(named: "c", options)
        // Nearly full once they are all in tables, and not before.
        for number in 0..<390 { _ = try await cache.value(for: "key \(number)") { _ in "v" } }
        #expect(cache.statistics.diskWritesAvoided == 0)
        try await settle(store)
        // The thread that compacts tells it once it has seen the flush.
        let disk = try #require(cache.disk)
        while !disk.engine.isFull(disk.namespace) { try await Task.sleep(for: .milliseconds(2)) }
        for number in 1000..<1100 { _ = try await cache.value(for: "key \(number)") { _ in "v" } }
        #expect(cache.statistics.diskWritesAvoided == 100)
        for number in 1000..<1050 { _ = try await cache.value(for: "key \(number)") { _ in "v" } }
        #expect(cache.statistics.diskWritesAvoided <= 110, "a second sighting is let in")
        try await store.close()
    }

    @Test("A quota that cannot be is refused, and says why")
    func refused() async throws {
        let rig = CacheRig()
        let store = try await store(rig)
        for (quota, word) in [
            (CacheLimit.entries(31), "32"), (.kilobytes(1), "1 megabyte"), (.gigabytes(1), "above what its store"),
        ] {
            var options = CacheOptions()
            options.diskQuota = quota
            let error = await #expect(throws: VarveError.self) {
                let _: Cache<String, String> = try await store.cache(named: "c", options)
            }
            #expect(error?.code == .invalidArgument && error?.message.contains(word) == true)
        }
        let cache: Cache<String, String> = try await store.cache(named: "c")
        #expect(throws: VarveError.self) { try cache.setDiskQuota(.entries(1)) }
        try cache.setDiskQuota(.megabytes(64))
        try await store.close()
        #expect(throws: VarveError.self) { try cache.setDiskQuota(nil) }
        let memory: Cache<String, String> = try Cache.inMemory(CacheOptions())
        try memory.setDiskQuota(.entries(99))
        #expect(memory.statistics.ownDisk == nil)
    }
}
