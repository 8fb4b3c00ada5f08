import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What entries whose tag was dropped took on disk is given back, also where they never expire and eviction spares them.
struct DroppedTagSpaceTests {
    private static let count = 20_000

    private struct Entry {
        var value: [UInt8]
        var tags: [String]
        var isPinned: Bool
    }

    private func open(_ rig: CacheRig) async throws -> Cache<Int, [UInt8]> {
        let store = try await rig.store {
            $0.usesThreads = false
            $0.compaction = .scaled(toMemtable: 256 << 10)
        }
        return try await store.cache(named: "c", CacheOptions(memory: .entries(50)))
    }

    /// A third of the entries carries the tag that will be dropped; one in eight is pinned.
    private func fill(_ cache: Cache<Int, [UInt8]>, _ random: inout SplitMix) async throws -> [Int: Entry] {
        var entries: [Int: Entry] = [:]
        for number in 0..<DroppedTagSpaceTests.count {
            let key = Int(random.next() % 1_000_000)
            let tags = [["stays"], ["gone"], ["stays", "gone"], [], ["stays"], []][Int(random.next() % 6)]
            let value = (0..<(20 + Int(random.next() % 60))).map { _ in random.byte() }
            let entry = Entry(value: value, tags: tags, isPinned: random.next() % 8 == 0)
            try await cache.set(entry.value, for: key, EntryOptions(tags: entry.tags, isPinned: entry.isPinned))
            entries[key] = entry
            if number % 4000 == 3999 { try settle(cache) }
        }
        try settle(cache)
        return entries
    }

    private func compact(_ cache: Cache<Int, [UInt8]>) throws { try cache.store.engine?.compact() }

    private func settle(_ cache: Cache<Int, [UInt8]>) throws {
        try cache.store.engine?.flush()
        try cache.store.engine?.runBackgroundWork()
    }

    private func check(_ cache: Cache<Int, [UInt8]>, _ entries: [Int: Entry], _ seed: UInt64) async throws {
        for (key, entry) in entries {
            let expected = entry.tags.contains("gone") ? nil : entry.value
            let found = try await cache.value(for: key)
            if found != expected { Issue.record("seed \(seed), key \(key): \(entry), found \(found as Any)") }
        }
    }

    @Test(
        "The entries of a dropped tag leave the disk, pinned ones too, and no other; none comes back after a kill",
        arguments: 1...2 as ClosedRange<UInt64>)
    func dropped(seed: UInt64) async throws {
        var random = SplitMix(seed)
        var rig = CacheRig()
        var cache = try await open(rig)
        let entries = try await fill(cache, &random)
        let gone = Set(entries.filter { $0.value.tags.contains("gone") }.keys)
        let before = try #require(cache.store.engine).statistics
        try await cache.remove(taggedWith: "gone")
        try settle(cache)
        let after = try #require(cache.store.engine).statistics
        #expect(Double(after.tableBytes) < Double(before.tableBytes) * 0.85, "seed \(seed)")
        let left = try cache.keysOnDisk()
        #expect(left.isSuperset(of: entries.keys.filter { !gone.contains($0) }), "seed \(seed)")
        #expect(left.intersection(gone).count * 4 < left.count, "seed \(seed): at most a fifth or so is left")
        #expect(after.entriesInvalidated > 0)
        try await check(cache, entries, seed)

        // A rewrite of everything leaves none.
        try compact(cache)
        #expect(try cache.keysOnDisk() == Set(entries.keys).subtracting(gone), "seed \(seed)")
        rig.files = rig.files.killProcess()
        cache = try await open(rig)
        try await check(cache, entries, seed)
        try await cache.store.close()
    }

    @Test("A snapshot from before the drop sees its entries, and nothing is rewritten in vain for its sake")
    func snapshot() async throws {
        var random = SplitMix(3)
        let cache = try await open(CacheRig())
        let entries = try await fill(cache, &random)
        let engine = try #require(cache.store.engine)
        var snapshot: Snapshot? = engine.makeSnapshot()
        try await cache.remove(taggedWith: "gone")
        let written = engine.statistics.compactedBytesWritten
        try settle(cache)
        #expect(engine.statistics.compactedBytesWritten == written)
        try compact(cache)
        #expect(try cache.keysOnDisk(at: snapshot) == Set(entries.keys))
        #expect(engine.statistics.entriesInvalidated == 0)
        snapshot = nil
        try settle(cache)
        #expect(engine.statistics.entriesInvalidated > 0)
        try await check(cache, entries, 3)
        try await cache.store.close()
    }

    @Test("What was set anew under the tag stays; what another cache of the store has under it stays")
    func setAnew() async throws {
        let cache = try await open(CacheRig())
        let other: Cache<Int, [UInt8]> = try await cache.store.cache(named: "other")
        for number in 0..<300 {
            try await cache.set([1], for: number, EntryOptions(tags: ["t"], isPinned: true))
            try await other.set([1], for: number, EntryOptions(tags: ["t"]))
        }
        try await cache.remove(taggedWith: "t")
        for number in 0..<100 { try await cache.set([2], for: number, EntryOptions(tags: ["t"])) }
        try settle(cache)
        try compact(cache)
        #expect(try cache.keysOnDisk() == Set(0..<100))
        #expect(try other.keysOnDisk() == Set(0..<300))
        #expect(try #require(cache.store.engine).statistics.entriesInvalidated == 200)
        try await cache.store.close()
    }
}
