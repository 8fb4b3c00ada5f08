import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// "Nothing older than" for a prefix and for a whole cache.
struct PrefixFloorTests {
    @Test(
        "What is older goes, with what names no version; the rest stays, and late writers are refused",
        arguments: CacheRig.Home.allCases)
    func prefix(_ home: CacheRig.Home) async throws {
        // On disk memory has no room for most of them.
        let options = CacheOptions(memory: .entries(home == .disk ? 8 : 1000), policy: .lru)
        let cache = try await CacheRig().cache(home, Int.self, options)
        for number in 1...40 {
            let version = EntryOptions(sourceVersion: UInt64(number))
            try await cache.set(number, for: "user/\(number)", version)
            try await cache.set(number, for: "post/\(number)", version)
        }
        try await cache.set(0, for: "user/none")
        try await cache.removeAll(withPrefix: "user/", olderThan: 20)
        for number in 1...40 {
            #expect(try await cache.value(for: "user/\(number)") == (number < 20 ? nil : number))
            #expect(try await cache.entry(for: "user/\(number)")?.value == (number < 20 ? nil : number))
            #expect(try await cache.value(for: "post/\(number)") == number)
        }
        #expect(try await cache.values(for: ["user/19", "user/20", "post/19"]) == ["user/20": 20, "post/19": 19])
        #expect(try await cache.value(for: "user/none") == nil)
        // Also of keys that were never there.
        for key in ["user/1", "user/never"] {
            #expect(
                await code { try await cache.set(1, for: key, EntryOptions(sourceVersion: 19)) } == .conditionFailed)
            #expect(try await cache.value(for: key) == nil)
            try await cache.set(2, for: key, EntryOptions(sourceVersion: 20))
            #expect(try await cache.value(for: key) == 2)
        }
        try await cache.set(3, for: "user/none")
        #expect(try await cache.value(for: "user/none") == 3)
        #expect(
            await code { try await cache.set(1, for: "user/none", EntryOptions(sourceVersion: 5)) } == .conditionFailed)
        #expect(try await cache.value(for: "user/none") == 3)
        // A lower floor lowers none, and takes what names no version.
        try await cache.removeAll(withPrefix: "user/", olderThan: 10)
        #expect(try await cache.value(for: "user/none") == nil)
        #expect(
            await code { try await cache.set(1, for: "user/x", EntryOptions(sourceVersion: 19)) } == .conditionFailed)
        try await cache.removeAll(olderThan: 30)
        for number in 20...40 {
            #expect(try await cache.value(for: "user/\(number)") == (number < 30 ? nil : number))
            #expect(try await cache.value(for: "post/\(number)") == (number < 30 ? nil : number))
        }
        try await cache.close()
    }

    @Test("It holds after a kill, and after the store was flushed and compacted", arguments: [true, false])
    func outlives(isCompacted: Bool) async throws {
        var rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c")
        for number in 1...20 {
            try await cache.set(number, for: "\(number)", EntryOptions(sourceVersion: UInt64(number)))
        }
        try await cache.set(0, for: "none")
        try await cache.removeAll(olderThan: 10)
        try await cache.set(5, for: "later")
        if isCompacted { try await cache.store.engine?.compact() }
        rig.files = rig.files.killProcess()
        _ = await code { try await cache.store.close() }
        let again: Cache<String, Int> = try await rig.store().cache(named: "c")
        for number in 1...20 { #expect(try await again.value(for: "\(number)") == (number < 10 ? nil : number)) }
        #expect(try await again.value(for: "none") == nil)
        #expect(try await again.value(for: "later") == 5)
        #expect(await code { try await again.set(1, for: "1", EntryOptions(sourceVersion: 9)) } == .conditionFailed)
        let other: Cache<String, Int> = try await again.store.cache(named: "d")
        try await other.set(1, for: "1", EntryOptions(sourceVersion: 9))
        #expect(try await other.value(for: "1") == 1)
        try await again.store.close()
    }

    @Test("Nothing is made of what went: conditional writes find nothing", arguments: CacheRig.Home.allCases)
    func conditional(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let old = try await cache.set(1, for: "a", EntryOptions(sourceVersion: 1))
        try await cache.set(7, for: "count")
        try await cache.removeAll(olderThan: 5)
        #expect(try await cache.set(2, for: "a", ifVersion: old) == nil)
        #expect(try await cache.replace(2, for: "a") == nil)
        #expect(try await cache.take("a") == nil)
        #expect(try await cache.increment("count") == 1)
        #expect(try await cache.add(3, for: "a") != nil)
        #expect(try await cache.value(for: "a") == 3)
        try await cache.close()
    }

    @Test("A load that began before is not kept, whatever it brings", arguments: CacheRig.Home.allCases)
    func load(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        for version in [nil, 4, 9] as [UInt64?] {
            let door = Door()
            let key = "key \(version ?? 0)"
            let task = Task {
                try await cache.value(for: key) { _ in
                    await door.pass()
                    return Loaded(1, EntryOptions(sourceVersion: version))
                }
            }
            await door.arrived(1)
            try await cache.removeAll(olderThan: 5)
            await door.open()
            #expect(try await task.value == 1)
            #expect(try await cache.value(for: key) == nil)
            // One that begins after it is judged by its version alone.
            #expect(
                try await cache.value(for: key, loading: { _ in Loaded(2, EntryOptions(sourceVersion: version)) }) == 2)
            #expect(try await cache.value(for: key) == (version == 4 ? nil : 2))
        }
        try await cache.close()
    }

    @Test("While the store goes on in memory it is refused, and those that stand hold")
    func degraded() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        for number in 1...9 {
            try await cache.set("\(number)", for: "\(number)", EntryOptions(sourceVersion: UInt64(number)))
        }
        try await cache.removeAll(olderThan: 5)
        try await rig.fillDisk(cache)
        #expect(cache.isDegraded)
        #expect(await code { try await cache.removeAll(olderThan: 8) } == .degraded)
        for number in 1...9 { #expect(try await cache.value(for: "\(number)") == (number < 5 ? nil : "\(number)")) }
        #expect(await code { try await cache.set("1", for: "new", EntryOptions(sourceVersion: 4)) } == .conditionFailed)
        try await cache.set("6", for: "new", EntryOptions(sourceVersion: 6))
        #expect(try await cache.add("again", for: "1") != nil)
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        #expect(try await cache.value(for: "new") == "6")
        #expect(try await cache.value(for: "1") == "again")
        try await cache.removeAll(olderThan: 8)
        for number in 2...9 { #expect(try await cache.value(for: "\(number)") == (number < 8 ? nil : "\(number)")) }
        #expect(try await cache.value(for: "new") == nil)
        try await cache.store.close()
        let again = try await rig.cache()
        for number in 2...9 { #expect(try await again.value(for: "\(number)") == (number < 8 ? nil : "\(number)")) }
        try await again.store.close()
    }

    @Test("Where it is refused, what memory alone holds stays")
    func refusedInMemory() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        try await rig.fillDisk(cache)
        try await cache.set("unversioned", for: "k")
        try await cache.set("3", for: "p/3", EntryOptions(sourceVersion: 3))
        #expect(await code { try await cache.removeAll(olderThan: 8) } == .degraded)
        #expect(await code { try await cache.removeAll(withPrefix: "p/", olderThan: 8) } == .degraded)
        #expect(try await cache.value(for: "k") == "unversioned")
        #expect(try await cache.value(for: "p/3") == "3")
        door.update { $0.isOpen = true }
        rig.files.capacity = nil
        try await cache.store.close()
    }

    @Test("It is synced, whatever the cache's durability: the mark of a disk that failed then takes it from nobody")
    func outlivesTheMark() async throws {
        var rig = DegradedRig()
        rig.options.durability = .interval
        let cache = try await rig.cache()
        try await cache.removeAll(withPrefix: "p/", olderThan: 8)
        rig.failLog()
        // Under the mark: whoever opens the store next drops the rest.
        try await cache.set("new", for: "a", EntryOptions(durability: .synced))
        #expect(cache.isDegraded)
        for seed in 1...12 as ClosedRange<UInt64> {
            let next = rig.crashed(seed)
            next.files.clearFaults()
            let again = try await next.cache()
            let late = await code { try await again.set("late", for: "p/x", EntryOptions(sourceVersion: 7)) }
            #expect(late == .conditionFailed, "seed \(seed)")
            try await again.store.close()
        }
        rig.files.clearFaults()
        try await cache.store.close()
    }

    @Test("A writer on its way when the floor is raised brings nothing back, whichever of the two the log has first")
    func lateWriter() async throws {
        for seed in 0..<40 as Range<UInt64> {
            let cache = try await CacheRig().cache(.disk, Int.self)
            async let writes: Int = withTaskGroup(of: Bool.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        for _ in 0..<(seed % 7) { await Task.yield() }
                        do {
                            let version = UInt64(number)
                            try await cache.set(number, for: "\(number % 5)", EntryOptions(sourceVersion: version))
                            return true
                        } catch { return false }
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            for _ in 0..<(seed / 7) { await Task.yield() }
            try await cache.removeAll(olderThan: 17)
            for key in 0..<5 { #expect(try await (cache.value(for: "\(key)") ?? 17) >= 17) }
            _ = await writes
            for key in 0..<5 {
                #expect(try await (cache.value(for: "\(key)") ?? 17) >= 17)
                #expect((cache.valueInMemory(for: "\(key)") ?? 17) >= 17)
            }
            try await cache.close()
        }
    }

    @Test("Wherever the power goes: once acknowledged it holds, and what is as new is never lost")
    func powerCuts() async throws {
        var (change, isDone) = (0, false)
        while !isDone {
            change += 1
            let rig = DegradedRig()
            let cache = try await rig.cache(.throwing)
            for number in 1...4 {
                try await cache.set("\(number)", for: "p/\(number)", EntryOptions(sourceVersion: UInt64(number)))
            }
            rig.files.cutPower(atChange: rig.files.changeCount + change)
            let refusal = await code { try await cache.removeAll(withPrefix: "p/", olderThan: 3) }
            isDone = !rig.files.isPowerCut
            // Of what was acknowledged no crash may leave less.
            for seed in UInt64(change)...UInt64(refusal == nil ? change + 11 : change) {
                let again = try await rig.crashed(seed).cache(.throwing)
                for number in 1...4 {
                    let found = try await again.value(for: "p/\(number)")
                    #expect(number < 3 && refusal == nil ? found == nil : found == "\(number)" || number < 3)
                }
                let late = await code { try await again.set("late", for: "p/x", EntryOptions(sourceVersion: 2)) }
                #expect(late == .conditionFailed || (refusal != nil && late == nil))
                try await again.store.close()
            }
        }
        #expect(change > 1)
    }

    @Test("A log that fails under it: it throws, and hides here what it may hide for the next one")
    func failedLog() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        for number in 1...9 {
            try await cache.set("\(number)", for: "\(number)", EntryOptions(sourceVersion: UInt64(number)))
        }
        rig.failLog()
        #expect(await code { try await cache.removeAll(olderThan: 5) } != nil)
        #expect(cache.isDegraded)
        func judge(_ cache: Cache<String, String>, _ message: String) async throws {
            for number in 1...9 {
                #expect(
                    try await cache.value(for: "\(number)") == (number < 5 ? nil : "\(number)"), "\(number), \(message)"
                )
            }
            let late = await code { try await cache.set("late", for: "late", EntryOptions(sourceVersion: 4)) }
            #expect(late == .conditionFailed, "\(message)")
        }
        try await judge(cache, "in memory")
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        try await judge(cache, "back on disk")
        door.update { $0.isOpen = true }
        try await cache.store.close()
        let again = try await rig.cache()
        try await judge(again, "opened again")
        try await again.store.close()
    }

    @Test("A change in one step that looked before such a removal makes nothing of what that may hide")
    func lookedBeforeFailedLog() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        let version = try await cache.set("old", for: "a")
        let looked = try #require(cache.disk).visible.rawValue
        rig.failLog()
        #expect(await code { try await cache.removeAll(olderThan: 5) } != nil)
        #expect(cache.isDegraded)
        let change = try cache.change("new", keeping: nil, keepsDeadline: false)
        let demand = Cache<String, String>.Demand.version(version.number, tags: [], since: looked, notOlder: nil)
        #expect(await code { _ = try await cache.commit("a", change, demand, nil) } == .conditionFailed)
        #expect(try await cache.value(for: "a") == nil)
        rig.files.clearFaults()
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }

    @Test("Prefixes are bounded, and a shorter one takes the place of those that it covers")
    func bounded() throws {
        var floors = PrefixFloors()
        for number in 0..<PrefixFloors.most {
            floors = try floors.raised(Array("p/\(number)".utf8), to: UInt64(number + 1), since: 7)
        }
        #expect(throws: VarveError.self) { try floors.raised(Array("q".utf8), to: 1, since: 8) }
        // One that stands is raised all the same, and never lowered.
        #expect(
            try floors.raised(Array("p/3".utf8), to: 2, since: 8).floors.contains { $0.version == 4 && $0.since == 8 })
        let shorter = try floors.raised(Array("p/".utf8), to: 200, since: 9)
        #expect(shorter.floors.count == PrefixFloors.most - 200 + 1)
        let read = try PrefixFloors(reading: shorter.bytes, writtenAt: 11)
        #expect(read == shorter)
        let fresh = try floors.raised(Array("p/".utf8), to: 1000, since: 0)
        #expect(
            try PrefixFloors(reading: fresh.bytes, writtenAt: 11).floors == [
                .init(prefix: Array("p/".utf8), version: 1000, since: 11)
            ])
        #expect(throws: VarveError.self) { try PrefixFloors(reading: Array(fresh.bytes.dropLast()), writtenAt: 1) }
        let unknown = #expect(throws: VarveError.self) { try PrefixFloors(reading: [9], writtenAt: 1) }
        #expect(unknown?.code == .unsupportedFormat)
        #expect(throws: VarveError.self) { try PrefixFloors(reading: [], writtenAt: 1) }
        #expect(throws: VarveError.self) {
            try PrefixFloors().raised([UInt8](repeating: 1, count: 1 << 17), to: 1, since: 0)
        }
    }

    @Test(
        "A record that cannot be read is no removal that may be passed over: its feed throws, and a follower lets go of all",
        arguments: [([1, 2, 3], .corruption), ([9], .unsupportedFormat)] as [([UInt8], VarveError.Code)])
    func unreadable(record: [UInt8], expected: VarveError.Code) async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let copy = try Cache<String, Int>.inMemory()
        let follower = try copy.follow(cache)
        try await follower.waitUntilFollowing()
        #expect(try await copy.value(for: "a", loading: { _ in Loaded(1) }) == 1)
        let cursor = try cache.changeCursor
        let disk = try #require(cache.disk)
        _ = try await disk.engine.put(disk.floorsKey, record, in: .sourceFloors, durability: .synced)
        try await follower.waitUntilFollowed(try cache.changeCursor)
        #expect(copy.valueInMemory(for: "a") == nil)
        // A feed that passes it over would tell of this.
        try await cache.set(2, for: "a", EntryOptions(durability: .synced))
        var changes = try cache.changes(since: cursor).makeAsyncIterator()
        #expect(await code { _ = try await changes.next() } == expected)
        // Who asks again does not go on behind it.
        #expect(try await changes.next() == nil)
        follower.stop()
        try await cache.close()
    }

    @Test("A feed tells of it, and a follower lets go of what may be older")
    func followed() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let copy = try Cache<String, Int>.inMemory()
        let follower = try copy.follow(cache)
        try await follower.waitUntilFollowing()
        for key in ["user/1", "post/1"] { #expect(try await copy.value(for: key, loading: { _ in Loaded(1) }) == 1) }
        let cursor = try cache.changeCursor
        try await cache.removeAll(withPrefix: "user/", olderThan: 20)
        let place = try cache.changeCursor
        try await follower.waitUntilFollowed(place)
        #expect(copy.valueInMemory(for: "user/1") == nil)
        #expect(copy.valueInMemory(for: "post/1") == 1)
        var changes = try cache.changes(since: cursor, withPrefix: "other").makeAsyncIterator()
        let change = try #require(try await changes.next())
        guard case .removedOlder(let removed) = change.event else {
            Issue.record("\(change.event)")
            return
        }
        #expect(removed.sourceVersion(for: "user/7") == 20)
        #expect(removed.sourceVersion(for: "post/7") == nil)
        follower.stop()
        try await cache.close()
    }

    @Test("A change in one step waits for a removal under way, though memory alone holds what goes")
    func waitingStep() async throws {
        // A full disk is spared what is loaded for the first time.
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        eviction.noteOccupancy(1)
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        let disk = try #require(cache.disk)
        #expect(try await cache.value(for: "n", load: { _ in 100 }) == 100)
        #expect(try cache.keysOnDisk().isEmpty)
        let next = try await cache.floors.begin().raised([], to: 5, since: 0)
        cache.memory.changeAll { shard, _ in shard.beginMassRemoval() }
        let version = try await disk.engine.put(
            disk.floorsKey, next.bytes, in: .sourceFloors, durability: .interval(.seconds(60))
        ).rawValue
        let isDone = Watched(false)
        let step = Task {
            defer { isDone.update { $0 = true } }
            return try await cache.increment("n")
        }
        for _ in 0..<10_000 where !isDone.current { await Task.yield() }
        #expect(!isDone.current && cache.valueInMemory(for: "n") == 100)
        cache.floors.note(next.written(at: version), isStored: true)
        cache.memory.beginMassRemoval { _ in true }
        for end in [version, nil] { cache.memory.endMassRemoval(at: end) { _ in true } }
        cache.floors.end()
        #expect(try await step.value == 1)
        #expect(try await cache.value(for: "n") == 1)
        try await store.close()
    }
}
