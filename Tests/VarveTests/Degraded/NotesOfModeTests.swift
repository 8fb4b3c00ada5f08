import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Notes for a warm restart where the disk takes no writes.
struct NotesOfModeTests {
    private let rig: DegradedRig = {
        var rig = DegradedRig()
        rig.options.warmRestart = WarmRestart()
        return rig
    }()

    @Test(
        "While the store goes on in memory nothing is noted; a store that is closed on its way back notes what it has then",
        arguments: [true, false])
    func inMemory(isFull: Bool) async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "before")
        if isFull {
            try await rig.fillDisk(cache)
        } else {
            rig.failLog()
            try await cache.set("new", for: "a")
        }
        #expect(cache.isDegraded)
        try await cache.set("new", for: "hot")
        await IOThread.run(name: "test-notes") { cache.noteAll() }
        let noted = try #require(cache.statistics.warmUp)
        #expect(noted.notesWritten == 0 && noted.notesFailed == 0)
        rig.files.clearFaults()
        rig.files.capacity = nil
        try await cache.store.close()
        let again = try await rig.cache()
        #expect(try #require(again.statistics.warmUp).keysNoted >= 2)
        #expect(await again.ready() == .done)
        #expect(again.valueInMemory(for: "hot") == "new")
        try await again.store.close()
    }

    @Test("The way to memory waits for a note that is being written")
    func within() async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        let hand = HeldThread((isReached: false, isOpen: false))
        let warm = try #require(cache.warm)
        let notes = Task {
            await IOThread.run(name: "test-notes") {
                cache.onDisk { () -> Bool in
                    hand.update { $0.isReached = true }
                    hand.wait { $0.isOpen }
                    #expect(cache.store.degraded?.isInMemory == true && !cache.isDegraded)
                    cache.gather(.keys, 0, warm)
                    func isPending() -> Bool { warm.state.withLock { !$0[.keys].pending.isEmpty } }
                    let wasPending = isPending()
                    let isWritten = cache.writePending(.keys, 0, warm, atMost: .max).isWritten
                    return wasPending && !isWritten && isPending()
                }
            }
        }
        await hand.reached { $0.isReached }
        rig.files.capacity = rig.files.usedBytes
        let full = Task { _ = try await cache.set(DegradedRig.large, for: "filler") }
        while cache.store.degraded?.isInMemory == false { await Task.yield() }
        #expect(!cache.isDegraded)
        hand.update { $0.isOpen = true }
        #expect(await notes.value == true, "what is pending stays so")
        try await full.value
        #expect(cache.isDegraded)
        #expect(cache.onDisk {} == nil)
        rig.files.capacity = nil
        try await cache.store.close()
        let again = try await rig.cache()
        #expect(try #require(again.statistics.warmUp).keysNoted == 2)
        try await again.store.close()
    }

    /// What sent it to memory may have taken them.
    @Test("After a return all of it is noted anew, also where nothing has happened since")
    func afterReturn() async throws {
        let cache = try await rig.cache()
        let warm = try #require(cache.warm)
        try await cache.set("x", for: "a")
        await IOThread.run(name: "test-notes") { cache.noteAll() }
        let notes = warm.statistics.notesWritten
        #expect(notes > 0)
        await IOThread.run(name: "test-notes") { cache.noteAll() }
        #expect(warm.statistics.notesWritten == notes)
        try await rig.fillDisk(cache)
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        await IOThread.run(name: "test-notes") { cache.noteAll() }
        #expect(warm.statistics.notesWritten >= 2 * notes)
        try await cache.store.close()
    }

    @Test(
        "Removing what was noted rests while the disk has no room, until a store is back from memory at most",
        arguments: [false, true])
    func clearing(goesToMemory: Bool) async throws {
        let first = try await rig.cache()
        try await first.set("x", for: "a")
        try await first.store.close()
        let store = try await rig.store()
        rig.files.capacity = rig.files.usedBytes
        var options = rig.options
        options.warmRestart = nil
        let cache: Cache<String, String> = try await store.cache(named: "c", options)
        let notes = WarmNotes(engines: try #require(store.engines), namespace: try #require(cache.disk).namespace)
        await store.warmed()
        #expect(try !notes.names().isEmpty)
        rig.files.capacity = nil
        await store.warmed()
        #expect(try !notes.names().isEmpty)
        if goesToMemory {
            try await rig.fillDisk(cache)
            await store.warmed()
            rig.files.capacity = nil
            #expect(await cache.tryReturn())
        } else {
            rig.rig.clock.advance(by: .seconds(1))
        }
        await store.warmed()
        #expect(try notes.names().isEmpty)
        try await store.close()
    }
}
