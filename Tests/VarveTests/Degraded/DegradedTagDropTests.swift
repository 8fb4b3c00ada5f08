import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Compaction around drops of tags that were made in memory: their numbers lie beyond the log's end until the store is back on
/// its disk.
struct DegradedTagDropTests {
    private let rig = DegradedRig()

    /// "gone" and "stays" are on disk under tags of their names; the store is in memory, "gone" was dropped there, and "anew"
    /// set under the tag afterwards.
    private func dropped(_ rig: DegradedRig, _ fail: (Cache<String, String>) async throws -> Void) async throws
        -> (cache: Cache<String, String>, door: HeldThread)
    {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        for name in ["gone", "stays"] {
            try await cache.set("old", for: name, EntryOptions(tags: [name], isPinned: true))
        }
        try await cache.disk?.engine.flush()
        try await fail(cache)
        try await cache.remove(taggedWith: "gone")
        try await cache.set("new", for: "anew", EntryOptions(tags: ["gone"], isPinned: true))
        #expect(cache.isDegraded)
        return (cache, door)
    }

    private func compact(_ cache: Cache<String, String>) async throws { try await cache.disk?.engine.compact() }

    private func expect(_ cache: Cache<String, String>, stays: [String?], anew: [String?], _ message: String)
        async throws
    {
        #expect(try await cache.value(for: "gone") == nil, "\(message)")
        let found = (try await cache.value(for: "stays"), try await cache.value(for: "anew"))
        #expect(stays.contains(found.0) && anew.contains(found.1), "\(found), \(message)")
    }

    /// What a store has that was left like this, however its power goes.
    private func expectCrashed(
        _ rig: DegradedRig, stays: [String?], anew: [String?], _ message: String
    ) async throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            let next = rig.crashed(seed)
            next.files.clearFaults()
            let cache = try await next.cache(.throwing)
            try await expect(cache, stays: stays, anew: anew, "seed \(seed), \(message)")
            try await compact(cache)
            try await expect(cache, stays: stays, anew: anew, "seed \(seed), compacted, \(message)")
            try await cache.store.close()
        }
    }

    @Test("Before the return it takes nothing; then its entries go, and nothing else, wherever the power goes")
    func fullDisk() async throws {
        let (cache, door) = try await dropped(rig) { cache in
            try await rig.fillDisk(cache)
            rig.files.capacity = nil
        }
        defer { door.update { $0.isOpen = true } }
        try await compact(cache)
        #expect(try cache.keysOnDisk() == ["gone", "stays"])
        try await expect(cache, stays: ["old"], anew: ["new"], "in memory")
        // Under the mark the next opening is cold.
        try await expectCrashed(rig, stays: [nil], anew: [nil], "in memory")

        // As the return begins: the log has passed the drop's number, and has no record of it yet.
        let disk = try #require(cache.disk)
        let given = try #require(cache.store.degraded).versionsGiven
        try disk.engine.skipLSNs(upTo: LSN(given))
        try await compact(cache)
        #expect(try cache.keysOnDisk() == ["stays"])
        try await expect(cache, stays: ["old"], anew: ["new"], "on its way back")
        try await expectCrashed(rig, stays: [nil], anew: [nil], "on its way back")

        #expect(await cache.tryReturn())
        await IOThread.run(name: "test-save") { cache.saveAll() }
        try await compact(cache)
        #expect(try cache.keysOnDisk().subtracting(["filler"]) == ["stays", "anew"])
        try await expect(cache, stays: ["old"], anew: ["new"], "returned")
        // What was saved is promised to nobody.
        try await expectCrashed(rig, stays: ["old"], anew: ["new", nil], "returned")
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }

    @Test("The same where another engine takes the place of the one that failed")
    func replacedEngine() async throws {
        let (cache, door) = try await dropped(rig) { _ in rig.failLog() }
        defer { door.update { $0.isOpen = true } }
        rig.files.clearFaults()
        let failed = try #require(cache.disk).engine
        // The old one cannot make the drop durable. Whether it still compacts is its own affair.
        try? await failed.compact()
        #expect(failed.statistics.entriesInvalidated == 0)
        #expect(await cache.tryReturn())
        let engine = try #require(cache.disk).engine
        #expect(engine !== failed)
        await IOThread.run(name: "test-save") { cache.saveAll() }
        try await compact(cache)
        #expect(try cache.keysOnDisk() == ["stays", "anew"])
        #expect(engine.statistics.entriesInvalidated == 1)
        try await expect(cache, stays: ["old"], anew: ["new"], "returned")
        // What was saved is promised to nobody.
        try await expectCrashed(rig, stays: ["old"], anew: ["new", nil], "returned")
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }
}
