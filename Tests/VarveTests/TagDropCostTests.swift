import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Dropping a tag is one small write, however many entries carry it; what drops leave behind is bounded.
struct TagDropCostTests {
    /// What changed with a call, on disk and in memory.
    private struct Cost: Equatable {
        var records: UInt64
        var batches: UInt64
        var payloadBytes: UInt64
        var bytesFlushed: UInt64
        var entriesRewritten: UInt64
        /// Entries that left memory.
        var memoryEntries: Int
    }

    /// Of the drop of a tag that so many entries carry.
    private func costOfDrop(of count: Int) async throws -> Cost {
        let store = try await CacheRig().store {
            // Nothing happens on disk but what the calls do.
            $0.usesThreads = false
            $0.memtableBytes = 4 << 20
            $0.logSegmentBytes = 4 << 20
        }
        var options = CacheOptions(memory: .entries(count))
        options.warmRestart = nil
        let cache: Cache<Int, Int> = try await store.cache(named: "c", options)
        for number in 0..<count { try await cache.set(number, for: number, EntryOptions(tags: ["t"])) }
        let engine = try #require(store.engine)
        // What the thread of the store's takes out of memory afterwards is not the drop's: it stands still meanwhile.
        let door = HeldThread((isReached: false, isOpen: false))
        store.maintain { _ in
            door.update { $0.isReached = true }
            door.wait { $0.isOpen }
            return .never
        }
        await door.reached { $0.isReached }
        let (before, held) = (engine.statistics, cache.statistics.memoryEntries)
        try await cache.remove(taggedWith: "t")
        let (after, left) = (engine.statistics, cache.statistics.memoryEntries)
        door.update { $0.isOpen = true }
        for number in [0, count / 2, count - 1] { #expect(try await cache.value(for: number) == nil) }
        try await store.close()
        return Cost(
            records: after.records - before.records, batches: after.batches - before.batches,
            payloadBytes: after.payloadBytes - before.payloadBytes,
            bytesFlushed: after.flushedBytes - before.flushedBytes,
            entriesRewritten: after.entriesRewritten - before.entriesRewritten, memoryEntries: held - left)
    }

    @Test("To drop the tag of 100,000 entries writes what that of ten does: one record, and nothing for an entry")
    func constant() async throws {
        let few = try await costOfDrop(of: 10)
        let many = try await costOfDrop(of: 100_000)
        #expect(few == many, "\(few), \(many)")
        #expect(many.records == 1 && many.batches == 1 && many.payloadBytes < 100, "\(many)")
        #expect(many.bytesFlushed == 0 && many.entriesRewritten == 0 && many.memoryEntries == 0, "\(many)")
    }

    @Test("Whatever the number of entries", arguments: 1...4 as ClosedRange<UInt64>)
    func anyNumber(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let cost = try await costOfDrop(of: .random(in: 1...3000, using: &random))
        #expect(cost.records == 1 && cost.batches == 1 && cost.payloadBytes < 100, "seed \(seed): \(cost)")
        #expect(cost.bytesFlushed == 0 && cost.memoryEntries == 0, "seed \(seed): \(cost)")
    }

    @Test("Once every place has a drop, drops take no more room, and still drop what is older and nothing newer")
    func everyPlace() {
        let registry = TagRegistry()
        let places = 1 << 20
        for tag in 0..<UInt64(places) { registry.note(tag, at: 10) }
        #expect(registry.count == places)
        for tag in 0..<UInt64(1000) { registry.note(tag + 5 << 20, at: 20) }
        #expect(registry.count == places)
        // Tags that share a place go together.
        #expect(!registry.keeps([7], version: 20) && !registry.keeps([7 + 9 << 20], version: 15))
        #expect(registry.keeps([7], version: 21) && registry.keeps([5000], version: 11))
        #expect(!registry.keeps([5000], version: 10))
        #expect(registry.present.earliest(of: [5000, 7], since: 10) == 10)
    }
}
