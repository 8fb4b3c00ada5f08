import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What compaction is told of dropped tags: where a cache is opened, closed, in memory for a while, or in the middle of a drop,
/// no entry goes that a read would show, and none that was dropped comes back.
struct TagJudgeTests {
    private let options: CacheOptions = {
        var options = CacheOptions(memory: .entries(1000), policy: .fifo)
        options.warmRestart = nil
        return options
    }()

    private let floors = FloorRegistry()

    private func store(_ rig: CacheRig) async throws -> CacheStore { try await rig.store { $0.usesThreads = false } }

    private func entry(_ version: UInt64, _ tags: [UInt64], in namespace: Namespace = .default) -> JudgedEntry {
        JudgedEntry(namespace: namespace.number, version: LSN(version), tags: tags)
    }

    @Test("It says of an entry what the registry says, and nothing once the cache is gone")
    func judge() throws {
        let judge = CacheJudge()
        var registry: TagRegistry? = TagRegistry()
        judge.add(try #require(registry), floors, of: .default)
        #expect(judge.generation == 0)
        registry?.note(7, at: 5)
        registry?.note(8, at: 9)
        let generation = judge.generation
        #expect(generation > 0 && judge.generation == generation)
        for asked: any InvalidationJudge in [judge, judge.makePass()] {
            #expect(asked.generation == generation)
            #expect(asked.invalidation(of: entry(5, [7])) == LSN(5))
            #expect(asked.invalidation(of: entry(6, [7])) == nil)
            #expect(asked.invalidation(of: entry(3, [6, 7 + 1 << 20])) == LSN(5), "they share a slot")
            #expect(asked.invalidation(of: entry(3, [8, 7])) == LSN(5), "the first of both")
            #expect(asked.invalidation(of: entry(6, [7, 8])) == LSN(9))
            #expect(asked.invalidation(of: entry(1, [6])) == nil && asked.invalidation(of: entry(1, [])) == nil)
            #expect(asked.invalidation(of: entry(1, [7], in: .tagDrops)) == nil)
        }
        // A drop that comes during a compaction hides nothing from it that it was to let go.
        let pass = judge.makePass()
        registry?.note(7, at: 20)
        #expect(pass.invalidation(of: entry(5, [7])) == LSN(5) && pass.generation == generation)
        #expect(judge.invalidation(of: entry(5, [7])) == LSN(20) && judge.generation > generation)
        // Another one that knows of as many.
        let next = TagRegistry()
        for tag in [1, 2, 3] as [UInt64] { next.note(tag, at: 5) }
        let former = judge.generation
        judge.add(next, floors, of: .default)
        #expect(judge.generation > former)
        #expect(judge.invalidation(of: entry(5, [7])) == nil && judge.invalidation(of: entry(5, [1])) == LSN(5))
        judge.add(try #require(registry), floors, of: .tagDrops)
        #expect(judge.invalidation(of: entry(5, [7], in: .tagDrops)) == LSN(20))
        let before = judge.generation
        registry = nil
        #expect(judge.generation > before && judge.count == 1)
        #expect(judge.invalidation(of: entry(5, [7], in: .tagDrops)) == nil)
    }

    @Test("A record that only moves a deadline goes by the version that it carries")
    func carriedVersion() async throws {
        let rig = CacheRig()
        var options = options
        options.expiry = Expiry(idle: .seconds(10))
        let cache: Cache<String, String> = try await store(rig).cache(named: "c", options)
        let disk = try #require(cache.disk)
        try await cache.set("old", for: "late", EntryOptions(tags: ["t"]))
        let stored = try #require(try await disk.entry(Array("late".utf8)))
        try await cache.remove(taggedWith: "t")
        // Written after the drop, for a read before it.
        var fields = stored.fields
        IdleRecord.carry(DiskTier.version(of: stored), in: &fields)
        try await disk.engine.put(Array("late".utf8), stored.bytes, fields, in: disk.namespace)
        #expect(try await cache.value(for: "late") == nil)
        var versions: [String: UInt64] = [:]
        for key in ["anew", "other"] {
            try await cache.set("new", for: key, EntryOptions(tags: key == "anew" ? ["t"] : ["u"]))
            versions[key] = DiskTier.version(of: try #require(try await disk.entry(Array(key.utf8))))
        }
        rig.clock.advance(by: .seconds(6))
        for key in ["anew", "other"] { #expect(try await cache.value(for: key) == "new") }
        cache.touchAll()
        try await cache.remove(taggedWith: "another")
        for (key, version) in versions {
            let moved = try #require(try await disk.entry(Array(key.utf8)))
            #expect(moved.version.rawValue > version && DiskTier.version(of: moved) == version)
        }
        try await disk.engine.compact()
        #expect(try cache.keysOnDisk() == ["anew", "other"])
        #expect(disk.engine.statistics.entriesInvalidated == 1)
        for key in ["anew", "other"] { #expect(try await cache.value(for: key) == "new") }
        try await cache.store.close()
    }

    @Test(
        "A drop that is under way takes nothing yet, and one that failed takes nothing at all",
        arguments: [false, true])
    func underWay(fails: Bool) async throws {
        let cache: Cache<String, String> = try await store(CacheRig()).cache(named: "c", options)
        let disk = try #require(cache.disk)
        try await cache.set("1", for: "a", EntryOptions(tags: ["t"], isPinned: true))
        // An earlier one, so that the judge is asked at all.
        try await cache.remove(taggedWith: "u")
        let id = TagRegistry.id(of: "t")
        disk.tags.registry.begin(id, since: disk.visible.rawValue)
        let version = fails ? nil : try await disk.engine.put(disk.tags.key(id), [], in: .tagDrops).rawValue
        try await disk.engine.compact()
        #expect(try cache.keysOnDisk() == ["a"] && disk.engine.statistics.entriesInvalidated == 0)
        disk.tags.registry.end(id, at: version)
        #expect(try await cache.value(for: "a") == (fails ? "1" : nil))
        try await disk.engine.compact()
        #expect(try cache.keysOnDisk() == (fails ? ["a"] : []))
        try await cache.store.close()
    }

    @Test(
        "What was dropped before its cache was closed, or its process killed, goes when it is open again",
        arguments: [false, true])
    func openedAgain(isKilled: Bool) async throws {
        var rig = CacheRig()
        var store = try await store(rig)
        var cache: Cache<Int, String>? = try await store.cache(named: "c", options)
        for number in 0..<90 {
            let tags = number % 3 == 0 ? ["t", "u"] : ["u"]
            try await cache?.set("1", for: number, EntryOptions(tags: tags, isPinned: number % 2 == 0))
        }
        try await store.engine?.flush()
        try await cache?.remove(taggedWith: "t")
        if isKilled {
            rig.files = rig.files.killProcess()
            store = try await self.store(rig)
        } else {
            try await cache?.close()
        }
        cache = nil
        let engine = try #require(store.engine)
        try await engine.compact()
        #expect(engine.statistics.entriesInvalidated == 0, "nobody knows of drops who has not opened the cache")
        let again: Cache<Int, String> = try await store.cache(named: "c", options)
        #expect(try again.keysOnDisk() == Set(0..<90))
        try await engine.compact()
        #expect(try again.keysOnDisk() == Set((0..<90).filter { $0 % 3 != 0 }))
        for number in 0..<90 { #expect(try await again.value(for: number) == (number % 3 == 0 ? nil : "1")) }
        try await store.close()
    }

    @Test("A caller's own judge is refused, not replaced")
    func ownJudge() async throws {
        let rig = CacheRig()
        #expect(await code { _ = try await rig.store { $0.judge = CacheJudge() } } == .invalidArgument)
    }
}

extension Cache {
    /// What the tables and memtables hold, whether the cache shows it or not.
    func keysOnDisk(at snapshot: Snapshot? = nil) throws -> Set<Key> {
        let disk = try #require(disk)
        let iterator = try disk.engine.makeIterator(in: disk.namespace, at: snapshot)
        var keys: Set<Key> = []
        try iterator.seekToFirst()
        while iterator.isValid {
            let key = iterator.key
            keys.insert(try #require(unsafe Key(keyBytes: key.span.bytes)))
            try iterator.next()
        }
        return keys
    }
}
