import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

struct WarmRestartTests {
    /// A rig on what a killed process left behind.
    private func afterKill(_ rig: CacheRig) -> CacheRig { CacheRig(files: rig.files.killProcess(), clock: rig.clock) }

    /// A cache of a hundred entries in memory over a thousand on disk, in which the first fifty were read most.
    private func loaded(
        _ rig: CacheRig, _ options: CacheOptions = CacheOptions(memory: .entries(100))
    ) async throws -> Cache<String, Int> {
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        for number in 0..<1000 { try await cache.set(number, for: "\(number)") }
        for _ in 0..<5 {
            for number in 0..<50 { _ = try await cache.value(for: "\(number)") }
        }
        return cache
    }

    private func reopened(
        _ rig: CacheRig, _ options: CacheOptions = CacheOptions(memory: .entries(100)), ends: WarmUpOutcome = .done
    ) async throws -> Cache<String, Int> {
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        #expect(await cache.ready(share: 2, atMost: .seconds(60)) == ends)
        return cache
    }

    /// The hash's seed is the store's own, so which shard and which neighbours an entry has differs from run to run: a few
    /// of the fifty may have found no place.
    private func expectHottest(_ cache: Cache<String, Int>) {
        let found = (0..<50).filter { (number: Int) in cache.valueInMemory(for: "\(number)") == number }
        #expect(found.count >= 45)
    }

    @Test("After a kill the entries that were hottest are in memory again", arguments: EvictionPolicyKind.allCases)
    func killed(_ policy: EvictionPolicyKind) async throws {
        let rig = CacheRig()
        let options = CacheOptions(memory: .entries(100), policy: policy)
        let cache = try await loaded(rig, options)
        let held = (0..<1000).filter { number in
            let key = "\(number)"
            return cache.memory.withShard(cache.memory.hash(key)) { $0.peek(key, cache.memory.hash(key)) != nil }
        }
        cache.noteAll()
        let again = try await reopened(afterKill(rig), options)
        let statistics = try #require(again.statistics.warmUp)
        #expect(statistics.entriesWarmed == held.count)
        #expect(statistics.policiesRestored == 1)
        for number in held { #expect(again.valueInMemory(for: "\(number)") == number) }
        #expect(again.statistics.evictions == 0)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("A warm-up ends when its time is over, whatever is left", arguments: [4, 5])
    func time(seconds: Int64) async throws {
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(100))
        options.warmRestart = WarmRestart(time: .seconds(5))
        let cache = try await loaded(rig, options)
        cache.noteAll()
        let later = afterKill(rig)
        let store = try await later.store()
        let door = await store.unattended()
        let again: Cache<String, Int> = try await store.cache(named: "c", options)
        later.clock.advance(by: .seconds(seconds))
        door.update { $0.isOpen = true }
        #expect(await again.ready(share: 2, atMost: .seconds(60)) == (seconds < 5 ? .done : .budgetUsedUp))
        let statistics = try #require(again.statistics.warmUp)
        #expect(statistics.keysNoted > 50 && statistics.duration == .seconds(seconds))
        #expect(statistics.keysLeft == (seconds < 5 ? 0 : statistics.keysNoted))
        #expect(statistics.entriesWarmed == (seconds < 5 ? statistics.keysNoted : 0))
        try await store.close()
        try await cache.store.close()
    }

    @Test("Notes are taken every so often, and only where something changed")
    func notes() async throws {
        let rig = CacheRig()
        let cache = try await loaded(rig)
        #expect(cache.statistics.warmUp?.notesWritten == 0)
        func written() -> UInt64 { cache.statistics.warmUp?.notesWritten ?? 0 }
        while cache.statistics.warmUp?.isDone != true { await Task.yield() }
        _ = cache.warmStep()
        #expect(written() == 0)
        rig.clock.advance(by: .seconds(11))
        while written() < 2 { try await Task.sleep(for: .milliseconds(5)) }
        // Keys, policy, and the ratio.
        let first = written()
        #expect(first <= 3)
        rig.clock.advance(by: .seconds(11))
        for _ in 0..<3 { _ = cache.warmStep() }
        #expect(written() <= first + 1)
        let again = try await reopened(afterKill(rig))
        expectHottest(again)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("A closed cache comes back warm, hottest first, as far as the budget goes")
    func budget() async throws {
        let rig = CacheRig()
        let cache = try await loaded(rig)
        let entry = cache.statistics.memoryEntries
        try await cache.store.close()
        var options = CacheOptions(memory: .entries(100))
        // A key of one or two bytes and a value of eight.
        options.warmRestart?.bytes = 300
        let again = try await reopened(rig, options, ends: .budgetUsedUp)
        let statistics = try #require(again.statistics.warmUp)
        // One entry is beyond it.
        #expect(statistics.bytesRead >= 300 && statistics.bytesRead < 300 + 11)
        #expect(statistics.entriesWarmed >= 300 / 11 && statistics.entriesWarmed <= 300 / 9 + 1)
        #expect(statistics.keysLeft + statistics.entriesWarmed == entry)
        // Hottest first: of what came back, nearly all is of the fifty that were read most.
        let found = (0..<50).filter { (number: Int) in again.valueInMemory(for: "\(number)") == number }
        #expect(found.count >= min(45, statistics.entriesWarmed - 5))
        try await again.store.close()
        options.warmRestart = nil
        let cold: Cache<String, Int> = try await rig.store().cache(named: "c", options)
        #expect(await cold.ready() == .done)
        #expect(cold.statistics.memoryEntries == 0)
        try await cold.store.close()
    }

    @Test("What was removed, overwritten, expired or dropped by tag after the note does not return by it")
    func gone() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", CacheOptions(memory: .entries(100)))
        for number in 0..<10 { try await cache.set(number, for: "removed \(number)") }
        for number in 0..<10 { try await cache.set(number, for: "overwritten \(number)") }
        for number in 0..<10 {
            try await cache.set(number, for: "expired \(number)", EntryOptions(expiry: .seconds(30)))
        }
        for number in 0..<10 { try await cache.set(number, for: "tagged \(number)", EntryOptions(tags: ["t"])) }
        for number in 0..<10 { try await cache.set(number, for: "kept \(number)") }
        cache.noteAll()
        try await cache.removeAll(withPrefix: "removed")
        for number in 0..<10 { try await cache.set(-number, for: "overwritten \(number)") }
        try await cache.remove(taggedWith: "t")
        rig.clock.advance(by: .seconds(31))
        let again = try await reopened(afterKill(rig))
        for number in 0..<10 {
            #expect(again.valueInMemory(for: "removed \(number)") == nil)
            #expect(again.valueInMemory(for: "overwritten \(number)") == -number)
            #expect(again.valueInMemory(for: "expired \(number)") == nil)
            #expect(again.valueInMemory(for: "tagged \(number)") == nil)
            #expect(again.valueInMemory(for: "kept \(number)") == number)
        }
        #expect(again.statistics.warmUp?.keysGone == 30)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("What was read for nothing counts towards the budget", arguments: 1...6 as ClosedRange<UInt64>)
    func refusedBytes(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", CacheOptions(memory: .entries(100)))
        for number in 0..<20 { try await cache.set(number, for: "t\(number + 10)", EntryOptions(tags: ["t"])) }
        for number in 0..<20 { try await cache.set(number, for: "k\(number + 10)") }
        for number in 0..<20 { for _ in 0..<3 { _ = try await cache.value(for: "t\(number + 10)") } }
        cache.noteAll()
        try await cache.remove(taggedWith: "t")
        var options = CacheOptions(memory: .entries(100))
        // An entry is a key of three bytes and a value of eight.
        let budget = Int.random(in: 1...220, using: &random)
        options.warmRestart?.bytes = budget
        let again = try await reopened(afterKill(rig), options, ends: .budgetUsedUp)
        let statistics = try #require(again.statistics.warmUp)
        let read = (budget + 10) / 11
        #expect(statistics.bytesRead == read * 11, "seed \(seed): \(budget)")
        #expect(statistics.keysGone == read && statistics.entriesWarmed == 0, "seed \(seed): \(budget)")
        #expect(statistics.keysLeft == 40 - read, "seed \(seed): \(budget)")
        try await again.store.close()
        try await cache.store.close()
    }

    @Test(
        "Of fewer than a hundred reads no hit ratio is noted, and the one before stands",
        arguments: 0..<6 as Range<UInt64>)
    func fewReads(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        // The border itself first.
        let count = seed < 2 ? 99 + Int(seed) : Int.random(in: 0..<200, using: &random)
        let rig = CacheRig()
        let cache = try await loaded(rig)
        try await cache.store.close()
        let second = try await reopened(rig)
        let before = try #require(second.statistics.warmUp?.hitRatioBefore)
        #expect(before > 0.7)
        // Every one a miss.
        for number in 0..<count { _ = try await second.value(for: "none \(number)") }
        try await second.store.close()
        let third = try await reopened(rig)
        #expect(third.statistics.warmUp?.hitRatioBefore == (count < 100 ? before : 0), "seed \(seed): \(count)")
        try await third.store.close()
    }

    @Test(
        "The keys are noted while background work delays writes; the frequencies wait. Statistics say how old each are")
    func delayed() async throws {
        let rig = CacheRig()
        // Tables pile up in the first level.
        let store = try await rig.store { ($0.compaction.levelZeroTrigger, $0.compaction.levelZeroLimit) = (64, 64) }
        let cache: Cache<String, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(100)))
        let engine = try #require(store.engine)
        for number in 0..<14 {
            try await cache.set(number, for: "\(number)")
            try await engine.flush()
        }
        #expect(!engine.takesWritesAtOnce && engine.hasRoomForWrites)
        var statistics: WarmUpStatistics? { cache.statistics.warmUp }
        #expect(statistics?.keysAge == nil)
        rig.clock.advance(by: .seconds(10))
        await store.warmed()
        #expect(statistics?.keysAge == .zero && statistics?.frequenciesAge == nil)
        rig.clock.advance(by: .seconds(3))
        await store.warmed()
        #expect(statistics?.keysAge == .seconds(3) && statistics?.frequenciesAge == nil)
        try await engine.compact()
        #expect(engine.takesWritesAtOnce)
        await store.warmed()
        #expect(statistics?.keysAge == .seconds(3) && statistics?.frequenciesAge == .zero)
        // Nothing has happened: what was noted is as good as new.
        rig.clock.advance(by: .seconds(8))
        await store.warmed()
        #expect(statistics?.keysAge == .zero && statistics?.frequenciesAge == .seconds(8))
        try await store.close()
    }

    @Test("A store is ready when its caches are, and says what was worst of them")
    func storeReady() async throws {
        let rig = CacheRig()
        var options = CacheOptions(memory: .entries(100))
        func open(_ store: CacheStore, _ bytes: [Int]) async throws -> [Cache<String, Int>] {
            var caches: [Cache<String, Int>] = []
            for (number, bytes) in bytes.enumerated() {
                options.warmRestart?.bytes = bytes
                caches.append(try await store.cache(named: "\(number)", options))
            }
            return caches
        }
        let store = try await rig.store()
        let first = try await open(store, [.max, .max])
        for cache in first { for number in 0..<50 { try await cache.set(number, for: "\(number)") } }
        #expect(await store.ready(share: 2) == .done)
        try await store.close()
        let second = try await rig.store()
        let caches = try await open(second, [.max, .max])
        #expect(await second.ready(share: 2, atMost: .seconds(60)) == .done)
        for cache in caches { #expect(cache.statistics.memoryEntries == 50) }
        try await second.close()
        #expect(await second.ready(share: 2) == .done, "there is none to wait for")
        let third = try await rig.store()
        let door = await third.unattended()
        let briefer = try await open(third, [.max, 100])
        #expect(await third.ready(share: 2, atMost: .milliseconds(1)) == .timedOut)
        door.update { $0.isOpen = true }
        #expect(await third.ready(share: 2, atMost: .seconds(60)) == .budgetUsedUp)
        #expect(briefer.map(\.statistics.memoryEntries).first == 50)
        try await third.close()
    }

    enum Removal: CaseIterable {
        case remove, overwrite, tag, all, prefix
    }

    @Test("What goes while the warm-up has it in hand does not return", arguments: Removal.allCases)
    func goesMeanwhile(_ removal: Removal) async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c")
        try await cache.set(1, for: "a", EntryOptions(tags: ["t"]))
        cache.noteAll()
        // The warm-up has read the entry and stops before it goes to memory.
        let gate = Monitor((isReached: false, isOpen: false))
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                if IOThread.isOnOne {
                    gate.withLock { $0.isReached = true }
                    gate.wait { $0.isOpen ? () : nil }
                }
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        let again: Cache<String, Int> = try await afterKill(rig).store().cache(
            named: "c", coding: coding, CacheOptions(), ownsStore: true)
        while !gate.withLock({ $0.isReached }) { await Task.yield() }
        switch removal {
        case .remove: try await again.remove("a")
        case .overwrite: try await again.set(2, for: "a")
        case .tag: try await again.remove(taggedWith: "t")
        case .all: try await again.removeAll()
        case .prefix: try await again.removeAll(withPrefix: "a")
        }
        gate.withLock { $0.isOpen = true }
        gate.notifyAll()
        #expect(await again.ready(share: 2) == .done)
        #expect(again.valueInMemory(for: "a") == (removal == .overwrite ? 2 : nil))
        #expect(try await again.value(for: "a") == (removal == .overwrite ? 2 : nil))
        try await again.close()
        try await cache.store.close()
    }

    @Test(
        "Notes that are damaged, or of another time, are ignored and counted", .serialized,
        arguments: 0..<200 as Range<UInt64>)
    func damaged(_ seed: UInt64) async throws {
        var random = SplitMix(seed)
        let state = WarmState(
            kind: .keys, shard: 3, of: 8,
            body: WarmState.list(
                (0..<20).map { _ in (0..<Int.random(in: 0..<300, using: &random)).map { UInt8($0 & 255) } },
                atMost: 1 << 20
            ).body)
        let note = try #require(state.notes(number: seed, atMost: 1 << 20).first)
        var bytes = note.encoded()
        #expect(WarmNote(bytes) == note)
        #expect(state.keys?.count == 20)
        let index = Int.random(in: 0..<bytes.count, using: &random)
        bytes[index] ^= UInt8.random(in: 1...255, using: &random)
        #expect(WarmNote(bytes) == nil, "seed \(seed)")
        #expect(WarmNote(Array(bytes.prefix(index))) == nil, "seed \(seed)")
        // A body that no checksum protects.
        var wild = state
        wild.body = (0..<100).map { _ in UInt8.random(in: 0...255, using: &random) }
        _ = wild.keys
        _ = wild.ratio
    }

    @Test("A store with a damaged note opens, and says so")
    func damagedStore() async throws {
        let rig = CacheRig()
        let cache = try await loaded(rig)
        let notes = try #require(cache.warm?.notes)
        let engine = notes.engine
        cache.noteAll()
        let name = notes.name(WarmState.Subject(kind: .keys, shard: 0), 1, 0)
        try await engine.put(name, Array("no note".utf8), in: .marks)
        let again = try await reopened(afterKill(rig))
        #expect(again.statistics.warmUp?.notesDamaged == 1)
        #expect(again.statistics.memoryEntries == 0)
        #expect(try await again.value(for: "7") == 7)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("With another number of shards the keys help all the same")
    func otherShards() async throws {
        let rig = CacheRig()
        let cache = try await loaded(rig, CacheOptions(memory: .entries(8000)))
        #expect(cache.memory.shardCount > 1)
        try await cache.store.close()
        let again = try await reopened(rig, CacheOptions(memory: .entries(100)))
        #expect(again.statistics.warmUp?.policiesRestored == 0)
        #expect(again.statistics.memoryEntries == 100)
        expectHottest(again)
        try await again.store.close()
        // Notes of the shards that are no more are gone, and so are those keys that found no room.
        let third = try await reopened(rig, CacheOptions(memory: .entries(8000)))
        #expect(third.statistics.warmUp?.keysNoted == 100)
        try await third.store.close()
    }

    @Test("A process that ends while it warms up leaves the notes of the one before")
    func endsEarly() async throws {
        let rig = CacheRig()
        let cache = try await loaded(rig)
        try await cache.store.close()
        var options = CacheOptions(memory: .entries(100))
        let gate = Monitor(false)
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                if IOThread.isOnOne { gate.wait { $0 ? () : nil } }
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        options.warmRestart?.time = .seconds(3600)
        let brief: Cache<String, Int> = try await rig.store().cache(
            named: "c", coding: coding, options, ownsStore: true)
        brief.noteAll()
        #expect(brief.statistics.warmUp?.notesWritten == 0)
        #expect(await brief.ready(share: 2, atMost: .milliseconds(1)) == .timedOut)
        gate.withLock { $0 = true }
        gate.notifyAll()
        try await brief.close()
        let again = try await reopened(rig)
        expectHottest(again)
        try await again.store.close()
    }

    @Test("Ready as soon as memory answers its share of what it answered before")
    func ready() async throws {
        let rig = CacheRig()
        let cache = try await loaded(rig)
        try await cache.store.close()
        let gate = Monitor(false)
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                if IOThread.isOnOne { gate.wait { $0 ? () : nil } }
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        let again: Cache<String, Int> = try await rig.store().cache(
            named: "c", coding: coding, CacheOptions(memory: .entries(100)), ownsStore: true)
        #expect(try #require(again.statistics.warmUp?.hitRatioBefore) > 0.7)
        for _ in 0..<300 { _ = try await again.value(for: "999") }
        #expect(await again.ready(share: 0.5) == .hitRatioReached)
        gate.withLock { $0 = true }
        gate.notifyAll()
        try await again.close()
    }
}
