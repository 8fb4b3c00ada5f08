import Glibc
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What entries take on disk that `removeAll(olderThan:)` hides is given back, also where they never expire and eviction spares
/// them.
struct HiddenSpaceTests {
    private static let count = 20_000

    private struct Entry {
        var value: [UInt8]
        var version: UInt64?
        var isPinned: Bool
    }

    /// Memory holds next to nothing, so that reads go to the disk.
    private func open(
        _ rig: CacheRig, _ adjust: (inout EngineOptions) -> Void = { _ in }
    ) async throws -> Cache<String, [UInt8]> {
        let store = try await rig.store {
            $0.usesThreads = false
            $0.compaction = .scaled(toMemtable: 256 << 10)
            adjust(&$0)
        }
        return try await store.cache(named: "c", CacheOptions(memory: .entries(50)))
    }

    /// Half of the keys under each of two prefixes; three in four name a source version of 1...100; one in eight is pinned.
    private func fill(_ cache: Cache<String, [UInt8]>, _ random: inout SplitMix) async throws -> [String: Entry] {
        var entries: [String: Entry] = [:]
        for number in 0..<HiddenSpaceTests.count {
            // In an order that has nothing to do with that of the keys.
            let key = "\(number % 2 == 0 ? "a" : "b")/\(number * 7919 % 1_000_003)"
            let value = (0..<(20 + Int(random.next() % 60))).map { _ in random.byte() }
            let version = random.next() % 4 == 0 ? nil : 1 + random.next() % 100
            let entry = Entry(value: value, version: version, isPinned: random.next() % 8 == 0)
            try await cache.set(
                entry.value, for: key, EntryOptions(sourceVersion: entry.version, isPinned: entry.isPinned))
            entries[key] = entry
            if number % 4000 == 3999 { try settle(cache) }
        }
        try settle(cache)
        return entries
    }

    private func compact(_ cache: Cache<String, [UInt8]>) throws { try cache.store.engine?.compact() }

    private func settle(_ cache: Cache<String, [UInt8]>) throws {
        try cache.store.engine?.flush()
        try cache.store.engine?.runBackgroundWork()
    }

    private func check(
        _ cache: Cache<String, [UInt8]>, _ entries: [String: Entry], _ gone: Set<String>, _ message: String
    ) async throws {
        for (key, entry) in entries {
            let found = try await cache.value(for: key)
            if found != (gone.contains(key) ? nil : entry.value) {
                Issue.record("\(message), key \(key): \(entry), found \(found as Any)")
            }
        }
    }

    /// What went with its space is refused as it was before, by the floor. Its source versions are remembered by its place as
    /// well, which is shared with the keys of another cache: that one has no floor, so what it refuses is refused by that.
    private func checkLateWriters(
        _ cache: Cache<String, [UInt8]>, _ entries: [String: Entry], _ gone: Set<String>, _ message: String
    ) async throws {
        let other: Cache<String, [UInt8]> = try await cache.store.cache(named: "other")
        var refused = 0
        for number in 0..<300 {
            let late = await code {
                try await other.set([1], for: "\(message) \(number)", EntryOptions(sourceVersion: 1))
            }
            if late == .conditionFailed { refused += 1 }
        }
        // Of 4096 places some 5900 keys at least, that name a version, leave a quarter as they were.
        #expect(refused > 150, "\(message): \(refused)")
        try await other.close()
        for (key, entry) in entries.filter({ gone.contains($0.key) }).prefix(300) {
            let late = await code {
                try await cache.set([1], for: key, EntryOptions(sourceVersion: entry.version ?? 79))
            }
            #expect(late == .conditionFailed, "\(message), \(key)")
        }
    }

    @Test("The judge says of a key what the registry says that the disk has, and nothing once the cache is gone")
    func judge() throws {
        let judge = CacheJudge()
        let tags = TagRegistry()
        var floors: FloorRegistry? = FloorRegistry()
        judge.add(tags, try #require(floors), of: .default)
        func lsn(_ judge: any InvalidationJudge, _ key: String, _ source: UInt64?, at version: UInt64) -> LSN? {
            let entry = JudgedEntry(namespace: Namespace.default.number, version: LSN(version), sourceVersion: source)
            return key.withKeyBytes { judge.invalidation(of: entry, under: $0) }
        }
        tags.note(7, at: 5)
        #expect(judge.lastInvalidations.isEmpty && judge.generation > 0)
        let first = try PrefixFloors().raised(Array("a".utf8), to: 10, since: 20)
        let both = try first.raised([], to: 5, since: 30)
        floors?.note(first, isStored: true)
        floors?.note(both, isStored: false)
        let before = judge.generation
        let number = Namespace.default.number
        let pass = judge.makePass()
        for asked: any InvalidationJudge in [judge, pass] {
            #expect(asked.lastInvalidations == [number: LSN(20)] && asked.generation == before)
            #expect(lsn(asked, "a1", 9, at: 50) == LSN(20) && lsn(asked, "a1", 10, at: 1) == nil)
            #expect(lsn(asked, "a1", nil, at: 20) == LSN(20) && lsn(asked, "a1", nil, at: 21) == nil)
            #expect(lsn(asked, "b1", 1, at: 1) == nil, "the disk may not have it")
        }
        floors?.noteStored()
        #expect(judge.generation > before)
        #expect(lsn(judge, "b1", 4, at: 1) == LSN(30) && lsn(pass, "b1", 4, at: 1) == nil)
        #expect(lsn(judge, "a1", 4, at: 1) == LSN(20), "the first of both")
        #expect(judge.lastInvalidations == [number: LSN(30)])
        // Another drop is nothing new to keys.
        tags.note(8, at: 40)
        let last = judge.generation
        #expect(judge.lastInvalidations == [number: LSN(30)])
        floors = nil
        #expect(judge.generation == 0 && judge.lastInvalidations.isEmpty && lsn(judge, "a1", 1, at: 1) == nil)
        let again = FloorRegistry()
        judge.add(tags, again, of: .default)
        #expect(judge.generation > last, "what was asked before the cache was closed is asked anew")
        withExtendedLifetime((tags, again)) {}
    }

    /// By prefix, or the whole cache; in levels, or runs.
    @Test(
        "Hidden entries leave the disk, pinned ones too, and no others; none comes back after a kill",
        arguments: ["a/", ""], [0, 16])
    func hidden(prefix: String, runs: Int) async throws {
        var random = SplitMix(UInt64(prefix.count + runs))
        var rig = CacheRig()
        var cache = try await open(rig) { $0.compaction.runs = runs }
        let entries = try await fill(cache, &random)
        let gone = Set(entries.filter { $0.key.hasPrefix(prefix) && $0.value.version ?? 0 < 80 }.keys)
        let engine = try #require(cache.store.engine)
        let before = engine.statistics
        #expect(before.entriesInvalidated == 0)
        let other: Cache<String, [UInt8]> = try await cache.store.cache(named: "other")
        for number in 0..<300 { try await other.set([1], for: "before \(number)", EntryOptions(sourceVersion: 1)) }
        try await other.close()
        try await cache.removeOlder(withPrefix: prefix, than: 80)
        try settle(cache)
        let after = engine.statistics
        #expect(Double(after.tableBytes) < Double(before.tableBytes) * (prefix.isEmpty ? 0.45 : 0.8))
        let left = try cache.keysOnDisk()
        #expect(left.isSuperset(of: Set(entries.keys).subtracting(gone)))
        #expect(left.intersection(gone).count * 4 < left.count, "at most a fifth or so is left")
        try await check(cache, entries, gone, "settled")
        // Nothing is left to do.
        try settle(cache)
        #expect(engine.statistics.compactedBytesWritten == after.compactedBytesWritten)

        try compact(cache)
        #expect(try cache.keysOnDisk() == Set(entries.keys).subtracting(gone))
        #expect(engine.statistics.entriesInvalidated == UInt64(gone.count))
        try await checkLateWriters(cache, entries, gone, "compacted")
        rig.files = rig.files.killProcess()
        cache = try await open(rig) { $0.compaction.runs = runs }
        try await check(cache, entries, gone, "opened again")
        try await checkLateWriters(cache, entries, gone, "opened again")
        #expect(try cache.keysOnDisk() == Set(entries.keys).subtracting(gone))
        try await cache.store.close()
    }

    @Test("A snapshot from before sees them, and nothing is rewritten in vain for its sake")
    func snapshot() async throws {
        var random = SplitMix(3)
        let cache = try await open(CacheRig())
        let entries = try await fill(cache, &random)
        let gone = Set(entries.filter { $0.value.version ?? 0 < 80 }.keys)
        let engine = try #require(cache.store.engine)
        var snapshot: Snapshot? = engine.makeSnapshot()
        try await cache.removeOlder(than: 80)
        let written = engine.statistics.compactedBytesWritten
        try settle(cache)
        #expect(engine.statistics.compactedBytesWritten == written)
        try compact(cache)
        #expect(try cache.keysOnDisk(at: snapshot) == Set(entries.keys))
        #expect(engine.statistics.entriesInvalidated == 0)
        snapshot = nil
        try settle(cache)
        #expect(engine.statistics.entriesInvalidated > 0)
        try await check(cache, entries, gone, "released")
        try await cache.store.close()
    }

    @Test("A floor that moves along lets go what it hid before a snapshot was taken")
    func raisedAnew() async throws {
        let cache = try await open(CacheRig())
        for number in 1...200 {
            let version = number % 4 == 0 ? nil : UInt64(number % 20)
            try await cache.set([1], for: "\(number)", EntryOptions(sourceVersion: version, isPinned: true))
        }
        try settle(cache)
        try await cache.removeOlder(than: 10)
        let snapshot = try #require(cache.store.engine).makeSnapshot()
        let seen = try cache.keysOnDisk(at: snapshot)
        try await cache.removeOlder(than: 11)
        try compact(cache)
        let left = try cache.keysOnDisk()
        #expect(left == Set((1...200).filter { $0 % 4 != 0 && $0 % 20 >= 10 }.map { "\($0)" }))
        #expect(try #require(cache.store.engine).statistics.entriesInvalidated == UInt64(200 - left.count))
        #expect(seen.count == 200)
        withExtendedLifetime(snapshot) {}
        try await cache.store.close()
    }

    @Test("Few of many floors are remembered, and whoever reads as of a while ago finds one that is not much older")
    func storedFloors() throws {
        var stored = StoredFloors()
        func since(_ source: UInt64) -> UInt64? {
            "a".withKeyBytes { stored.earliest(hiding: $0, sourceVersion: source, version: 1) }
        }
        #expect(since(1) == nil)
        for now in 1...2000 as ClosedRange<UInt64> {
            stored.note(try PrefixFloors().raised([], to: now, since: now))
            stored.note(stored.floors)
            #expect(stored.former.count <= StoredFloors.mostFormer)
            // What has a source version is hidden since the floor above it was raised.
            for source in [now - 1, now - min(now, 10), now - min(now, 300)] where source > 0 {
                let found = try #require(since(source))
                #expect(found > source && (now - found) * 8 + 8 >= now - source - 1, "\(source) at \(now): \(found)")
            }
        }
        #expect(since(2000) == nil)
    }

    @Test("What was set anew stays, what another cache has stays; what names no version goes by its age")
    func setAnew() async throws {
        let cache = try await open(CacheRig())
        let other: Cache<String, [UInt8]> = try await cache.store.cache(named: "other")
        for number in 0..<300 {
            let options = EntryOptions(sourceVersion: number % 2 == 0 ? 5 : nil, isPinned: true)
            try await cache.set([1], for: "\(number)", options)
            try await other.set([1], for: "\(number)", options)
        }
        try await cache.removeOlder(than: 6)
        for number in 0..<100 {
            try await cache.set([2], for: "\(number)", EntryOptions(sourceVersion: number % 4 == 0 ? 6 : nil))
        }
        try settle(cache)
        try compact(cache)
        #expect(try cache.keysOnDisk() == Set((0..<100).map { "\($0)" }))
        #expect(try other.keysOnDisk() == Set((0..<300).map { "\($0)" }))
        #expect(try #require(cache.store.engine).statistics.entriesInvalidated == 200)
        try await cache.store.close()
    }

    @Test(
        "Of a cache that is closed nothing goes; once it is open again what it had hidden does",
        arguments: [true, false])
    func openedAgain(isKilled: Bool) async throws {
        var rig = CacheRig()
        var store = try await rig.store { $0.usesThreads = false }
        var cache: Cache<Int, String>? = try await store.cache(named: "c")
        for number in 0..<90 {
            let version = number % 3 == 0 ? nil : UInt64(number)
            try await cache?.set("1", for: number, EntryOptions(sourceVersion: version, isPinned: number % 2 == 0))
        }
        try await store.engine?.flush()
        try await cache?.removeOlder(than: 50)
        if isKilled {
            rig.files = rig.files.killProcess()
            store = try await rig.store { $0.usesThreads = false }
        } else {
            try await cache?.close()
        }
        cache = nil
        let engine = try #require(store.engine)
        try await engine.compact()
        #expect(engine.statistics.entriesInvalidated == 0, "nobody knows of floors who has not opened the cache")
        let again: Cache<Int, String> = try await store.cache(named: "c")
        #expect(try again.keysOnDisk() == Set(0..<90))
        try await engine.compact()
        let left = Set((50..<90).filter { $0 % 3 != 0 })
        #expect(try again.keysOnDisk() == left)
        for number in 0..<90 { #expect(try await again.value(for: number) == (left.contains(number) ? "1" : nil)) }
        try await store.close()
    }

    @Test("A record that only moves a deadline goes by the version that it carries")
    func carriedVersion() async throws {
        let rig = CacheRig()
        let options = CacheOptions(memory: .entries(1000), expiry: Expiry(idle: .seconds(10)))
        let store = try await rig.store { $0.usesThreads = false }
        let cache: Cache<String, String> = try await store.cache(named: "c", options)
        let disk = try #require(cache.disk)
        try await cache.set("old", for: "late")
        let stored = try #require(try await disk.entry(Array("late".utf8)))
        try await cache.removeOlder(than: 0)
        // Written after the floor was raised, for a read before it.
        var fields = stored.fields
        IdleRecord.carry(DiskTier.version(of: stored), in: &fields)
        try await disk.engine.put(Array("late".utf8), stored.bytes, fields, in: disk.namespace)
        try await cache.set("new", for: "anew")
        rig.clock.advance(by: .seconds(6))
        #expect(try await cache.value(for: "anew") == "new")
        #expect(try await cache.value(for: "late") == nil)
        cache.touchAll()
        try await disk.engine.compact()
        #expect(try cache.keysOnDisk() == ["anew"])
        #expect(disk.engine.statistics.entriesInvalidated == 1)
        #expect(try await cache.value(for: "anew") == "new")
        try await cache.store.close()
    }

    @Test("Wherever the power goes from the removal to the rewrite: what it hid stays hidden, and the rest is there")
    func powerCuts() async throws {
        var (change, isDone, refusals) = (0, false, 0)
        while !isDone {
            change += 1
            let rig = DegradedRig()
            let cache = try await rig.cache(.throwing)
            for number in 1...6 {
                let options = EntryOptions(sourceVersion: UInt64(number), isPinned: number % 2 == 0)
                try await cache.set("\(number)", for: "p/\(number)", options)
            }
            try await cache.set("0", for: "p/0")
            try await cache.set("1", for: "q/1", EntryOptions(sourceVersion: 1))
            try await cache.store.engine?.flush()
            rig.files.cutPower(atChange: rig.files.changeCount + change)
            let refusal = await code { try await cache.removeAll(withPrefix: "p/", olderThan: 4) }
            if refusal != nil { refusals += 1 }
            try? await cache.store.engine?.compact()
            // Not later, while the store's own threads go on.
            rig.files.cutPower(atChange: .max)
            isDone = !rig.files.isPowerCut
            if isDone { #expect(try cache.keysOnDisk() == ["p/4", "p/5", "p/6", "q/1"]) }
            for seed in 1...3 as ClosedRange<UInt64> {
                let message: Comment = "change \(change), seed \(seed)"
                let again = try await rig.crashed(seed).cache(.throwing)
                for _ in 0..<2 {
                    let record = try await again.disk?.engine.get(again.disk?.floorsKey ?? [], in: .sourceFloors)
                    #expect(refusal != nil || record != nil, message)
                    for number in 0...6 {
                        let isHidden = record != nil && number < 4
                        #expect(try await again.value(for: "p/\(number)") == (isHidden ? nil : "\(number)"), message)
                    }
                    #expect(try await again.value(for: "q/1") == "1", message)
                    try await again.store.engine?.compact()
                }
                let late = await code {
                    try await again.set("late", for: "p/3", EntryOptions(sourceVersion: 2))
                }
                #expect(late == .conditionFailed, message)
                try await again.store.close()
            }
        }
        #expect(refusals > 0 && change > refusals + 2)
    }

    @Test("The return writes every floor that the disk may lack, also one that was found nowhere in what it lost")
    func writesAll() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let disk = try #require(cache.disk)
        try await cache.set("1", for: "1")
        try await rig.fillDisk(cache)
        #expect(cache.isDegraded)
        disk.floors.note(try PrefixFloors().raised([], to: 5, since: disk.engine.appended.rawValue), isStored: false)
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        #expect(disk.floors.stored.floors == disk.floors.present && !disk.floors.isInDoubt)
        try await cache.store.close()
        let again = try await rig.cache()
        let floors = try #require(again.disk).floors
        #expect("1".withKeyBytes { floors.floor(over: $0) } == 5)
        try await again.store.close()
    }

    @Test("A floor of which it is in doubt whether the disk has it lets nothing go before the return has written it")
    func doubtful() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        for number in 1...9 {
            let options = EntryOptions(sourceVersion: UInt64(number), isPinned: true)
            try await cache.set("\(number)", for: "\(number)", options)
        }
        let disk = try #require(cache.disk)
        try await disk.engine.flush()
        rig.failLog()
        #expect(await code { try await cache.removeAll(olderThan: 5) } != nil)
        #expect(cache.isDegraded)
        let all = Set((1...9).map { "\($0)" })
        let failed = disk.engine
        rig.files.clearFaults()
        // Another engine has taken its place, whose log is sound; but the mark cannot be taken away.
        rig.files.fail(EIO, sticky: true) { $0.operation.isChange && $0.path.hasSuffix("DEGRADED") }
        #expect(await !cache.tryReturn())
        rig.files.clearFaults()
        #expect(disk.engine !== failed && disk.engine.troubles.failure == nil)
        try await disk.engine.compact()
        #expect(try cache.keysOnDisk() == all && disk.floors.stored.floors.isEmpty)
        #expect(disk.engine.statistics.entriesInvalidated == 0)
        #expect(await cache.tryReturn())
        #expect(disk.floors.stored.floors == disk.floors.present && !disk.floors.present.isEmpty)
        try await disk.engine.compact()
        #expect(try cache.keysOnDisk() == Set((5...9).map { "\($0)" }))
        for seed in 1...4 as ClosedRange<UInt64> {
            let again = try await rig.crashed(seed).cache(.throwing)
            for number in 1...9 { #expect(try await again.value(for: "\(number)") == (number < 5 ? nil : "\(number)")) }
            let late = await code { try await again.set("late", for: "late", EntryOptions(sourceVersion: 4)) }
            #expect(late == .conditionFailed, "seed \(seed)")
            try await again.store.close()
        }
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }
}

extension Cache {
    /// `removeAll(withKeyPrefix:olderThan:)` in a store without threads, where nobody syncs for a task that waits.
    func removeOlder(withPrefix prefix: String = "", than version: UInt64) async throws {
        let engine = try #require(disk).engine
        @Sendable func sync() throws { try engine.sync() }
        let isDone = Watched(false)
        let syncs = Task {
            while !isDone.current {
                try sync()
                await Task.yield()
            }
        }
        let removal = Task { try await self.removeAll(withKeyPrefix: Array(prefix.utf8), olderThan: version) }
        let outcome = await removal.result
        isDone.update { $0 = true }
        try await syncs.value
        try outcome.get()
    }
}
