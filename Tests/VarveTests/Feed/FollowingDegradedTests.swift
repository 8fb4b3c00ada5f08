import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What followers and feeds do while the store that they follow goes on in memory.
@Suite struct FollowingDegradedTests {
    private let rig = DegradedRig()

    private func pair() async throws -> (Cache<String, String>, Cache<String, String>, CacheFollower) {
        let owner = try await rig.cache()
        let mine: Cache<String, String> = try CacheStore.inMemory(clock: rig.rig.clock).cacheInMemory()
        let follower = try mine.follow(owner)
        try await follower.waitUntilFollowing()
        return (owner, mine, follower)
    }

    @Test("A follower holds nothing meanwhile and says why, and follows again by itself after the return")
    func holdsNothing() async throws {
        let (owner, mine, follower) = try await pair()
        let read = { try await mine.value(for: "a") { try await owner.value(for: $0) ?? "none" } }
        try await follower.waitUntilFollowed(try await owner.set("old", for: "a"))
        #expect(try await read() == "old")
        #expect(mine.valueInMemory(for: "a") == "old")
        try await rig.fillDisk(owner)
        let version = try await owner.set("new", for: "a")
        while follower.state == .following { await Task.yield() }
        #expect(follower.failure?.code == .degraded)
        #expect(mine.valueInMemory(for: "a") == nil)
        #expect(try await read() == "new")
        #expect(mine.valueInMemory(for: "a") == nil)
        rig.files.capacity = nil
        #expect(await owner.tryReturn())
        try await follower.waitUntilFollowed(version)
        #expect(try await read() == "new")
        // As before. (What was set meanwhile the disk is told in the background, and so is who follows.)
        while mine.valueInMemory(for: "a") != "new" { #expect(try await read() == "new") }
        try await follower.waitUntilFollowed(try await owner.set("newer", for: "a"))
        #expect(mine.valueInMemory(for: "a") == nil)
        try await owner.store.close()
    }

    @Test("No version that memory gave is reached before the store is back on disk, whatever its log takes meanwhile")
    func neverEarly() async throws {
        let (owner, mine, follower) = try await pair()
        let engine = try #require(owner.store.engine)
        _ = try await mine.value(for: "a") { _ in "old" }
        try await rig.fillDisk(owner)
        let first = try await owner.set("new", for: "a")
        // The log has room for tries, and they reach no version that was given.
        rig.files.capacity = nil
        rig.files.fail(EIO, sticky: true) { $0.path.contains("DEGRADED") }
        let isThere = Watched(false)
        let waiting = Task {
            try await follower.waitUntilFollowed(first)
            isThere.update { $0 = true }
        }
        for _ in 0..<3 { #expect(await !owner.tryReturn()) }
        // The deletes are in the log, and what was given is skipped; but the mark is there.
        #expect(engine.appended.rawValue > first.number)
        #expect(!isThere.current && follower.state == .waiting)
        rig.files.clearFaults()
        let second = try await owner.set("newer", for: "a")
        #expect(second.number > engine.appended.rawValue)
        #expect(await owner.tryReturn())
        #expect(try await owner.set("newest", for: "b").number > second.number)
        try await waiting.value
        try await follower.waitUntilFollowed(second)
        #expect(try await mine.value(for: "a") { try await owner.value(for: $0) ?? "none" } == "newer")
        try await owner.store.close()
    }

    @Test("A feed ends with its store's going over to memory; one that begins at its cursor tells the rest as removals")
    func feeds() async throws {
        let owner = try await rig.cache()
        try await owner.set("old", for: "p/1")
        let start = try owner.changeCursor
        var feed = try owner.changes().makeAsyncIterator()
        try await owner.set("1", for: "a")
        let told = try #require(try await feed.next())
        try await owner.set("2", for: "b")
        // One reads, the other will only after the return.
        let waiting = Task { for try await _ in try owner.changes() {} }
        try await rig.fillDisk(owner)
        await #expect { try await waiting.value } throws: { ($0 as? VarveError)?.code == .degraded }
        #expect { try owner.changes(since: start) } throws: { ($0 as? VarveError)?.code == .degraded }
        try await owner.remove("a")
        try await owner.removeAll(withPrefix: "p/")
        try await owner.remove(taggedWith: "t")
        rig.files.capacity = nil
        #expect(await owner.tryReturn())
        await #expect { while try await feed.next() != nil {} } throws: { ($0 as? VarveError)?.code == .degraded }
        try await owner.set("4", for: "c")
        var rest: [String] = []
        for try await change in try owner.changes(since: told.cursor) {
            switch change.event {
            // It was set in memory, and the disk is told later.
            case .set("filler", _): break
            case .set(let key, let value): rest.append("\(key)=\(value)")
            case .removed(let key): rest.append("-\(key)")
            case .removedRange(let keys): rest.append("-\(String(decoding: keys.from, as: UTF8.self))...")
            case .tagDropped(let tag): rest.append(tag.covers("t") ? "#t" : "#?")
            case .removedAll, .removedOlder, .caughtUp: rest.append("?")
            }
            if rest.last == "c=4" { break }
        }
        #expect(rest.first == "b=2")
        #expect(rest.sorted() == ["#t", "-a", "-filler", "-p/...", "b=2", "c=4"])
        try await owner.store.close()
    }

    @Test(
        "A follower empties itself also where the log fails, and follows the engine that takes the failed one's place")
    func failedLog() async throws {
        let (owner, mine, follower) = try await pair()
        let read = { try await mine.value(for: "a") { try await owner.value(for: $0) ?? "none" } }
        try await follower.waitUntilFollowed(try await owner.set("old", for: "a"))
        #expect(try await read() == "old")
        rig.failLog()
        let version = try await owner.set("new", for: "a")
        while follower.state == .following { await Task.yield() }
        #expect(mine.valueInMemory(for: "a") == nil)
        #expect(try await read() == "new")
        rig.files.clearFaults()
        #expect(await owner.tryReturn())
        // Whether the new engine goes on with the history of the old one is its own business.
        do throws(VarveError) { try await follower.waitUntilFollowed(version) } catch {
            #expect(error.code == .notContinuing)
        }
        let later = try await owner.set("newer", for: "a")
        #expect(later.number > version.number)
        try await follower.waitUntilFollowed(later)
        #expect(try await read() == "newer")
        try await owner.store.close()
    }

    /// As long as memory holds everything, a store that goes over and comes back is no different to its readers.
    @Test("Readers see no key go back while the store goes over to memory and comes back", arguments: [1, 2, 3])
    func neverBack(seed: UInt64) async throws {
        let rig = CacheRig()
        let store = try await rig.store { $0.keepsDegradedMark = true }
        var options = CacheOptions(memory: .entries(1000))
        options.warmRestart = nil
        let owner: Cache<String, Int> = try await store.cache(named: "c", options)
        let degraded = try #require(store.degraded)
        let mine: Cache<String, Int> = try CacheStore.inMemory(clock: rig.clock).cacheInMemory()
        let follower = try mine.follow(owner)
        try await follower.waitUntilFollowing()
        let keys = (0..<4).map { "k\($0)" }
        for key in keys { try await owner.set(0, for: key) }
        let isDone = Watched(false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for reader in 0..<2 {
                group.addTask {
                    var random = SplitMix(seed << 8 | UInt64(reader))
                    var seen: [String: Int] = [:]
                    while !isDone.current {
                        let key = keys[Int(random.next() % 4)]
                        let value = try await mine.value(for: key) { try await owner.value(for: $0) ?? -1 }
                        #expect(value >= seen[key] ?? 0, "seed \(seed), \(key)")
                        seen[key] = value
                        await Task.yield()
                    }
                }
            }
            group.addTask {
                defer { isDone.update { $0 = true } }
                var random = SplitMix(seed)
                let full = IOError(code: ENOSPC, operation: "allocate", path: CacheRig.path)
                for round in 1...6 {
                    if random.next() % 2 == 0 { await degraded.enter(VarveError(full), of: degraded.engine) }
                    for number in 1...20 {
                        try await owner.set(round * 100 + number, for: keys[Int(random.next() % 4)])
                        await Task.yield()
                    }
                    let key = keys[Int(random.next() % 4)]
                    let written = try await owner.set(round * 100 + 50, for: key)
                    #expect(await owner.tryReturn())
                    try await follower.waitUntilFollowed(written)
                    let value = try await mine.value(for: key) { try await owner.value(for: $0) ?? -1 }
                    #expect(value == round * 100 + 50, "seed \(seed)")
                }
            }
            try await group.waitForAll()
        }
        try await store.close()
    }

    @Test("Numbers from memory lie a reserve beyond the log's end, and never again where the log has been")
    func numbers() {
        var versions = MemoryVersions()
        #expect(versions.last == 0 && versions.leaves(1))
        let first = versions.next(after: 10)
        #expect(first > 10 + MemoryVersions.reserve)
        // The log goes on a little.
        #expect(versions.next(after: 12) == first + 1)
        #expect(versions.leaves(first - 1) && !versions.leaves(first) && !versions.leaves(first + 1))
        // It has skipped them, and goes on.
        #expect(versions.leaves(first + 2))
        #expect(versions.next(after: first + 5) > first + 5 + MemoryVersions.reserve)
        #expect(versions.leaves(first + 6))
        // Another log takes the place of one that ended further on.
        var others = MemoryVersions()
        others.pass(100)
        #expect(others.last == 100 && others.leaves(96))
        let second = others.next(after: 95)
        #expect(second > 100 + MemoryVersions.reserve && others.next(after: 95) == second + 1)
    }
}
