import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What may be on its way to the disk, or stand there unseen, is not for a load that finds none to pass over.
struct SavingRaceTests {
    private let rig = DegradedRig()

    private func none(_ key: String) -> Loaded<String> { Loaded(nil) }

    /// Encoding "mine" waits.
    private func coding(held hand: HeldThread) -> ValueCoding<String> {
        ValueCoding<String>(
            encode: { value in
                if value == "mine" {
                    hand.update { $0.isReached = true }
                    hand.wait { $0.isOpen }
                }
                return Array(value.utf8)
            }, decode: { String(decoding: $0, as: UTF8.self) },
            cost: { $0.utf8.count })
    }

    /// A cache that is back on disk and has "mine" of "a" still to save, which the hand holds. Nobody saves it until the door
    /// is open.
    private func returned() async throws -> (Cache<String, String>, hand: HeldThread, door: HeldThread) {
        let hand = HeldThread((isReached: false, isOpen: true))
        let store = try await rig.store()
        let cache: Cache<String, String> = try await store.cache(named: "c", coding: coding(held: hand), rig.options)
        let door = await store.unattended()
        try await rig.fillDisk(cache)
        try await cache.set("mine", for: "a")
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        hand.update { $0 = (isReached: false, isOpen: false) }
        return (cache, hand, door)
    }

    /// Else its step would make anew what it had in hand, by a memory that knows nothing of the next cache's changes.
    @Test("Who closes a cache waits for what a save has in hand")
    func closing() async throws {
        let (cache, hand, door) = try await returned()
        let store = cache.store
        defer { door.update { $0.isOpen = true } }
        let saving = Task {
            await IOThread.run(name: "test-save") {
                // The disk may be busy with the return at first.
                repeat { _ = cache.saveStep() } while !hand.current.isReached
            }
        }
        await hand.reached { $0.isReached }
        let isChanged = Watched(false)
        let next = Task {
            try await cache.close()
            let next: Cache<String, String> = try await store.cache(named: "c", rig.options)
            try await next.set("new", for: "a")
            isChanged.update { $0 = true }
            return next
        }
        // It may not get there before the step ends; it had the time to.
        for _ in 0..<20 where !isChanged.current { try await Task.sleep(for: .milliseconds(10)) }
        hand.update { $0.isOpen = true }
        await saving.value
        let again = try await next.value
        try await again.set("other", for: "b")
        try await rig.evictAll(again)
        #expect(try await again.value(for: "a") == "new")
        door.update { $0.isOpen = true }
        try await store.close()
    }

    @Test("A load that finds none takes what a save has in hand and memory has let go of")
    func evictedInBetween() async throws {
        let (cache, hand, door) = try await returned()
        defer { door.update { $0.isOpen = true } }
        let saving = Task { await IOThread.run(name: "test-save") { cache.saveAll() } }
        await hand.reached { $0.isReached }
        try await rig.evictAll(cache)
        #expect(cache.valueInMemory(for: "a") == nil)
        #expect(try await cache.refresh("a", loading: none) == nil)
        hand.update { $0.isOpen = true }
        await saving.value
        #expect(try await cache.value(for: "a") == nil)
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }

    @Test("A load that finds none hides what stands unseen in a log that has failed, though nobody has noticed yet")
    func failedLog() async throws {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        let disk = try #require(cache.disk)
        // As of a save whose sync fails.
        let change = try cache.change("unseen", EntryOptions(), .explicit)
        let batch = try cache.batch(Array("a".utf8), change, .none, disk)
        rig.failLog()
        #expect(await code { try await disk.engine.write(batch, durability: .synced) } != nil)
        #expect(!cache.isDegraded)
        #expect(try await cache.refresh("a", loading: none) == nil)
        #expect(cache.isDegraded)
        var killed = rig
        killed.rig.files = rig.files.killProcess()
        let again = try await killed.cache()
        #expect(try await again.value(for: "a") == nil)
        try await again.store.close()
        rig.files.clearFaults()
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }
}
