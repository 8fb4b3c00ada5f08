import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import Varve
@testable import VarveEngine

/// What a write that failed tells of the disk, and what the cache makes of it.
struct RefusedWriteTests {
    private let rig = DegradedRig()

    private func close(_ cache: Cache<String, String>, _ door: HeldThread) async throws {
        rig.files.clearFaults()
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }

    /// Leaves a record in the log that no reader ever sees, and the log failed.
    private func writeUnseen(_ key: [UInt8], _ namespace: Namespace, _ engine: Engine) async {
        rig.failLog()
        #expect(await code { try await engine.put(key, [], in: namespace, durability: .synced) } != nil)
    }

    @Test("A load that waits to see what a failed log never shows has its value all the same")
    func load() async throws {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        let disk = try #require(cache.disk)
        await writeUnseen(Array("a".utf8), disk.namespace, disk.engine)
        #expect(!cache.isDegraded)
        #expect(try await cache.value(for: "a", load: { _ in "loaded" }) == "loaded")
        #expect(cache.isDegraded)
        #expect(try await cache.value(for: "a") == "loaded")
        try await close(cache, door)
    }

    @Test("A conditional write that waits to see what a failed log never shows is made in memory")
    func condition() async throws {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        let disk = try #require(cache.disk)
        let version = try await cache.set("old", for: "a", EntryOptions(tags: ["t"]))
        await writeUnseen(disk.tags.key(TagRegistry.id(of: "t")), .tagDrops, disk.engine)
        #expect(!cache.isDegraded)
        #expect(try await cache.set("new", for: "a", ifVersion: version) != nil)
        #expect(cache.isDegraded)
        #expect(try await cache.value(for: "a") == "new")
        try await close(cache, door)
    }

    @Test("What a failed log never shows stands in no condition's way once the store goes on in memory")
    func unseen() async throws {
        let cache = try await rig.cache()
        let disk = try #require(cache.disk)
        try await cache.set("before", for: "b")
        await writeUnseen(Array("a".utf8), disk.namespace, disk.engine)
        try await cache.set("other", for: "b")
        #expect(cache.isDegraded)
        // As of somebody who holds a load's result and has looked at the disk before anything was numbered in memory.
        let change = try cache.change(Loaded("new"), .explicit)
        let seen = Cache<String, String>.Demand.version(
            nil, tags: [], since: disk.engine.visible.rawValue, notOlder: nil)
        #expect(await code { _ = try await cache.commit("a", change, seen, nil) } == nil)
        let older = Cache<String, String>.Demand.version(nil, tags: [], since: 1, notOlder: nil)
        #expect(await code { _ = try await cache.commit("b", change, older, nil) } == .conditionFailed)
        rig.files.clearFaults()
        try await cache.store.close()
    }

    /// A key with a source version that only a table tells, which cannot be read.
    private func unreadable() async throws -> Cache<String, String> {
        let cache = try await rig.cache { $0.blockCacheBytes = 0 }
        try await cache.set("old", for: "a", EntryOptions(sourceVersion: 7))
        try await rig.evictAll(cache)
        try await cache.store.engine?.flush()
        rig.files.dropCaches()
        rig.files.fail(EIO, sticky: true) { $0.operation == .read && $0.path.hasSuffix(".sst") }
        return cache
    }

    @Test("A condition that cannot be read is told to its writer, and says nothing of the log")
    func unreadableCondition() async throws {
        let cache = try await unreadable()
        #expect(await code { try await cache.set("late", for: "a", EntryOptions(sourceVersion: 3)) } == .io)
        #expect(!cache.isDegraded)
        #expect(cache.statistics.degradation?.episodes == 0)
        #expect(cache.health.damagedReads == 1)
        try await cache.set("new", for: "b")
        rig.files.clearFaults()
        #expect(
            await code { try await cache.set("late", for: "a", EntryOptions(sourceVersion: 3)) } == .conditionFailed)
        #expect(try await cache.value(for: "a") == "old")
        try await cache.store.close()
    }

    @Test("A load whose condition cannot be read has its value, which is not kept")
    func unreadableConditionOfLoad() async throws {
        let cache = try await unreadable()
        let late = Loaded("late", EntryOptions(sourceVersion: 3))
        #expect(try await cache.refresh("a", loading: { _ in late }) == "late")
        #expect(!cache.isDegraded)
        #expect(cache.statistics.degradation?.episodes == 0)
        rig.files.clearFaults()
        #expect(try await cache.value(for: "a") == "old")
        try await cache.store.close()
    }

    @Test("A conditional write that was refused before the log saw it is made in memory", arguments: 0..<4)
    func refused(kind: Int) async throws {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        let version = try await cache.set("1", for: "a")
        cache.store.engine?.health.stop(VarveError(.io, "a table could not be written"))
        #expect(!cache.isDegraded)
        switch kind {
        case 0: #expect(try await cache.set("2", for: "a", ifVersion: version) != nil)
        case 1: #expect(try await cache.update("a") { $0 = ($0 ?? "") + "2" } == "12")
        case 2: #expect(try await cache.take("a") == "1")
        default: #expect(try await cache.add("2", for: "b") != nil)
        }
        #expect(cache.isDegraded)
        #expect(try await cache.value(for: "a") == ["2", "12", nil, "1"][kind])
        try await close(cache, door)
    }
}
