import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Drops of tags while memory is the authority, beside writes that are held up.
struct DropsWhileDegradedTests {
    private let rig = DegradedRig()

    @Test("What memory alone holds is not forgotten for the drop of a tag that it does not carry")
    func foreignTag() async throws {
        let cache = try await rig.cache { $0.blockCacheBytes = 0 }
        try await cache.set("old", for: "a", EntryOptions(sourceVersion: 1))
        try await cache.set("newer", for: "b", EntryOptions(sourceVersion: 9))
        try await cache.disk?.engine.flush()
        rig.files.dropCaches()
        try await rig.fillDisk(cache)
        try await cache.set("new", for: "a", EntryOptions(isPinned: true))
        // It is judged by what the disk knows of the key, which must be read first: some of that may be newer.
        let reading = RefreshRig.holdRead(rig.files)
        let write = Task { try await cache.set("newer", for: "a", EntryOptions(sourceVersion: 2)) }
        await reading.began()
        #expect(try await cache.value(for: "a") == "new")
        try await cache.remove(taggedWith: "another")
        #expect(try await cache.value(for: "a") == "new")
        reading.letGo()
        _ = try await write.value
        #expect(try await cache.value(for: "a") == "newer")
        try await cache.store.close()
    }
}
