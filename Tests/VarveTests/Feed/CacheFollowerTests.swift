import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A cache in memory that follows another one never keeps what the other has changed.
@Suite struct CacheFollowerTests {
    private let rig = CacheRig()

    private func pair() async throws -> (Cache<String, String>, Cache<String, String>, CacheFollower) {
        let owner = try await rig.cache(.disk, String.self)
        let mine: Cache<String, String> = try CacheStore.inMemory(clock: rig.clock).cacheInMemory()
        let follower = try mine.follow(owner)
        try await follower.waitUntilFollowing()
        return (owner, mine, follower)
    }

    @Test("What changes there leaves here, and nothing else does")
    func dropsWhatChanges() async throws {
        let (owner, mine, follower) = try await pair()
        for key in ["a", "b", "c/1", "c/2", "d"] {
            let tags = key == "d" ? ["t"] : []
            _ = try await mine.value(for: key) { _ in Loaded("old", .init(tags: tags)) }
        }
        let held = { ["a", "b", "c/1", "c/2", "d"].filter { mine.valueInMemory(for: $0) != nil } }
        #expect(held() == ["a", "b", "c/1", "c/2", "d"])
        try await follower.waitUntilFollowed(try await owner.set("new", for: "a"))
        #expect(held() == ["b", "c/1", "c/2", "d"])
        try await owner.remove("b")
        try await follower.waitUntilFollowed(owner.changeCursor)
        #expect(held() == ["c/1", "c/2", "d"])
        try await owner.removeAll(withPrefix: "c/1")
        try await follower.waitUntilFollowed(owner.changeCursor)
        #expect(held() == ["c/2", "d"])
        try await owner.remove(taggedWith: "t")
        try await follower.waitUntilFollowed(owner.changeCursor)
        #expect(held() == ["c/2"])
        try await owner.removeAll()
        try await follower.waitUntilFollowed(owner.changeCursor)
        #expect(held().isEmpty)
        _ = try await mine.value(for: "a") { _ in "again" }
        #expect(held() == ["a"])
        try await owner.close()
    }

    @Test("A load that was under way when its key changed is not kept, whatever changed it", arguments: 0..<4)
    func loadUnderWay(way: Int) async throws {
        let (owner, mine, follower) = try await pair()
        let door = Door()
        let load = Task {
            try await mine.value(for: "k") { _ in
                await door.pass()
                return Loaded("old", .init(tags: ["t"]))
            }
        }
        await door.arrived(1)
        switch way {
        case 0: try await owner.set("new", for: "k")
        case 1: try await owner.removeAll(withPrefix: "k")
        case 2: try await owner.remove(taggedWith: "t")
        default: try await owner.removeAll()
        }
        try await follower.waitUntilFollowed(owner.changeCursor)
        // Who comes now does not get what that load will bring.
        let later = Task { try await mine.value(for: "k") { _ in "new" } }
        // After the drop of a tag that load is waited for: it may carry another.
        if way == 2 { while mine.statistics.loadsShared == 0 { await Task.yield() } }
        if way != 2 { #expect(try await later.value == "new") }
        await door.open()
        #expect(try await load.value == "old")
        #expect(try await later.value == "new")
        #expect(mine.valueInMemory(for: "k") == "new")
        try await owner.close()
    }

    @Test("While the other is not heard nothing is kept; a load of that time is not kept afterwards either")
    func notHeard() async throws {
        var (owner, mine, follower) = try await pair()
        _ = try await mine.value(for: "a") { _ in "1" }
        #expect(mine.valueInMemory(for: "a") == "1")
        try await owner.close()
        while follower.state == .following { await Task.yield() }
        #expect(mine.valueInMemory(for: "a") == nil)
        #expect(follower.failure?.code == .closed)
        #expect(try await mine.value(for: "a") { _ in "2" } == "2")
        #expect(mine.valueInMemory(for: "a") == nil)
        follower.stop()
        follower.stop()
        #expect(follower.state == .stopped)
        await #expect(throws: VarveError.self) { try await follower.waitUntilFollowing() }
        // By itself it keeps again.
        #expect(try await mine.value(for: "a") { _ in "3" } == "3")
        #expect(mine.valueInMemory(for: "a") == "3")
        // And may follow another; what it held is not trusted.
        let again = try await rig.cache(.disk, String.self)
        owner = again
        follower = try mine.follow(again)
        #expect(mine.valueInMemory(for: "a") == nil)
        try await follower.waitUntilFollowing()
        #expect(throws: VarveError.self) { try mine.follow(again) }
        #expect(throws: VarveError.self) { try again.follow(again) }
        try await mine.store.close()
        #expect(follower.state == .stopped)
        try await owner.close()
    }

    @Test("A version of another store is not waited for")
    func otherHistory() async throws {
        let (owner, mine, follower) = try await pair()
        let other = try await CacheRig().cache(.disk, String.self)
        let foreign = try await other.set("1", for: "a")
        await #expect { try await follower.waitUntilFollowed(foreign) } throws: {
            ($0 as? VarveError)?.code == .notContinuing
        }
        _ = mine
        try await owner.close()
        try await other.close()
    }

    /// A source that is changed there, and read here through loads that take their time: no reader ever sees a key go back,
    /// and who waited for a version sees it.
    @Test("Readers see no key go back while loads, changes and removals cross", arguments: [1, 2, 3])
    func neverBack(seed: UInt64) async throws {
        let owner = try await rig.cache(.disk, Int.self)
        let mine: Cache<String, Int> = try CacheStore.inMemory(clock: rig.clock).cacheInMemory()
        let follower = try mine.follow(owner)
        try await follower.waitUntilFollowing()
        let keys = (0..<8).map { "k\($0)" }
        for key in keys { try await owner.set(0, for: key) }
        let isDone = Watched(false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for reader in 0..<3 {
                group.addTask {
                    var random = SplitMix(seed << 8 | UInt64(reader))
                    var seen: [String: Int] = [:]
                    while !isDone.current {
                        let key = keys[Int(random.next() % 8)]
                        let pauses = random.next() % 3
                        let value = try await mine.value(for: key) { key in
                            let value = try await owner.value(for: key) ?? 0
                            for _ in 0..<pauses { await Task.yield() }
                            return value
                        }
                        #expect(value >= seen[key] ?? 0, "seed \(seed), \(key)")
                        seen[key] = value
                        await Task.yield()
                    }
                }
            }
            group.addTask {
                var random = SplitMix(seed)
                defer { isDone.update { $0 = true } }
                for version in 1...400 {
                    let key = keys[Int(random.next() % 8)]
                    let written = try await owner.set(version, for: key)
                    guard random.next() % 8 == 0 else { continue }
                    try await follower.waitUntilFollowed(written)
                    let value = try await mine.value(for: key) { try await owner.value(for: $0) ?? 0 }
                    #expect(value == version, "seed \(seed)")
                }
            }
            try await group.waitForAll()
        }
        try await follower.waitUntilFollowed(owner.changeCursor)
        for key in keys {
            let last = try await owner.value(for: key)
            #expect(try await mine.value(for: key) { try await owner.value(for: $0) ?? 0 } == last)
        }
        try await owner.close()
    }
}
