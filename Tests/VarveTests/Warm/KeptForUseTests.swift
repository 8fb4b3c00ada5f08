import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What a full disk was spared when it was loaded gets there when it is used in memory, and never in the place of anything
/// newer.
struct KeptForUseTests {
    /// A store that is full from the start: whatever is loaded is seen for the first time.
    private func fullStore(
        _ rig: CacheRig, _ eviction: S3FIFOEviction = S3FIFOEviction(expectedEntries: 10_000)
    ) async throws -> CacheStore {
        let store = try await rig.store(evictingBy: eviction)
        eviction.noteOccupancy(1)
        return store
    }

    private func load(_ cache: Cache<String, Int>, _ kind: String, reads: Int) async throws {
        for number in 0..<50 {
            for _ in 0...reads { #expect(try await cache.value(for: "\(kind) \(number)") { _ in number } == number) }
        }
    }

    @Test("What is read most in memory is there after a kill, though a full disk did not take its load")
    func killed() async throws {
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let cache: Cache<String, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(200)))
        try await load(cache, "hot", reads: 100)
        try await load(cache, "once", reads: 0)
        #expect(cache.statistics.diskWritesAvoided == 100)
        #expect(try cache.keysOnDisk().isEmpty)
        rig.clock.advance(by: .seconds(11))
        await store.warmed()
        #expect(cache.statistics.keptForUse == 50)
        let again: Cache<String, Int> = try await CacheRig(files: rig.files.killProcess(), clock: rig.clock).store()
            .cache(
                named: "c", CacheOptions(memory: .entries(200)))
        #expect(await again.ready(share: 2, atMost: .seconds(60)) == .done)
        let statistics = try #require(again.statistics.warmUp)
        #expect(statistics.keysNoted == 100 && statistics.entriesWarmed == 50 && statistics.keysGone == 50)
        for number in 0..<50 { #expect(again.valueInMemory(for: "hot \(number)") == number) }
        try await again.store.close()
        // It is written once.
        for _ in 0..<3 {
            try await load(cache, "hot", reads: 3)
            rig.clock.advance(by: .seconds(11))
            await store.warmed()
        }
        #expect(cache.statistics.keptForUse == 50)
        try await store.close()
    }

    @Test("Nor is it gone when the cache is closed", arguments: EvictionPolicyKind.allCases)
    func closed(_ policy: EvictionPolicyKind) async throws {
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let options = CacheOptions(memory: .entries(200), policy: policy)
        let cache: Cache<String, Int> = try await store.cache(named: "c", options)
        try await load(cache, "hot", reads: 3)
        try await load(cache, "once", reads: 0)
        try await store.close()
        let again: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        #expect(try again.keysOnDisk() == Set((0..<50).map { "hot \($0)" }))
        try await again.store.close()
    }

    @Test("Tags, deadlines and absences get there with it, and its version is the write's")
    func fields() async throws {
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let cache: Cache<String, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(200)))
        let entry = EntryOptions(expiry: .seconds(60), tags: ["t"])
        let idle = EntryOptions(expiry: Expiry(idle: .seconds(60)))
        for _ in 0..<3 {
            _ = try await cache.value(for: "tagged", loading: { _ in Loaded(1, entry) })
            _ = try await cache.value(for: "idle", loading: { _ in Loaded(2, idle) })
            _ = try await cache.value(for: "none", loading: { _ in Loaded(nil, EntryOptions(expiry: .seconds(60))) })
        }
        let before = try await cache.entry(for: "tagged")?.version
        rig.clock.advance(by: .seconds(50))
        await store.warmed()
        #expect(cache.statistics.keptForUse == 3)
        let version = try #require(try await cache.entry(for: "tagged")?.version)
        #expect(before != nil && before != version)
        #expect(try await cache.set(3, for: "tagged", ifVersion: version, entry) != nil)
        // Its read moved the deadline before the write, and moves it again.
        #expect(cache.valueInMemory(for: "idle") == 2)
        let again: Cache<String, Int> = try await CacheRig(files: rig.files.killProcess(), clock: rig.clock).store()
            .cache(
                named: "c", CacheOptions(memory: .entries(200)))
        rig.clock.advance(by: .seconds(9))
        await #expect(throws: ValueAbsent.self) { try await again.value(for: "none") { _ in 7 } }
        #expect(try await again.value(for: "tagged") == 3)
        #expect(try await again.value(for: "idle") == 2)
        try await again.remove(taggedWith: "t")
        rig.clock.advance(by: .seconds(1))
        #expect(try await again.value(for: "tagged") == nil)
        #expect(try await again.value(for: "none") { _ in 7 } == 7)
        try await again.store.close()
        try await store.close()
    }

    @Test("What the disk cannot take stays in memory, and keeps nothing else from it")
    func uncodable() async throws {
        struct NoBytes: Error {}
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let coding = ValueCoding<Int>(
            encode: { value in
                if value < 0 { throw NoBytes() }
                return value.cacheBytes()
            }, decode: { try Int(cacheBytes: $0) }, cost: { _ in 8 })
        let cache: Cache<String, Int> = try await store.cache(
            named: "c", coding: coding, CacheOptions(memory: .entries(200)), ownsStore: false)
        for number in [-1, 1] {
            for _ in 0..<4 { #expect(try await cache.value(for: "\(number)") { _ in number } == number) }
        }
        for _ in 0..<2 {
            rig.clock.advance(by: .seconds(11))
            await store.warmed()
        }
        #expect(cache.statistics.keptForUse == 1)
        #expect(try cache.keysOnDisk() == ["1"])
        #expect(cache.valueInMemory(for: "-1") == -1)
        #expect(cache.usedLone(of: 0, atMost: 10).isEmpty)
        try await store.close()
    }

    /// It is synced, and these stores have no thread that would do so.
    private func removeOlder(_ prefix: String, _ cache: Cache<String, Int>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await cache.removeAll(withPrefix: prefix, olderThan: 5) }
            group.addTask {
                while !Task.isCancelled { await IOThread.run(name: "test-sync") { try? cache.store.engine?.sync() } }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    enum Meanwhile: CaseIterable, Sendable {
        case nothing, removed, set, tagDropped, prefixRemoved, olderRemoved, evicted, goneAtSource, refreshed
        /// Whether it takes this key's entry cannot be told before another look.
        case othersRemoved
        /// Memory has let go of it. Then it is loaded, and that ends while the write is under way, or after it.
        case loadedAnew, loadedOver

        var left: Int? {
            switch self {
            case .nothing, .evicted, .othersRemoved: 1
            case .set, .loadedAnew, .loadedOver, .refreshed: 2
            case .removed, .tagDropped, .prefixRemoved, .olderRemoved, .goneAtSource: nil
            }
        }
    }

    @Test("Whatever happens to the key while its entry is on its way to the disk stands", arguments: Meanwhile.allCases)
    func meanwhile(_ change: Meanwhile) async throws {
        let hand = HeldThread((isReached: false, isOpen: true))
        let coding = ValueCoding<Int>(
            encode: { value in
                if value == 1 {
                    hand.update { $0.isReached = true }
                    hand.wait { $0.isOpen }
                }
                return value.cacheBytes()
            }, decode: { try Int(cacheBytes: $0) }, cost: { _ in 8 })
        let rig = CacheRig()
        // It soon forgets what it has seen.
        let eviction = S3FIFOEviction(expectedEntries: 256, ghostShare: 0.01)
        let store = try await fullStore(rig, eviction)
        let door = await store.unattended()
        let cache: Cache<String, Int> = try await store.cache(
            named: "c", coding: coding, CacheOptions(memory: .entries(2), policy: .fifo), ownsStore: false)
        func evictAll() async throws { for number in 0..<4 { try await cache.set(0, for: "other \(number)") } }
        func load(_ value: Int, _ source: Door? = nil) async throws -> Int? {
            try await cache.value(
                for: "a",
                loading: { _ in
                    await source?.pass()
                    return Loaded(value, EntryOptions(tags: ["t"]))
                })
        }
        func loadUnseen(_ source: Door? = nil) async throws -> Int? {
            for number in 0..<2000 { _ = try await cache.value(for: "unseen \(number)") { _ in 0 } }
            #expect(try !eviction.wasSeenLately(keyHash: #require(cache.disk).keyHash(Array("a".utf8))))
            return try await load(2, source)
        }
        for _ in 0..<3 { #expect(try await load(1) == 1) }
        hand.update { $0 = (isReached: false, isOpen: false) }
        rig.clock.advance(by: .seconds(11))
        let step = Task { await IOThread.run(name: "test-keep") { cache.keepUsedStep() } }
        await hand.reached { $0.isReached }
        switch change {
        case .nothing: break
        case .removed: try await cache.remove("a")
        case .set: try await cache.set(2, for: "a")
        case .tagDropped: try await cache.remove(taggedWith: "t")
        case .prefixRemoved: try await cache.removeAll(withPrefix: "a")
        case .olderRemoved: try await removeOlder("a", cache)
        case .othersRemoved: try await removeOlder("b", cache)
        case .evicted: try await evictAll()
        case .loadedAnew: #expect(try await loadUnseen() == 2)
        case .loadedOver:
            let source = Door()
            async let found = loadUnseen(source)
            await source.arrived(1)
            hand.update { $0.isOpen = true }
            _ = await step.value
            await source.open()
            #expect(try await found == 2)
        case .goneAtSource: #expect(try await cache.refresh("a", loading: { _ in Loaded(nil) }) == nil)
        case .refreshed: #expect(try await cache.refresh("a", loading: { _ in Loaded(2) }) == 2)
        }
        hand.update { $0.isOpen = true }
        _ = await step.value
        #expect(cache.statistics.keptForUse == (change.left == 1 || change == .loadedOver ? 1 : 0))
        #expect(try await cache.value(for: "a") == change.left)
        try await evictAll()
        #expect(try await cache.value(for: "a") == change.left)
        door.update { $0.isOpen = true }
        try await store.close()
    }

    /// A step that began and ended between a load's look at the disk and the end of the load.
    @Test("A load under way while an older one's result gets to the disk takes its place", arguments: [false, true])
    func overtaken(isGone: Bool) async throws {
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let door = await store.unattended()
        let cache: Cache<String, Int> = try await store.cache(
            named: "c", CacheOptions(memory: .entries(2), policy: .fifo))
        for _ in 0..<3 { #expect(try await cache.value(for: "a") { _ in 1 } == 1) }
        rig.clock.advance(by: .seconds(11))
        // Nobody outdates this one: it began after what memory holds.
        let source = Door()
        let load = Task {
            try await cache.refresh("a") { _ in
                await source.pass()
                return Loaded(isGone ? nil : 2)
            }
        }
        await source.arrived(1)
        await IOThread.run(name: "test-keep") { _ = cache.keepUsedStep() }
        #expect(cache.statistics.keptForUse == 1)
        for number in 0..<4 { try await cache.set(0, for: "other \(number)") }
        await source.open()
        #expect(try await load.value == (isGone ? nil : 2))
        #expect(try await cache.value(for: "a") == (isGone ? nil : 2))
        for number in 0..<4 { try await cache.set(0, for: "other \(number)") }
        #expect(try await cache.value(for: "a") == (isGone ? nil : 2))
        door.update { $0.isOpen = true }
        try await store.close()
    }

    /// Before the disk's answer memory alone held it, and after it the disk did.
    @Test("Who takes a value while it gets to the disk has it", arguments: [false, true])
    func taken(_ leavesMemory: Bool) async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache(.throwing) { $0.blockCacheBytes = 0 }
        let door = await cache.store.unattended()
        // A table that has an entry of before: who asks has to read it.
        try await cache.set("old", for: "a", EntryOptions(expiry: .seconds(1)))
        for number in 0..<8 { try await cache.set("other", for: "other \(number)") }
        try await cache.store.engine?.flush()
        rig.rig.clock.advance(by: .seconds(2))
        let value = "new" + DegradedRig.large
        rig.files.capacity = rig.files.usedBytes
        for _ in 0..<3 { #expect(try await cache.value(for: "a") { _ in value } == value) }
        #expect(cache.statistics.loadsUnstored == 1)
        rig.files.capacity = nil
        rig.rig.clock.advance(by: .seconds(11))
        rig.files.dropCaches()
        let reading = RefreshRig.holdRead(rig.files)
        let taking = Task { try await cache.take("a") }
        await reading.began()
        await IOThread.run(name: "test-keep") { _ = cache.keepUsedStep() }
        #expect(cache.statistics.keptForUse == 1)
        if leavesMemory {
            let hash = cache.memory.hash("a")
            cache.memory.change(hash) { shard, discarded in
                guard let held = shard.peek("a", hash) else { return }
                shard.erase("a", hash, at: held.version, &discarded)
            }
        }
        reading.letGo()
        #expect(try await taking.value == value)
        #expect(try await cache.value(for: "a") == nil)
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }

    @Test("What is pinned gets there with its pin, though the disk had no room for it when it was loaded")
    func pinned() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache(.throwing)
        let value = "pinned" + DegradedRig.large
        rig.files.capacity = rig.files.usedBytes
        for _ in 0..<3 {
            let entry = EntryOptions(isPinned: true)
            #expect(try await cache.value(for: "a", loading: { _ in Loaded(value, entry) }) == value)
        }
        #expect(cache.statistics.loadsUnstored == 1)
        rig.files.capacity = nil
        rig.rig.clock.advance(by: .seconds(11))
        await cache.store.warmed()
        #expect(cache.statistics.keptForUse == 1)
        let stored = try #require(try await cache.disk?.entry(Array("a".utf8)))
        #expect(stored.fields.isPinned)
        try await cache.store.close()
    }

    @Test("The hottest of a shard are found in pieces, and it is searched no more when there are none")
    func search() async throws {
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let door = await store.unattended()
        // One shard of more slots than a piece has.
        let cache: Cache<String, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(1900)))
        for number in 0..<1800 { _ = try await cache.value(for: "\(number)") { _ in number } }
        func hasLone() -> Bool { cache.memory.withShard(at: 0) { $0.hasLone } }
        #expect(cache.usedLone(of: 0, atMost: 10).isEmpty && hasLone())
        for number in 0..<1800 where number % 3 == 0 {
            for _ in 0..<(number % 450 == 0 ? 4 : 1) { #expect(cache.valueInMemory(for: "\(number)") == number) }
        }
        let hottest = cache.usedLone(of: 0, atMost: 4).map(\.key)
        #expect(hottest == ["0", "450", "900", "1350"])
        #expect(Set(cache.usedLone(of: 0, atMost: 10).suffix(4).map(\.key)) == Set(hottest))
        #expect(cache.usedLone(of: 0, atMost: 1000).count == 600)
        #expect(cache.usedLone(of: 0, atMost: 0).isEmpty && hasLone())
        try await cache.removeAll()
        #expect(hasLone())
        #expect(cache.usedLone(of: 0, atMost: 10).isEmpty && !hasLone())
        for _ in 0..<2 { _ = try await cache.value(for: "new") { _ in 1 } }
        #expect(cache.usedLone(of: 0, atMost: 10).map(\.key) == ["new"])
        door.update { $0.isOpen = true }
        try await store.close()
    }

    @Test("To LRU the hottest are those that were used last")
    func lately() async throws {
        let store = try await fullStore(CacheRig())
        let door = await store.unattended()
        let options = CacheOptions(memory: .entries(1900), policy: .lru)
        let cache: Cache<String, Int> = try await store.cache(named: "c", options)
        #expect(cache.memory.shardCount == 1)
        for number in 0..<1800 { for _ in 0..<2 { _ = try await cache.value(for: "\(number)") { _ in number } } }
        let last = ["1700", "3", "900", "0"]
        for key in last { #expect(cache.valueInMemory(for: key) == Int(key)) }
        #expect(cache.usedLone(of: 0, atMost: 4).map(\.key) == last)
        #expect(cache.usedLone(of: 0, atMost: 2000).count == 1800)
        door.update { $0.isOpen = true }
        try await store.close()
    }

    @Test("A close that has no time for all keeps some of each shard")
    func shares() async throws {
        let rig = CacheRig()
        let store = try await fullStore(rig)
        let door = await store.unattended()
        let cache: Cache<String, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(2000)))
        #expect(cache.memory.shardCount == 2)
        for number in 0..<400 { for _ in 0..<2 { _ = try await cache.value(for: "\(number)") { _ in number } } }
        // Each counts as a kilobyte.
        await IOThread.run(name: "test-keep") { cache.keepAllUsed(atMost: 64 << 10) }
        let first = cache.memory.withShard(at: 0) { shard in
            var held: Set<String> = []
            shard.forEach { held.insert($0.key) }
            return held
        }
        let kept = try cache.keysOnDisk()
        #expect(kept.count == 64)
        #expect(kept.intersection(first).count == 32)
        // What the first shard does not need of its half is the other's.
        let left = max(400 - 64, 2 * (first.count - 32))
        await IOThread.run(name: "test-keep") { cache.keepAllUsed(atMost: left << 10) }
        #expect(try cache.keysOnDisk().count == 400)
        door.update { $0.isOpen = true }
        try await store.close()
    }

    @Test("A write that takes more than all shards have left ends it")
    func overshoots() async throws {
        let store = try await fullStore(CacheRig())
        let door = await store.unattended()
        let cache: Cache<Int, [UInt8]> = try await store.cache(named: "c", CacheOptions(memory: .entries(16_000)))
        #expect(cache.memory.shardCount > 4)
        let value = [UInt8](repeating: 7, count: 50_000)
        for number in 0..<100 { for _ in 0..<2 { _ = try await cache.value(for: number) { _ in value } } }
        await IOThread.run(name: "test-keep") { cache.keepAllUsed(atMost: 64 << 10) }
        let kept = cache.statistics.keptForUse
        #expect(kept > 0 && kept < 100, "\(kept)")
        door.update { $0.isOpen = true }
        try await store.close()
    }

    @Test("Writes keep their pace, small entries too, and a round has its rest")
    func pace() {
        let second: Int64 = 1_000_000_000
        var round = KeepRound<String>(interval: 10 * second, opened: 0)
        /// The first time at which something may be written of a shard, and whether writing so much then ends the round.
        func write(_ shard: Int, _ bytes: Int, from time: Int64) -> (at: Int64, ends: Bool) {
            var now = time
            while round.turn(at: now * second) == nil, now < time + 100 { now += 1 }
            guard round.turn(at: now * second) == shard else { return (-1, false) }
            return (now, round.end(shard, bytes: bytes, at: now * second, shards: 2))
        }
        #expect(write(0, 2 << 20, from: 0) == (10, false))
        #expect(write(1, 1 << 20, from: 10) == (12, true))
        #expect(write(0, 0, from: 12) == (20, false))
        #expect(write(1, 0, from: 20) == (20, true))
        // Longer than the interval.
        #expect(write(0, 15 << 20, from: 20) == (30, false))
        #expect(write(1, 15 << 20, from: 30) == (45, true))
        #expect(write(0, 0, from: 45) == (60, false))
    }
}
