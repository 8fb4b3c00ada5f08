import Testing
import VarveTestSupport

@testable import Varve

/// What of the disk comes in to a full memory.
struct ReadAdmissionTests {
    private func isHeld(_ cache: Cache<Int, Int>, _ key: Int) -> Bool {
        let hash = cache.memory.hash(key)
        return cache.memory.withShard(hash) { $0.peek(key, hash) != nil }
    }

    @Test("Few of those that are not read again, pinned ones at their first read")
    func admissions() async throws {
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(50), policy: .adaptive)
        options.warmRestart = nil
        let first: Cache<Int, Int> = try await rig.store().cache(named: "c", options)
        for key in 0..<2000 { try await first.set(key, for: key, EntryOptions(isPinned: key >= 1980)) }
        try await first.store.close()
        let store = try await rig.store()
        let cache: Cache<Int, Int> = try await store.cache(named: "c", options)
        var held = 0
        for key in 0..<1800 {
            #expect(try await cache.value(for: key) == key)
            if key >= 1000, isHeld(cache, key) { held += 1 }
        }
        #expect((1...200).contains(held), "one of sixteen is tried")
        for key in 1980..<2000 {
            #expect(!isHeld(cache, key), "a read is to bring it in")
            #expect(try await cache.value(for: key) == key)
            #expect(isHeld(cache, key))
        }
        try await store.close()
    }
}
