import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A cache that is seen through its owner's socket.
@Suite struct RemoteCacheTests {
    private let folder: TemporaryDirectory
    private var path: String { folder.path + "/store" }

    init() throws { folder = try TemporaryDirectory() }

    private func store() async throws -> CacheStore { try await CacheStore.open(at: path) }

    @Test("Its entries are read: what is there, alive, and not dropped by a tag")
    func reads() async throws {
        let store = try await store()
        let cache = try await store.cache(named: "c", of: String.self, to: Int.self)
        let remote = RemoteCache<String, Int>(storeAt: path, named: "c")
        try await cache.set(1, for: "a")
        try await cache.set(2, for: "b", .init(tags: ["t", "u"]))
        _ = try await cache.value(for: "none") { _ in Loaded(nil, .init(expiry: .seconds(60))) }
        #expect(try await remote.value(for: "a") == 1)
        #expect(try await remote.value(for: "b") == 2)
        #expect(try await remote.value(for: "none") == nil)
        #expect(try await remote.value(for: "never") == nil)
        try await cache.remove(taggedWith: "u")
        #expect(try await remote.value(for: "b") == nil)
        try await cache.set(3, for: "b", .init(tags: ["u"]))
        #expect(try await remote.value(for: "b") == 3)
        try await cache.remove("a")
        #expect(try await remote.value(for: "a") == nil)
        let unknown = RemoteCache<String, Int>(storeAt: path, named: "nowhere")
        await #expect(throws: VarveError.self) { try await unknown.value(for: "a") }
        try await store.close()
        // First the connection is found to be lost, or there is none; who has it open is asked anew then.
        for asked in [remote, RemoteCache<String, Int>(storeAt: path, named: "c")] {
            let error = await #expect(throws: VarveError.self) { try await asked.value(for: "b") }
            #expect(error?.code == .io && "\(error?.message ?? "")".contains("nobody"))
        }
        // The owner comes back.
        let again = try await self.store()
        #expect(try await remote.value(for: "b") == 3)
        try await again.close()
    }

    @Test("What was removed with its prefix for being older is not seen")
    func belowFloor() async throws {
        let store = try await store()
        let cache = try await store.cache(named: "c", of: String.self, to: Int.self)
        let remote = RemoteCache<String, Int>(storeAt: path, named: "c")
        for number in 1...4 { try await cache.set(number, for: "p/\(number)", .init(sourceVersion: UInt64(number))) }
        try await cache.set(5, for: "p/none")
        #expect(try await remote.value(for: "p/none") == 5)
        try await cache.removeAll(withPrefix: "p/", olderThan: 3)
        for number in 1...4 { #expect(try await remote.value(for: "p/\(number)") == (number < 3 ? nil : number)) }
        #expect(try await remote.value(for: "p/none") == nil)
        try await store.close()
    }

    @Test("Its feed may be of a prefix, from the oldest on, and moves a slot of the owner's")
    func slots() async throws {
        let store = try await store()
        let cache = try await store.cache(named: "c", of: String.self, to: Int.self)
        let remote = RemoteCache<String, Int>(storeAt: path, named: "c")
        let slot = try await cache.changeSlot(named: "remote")
        let start = try cache.changeCursor
        for key in ["a/1", "b/1", "a/2"] { try await cache.set(1, for: key, .init(durability: .synced)) }
        var told: [String] = []
        var last = start
        for try await change in remote.changes(since: start, withPrefix: "a/") {
            told.append("\(change.event)")
            last = change.cursor
            if told.count == 2 { break }
        }
        #expect(told == ["set(\"a/1\", 1)", "set(\"a/2\", 1)"])
        for try await change in remote.changesFromOldest() {
            #expect("\(change.event)" == "set(\"a/1\", 1)")
            break
        }
        try await remote.acknowledge(last, inSlotNamed: "remote")
        #expect(try slot.cursor == last)
        let error = await #expect(throws: VarveError.self) { try await remote.acknowledge(last, inSlotNamed: "none") }
        #expect(error?.code == .invalidArgument)
        try await store.close()
    }

    @Test("Its feed is the cache's own, and a cursor of one is one of the other")
    func feeds() async throws {
        let store = try await store()
        let cache = try await store.cache(named: "c", of: String.self, to: Int.self)
        let remote = RemoteCache<String, Int>(storeAt: path, named: "c")
        let start = try cache.changeCursor
        for number in 0..<50 { try await cache.set(number, for: "k\(number % 7)") }
        try await cache.removeAll(withPrefix: "k1")
        try await cache.removeAll()
        var here: [String] = []
        for try await change in try cache.changes(since: start) {
            here.append("\(change.event) \(change.version) \(change.cursor)")
            if case .removedAll = change.event { break }
        }
        var there: [String] = []
        for try await change in remote.changes(since: start) {
            there.append("\(change.event) \(change.version) \(change.cursor)")
            if case .removedAll = change.event { break }
        }
        #expect(here == there)
        #expect(here.count == 52)
        try await store.close()
    }

    @Test(
        "A follower hears of changes over the socket, is empty while the owner is away, and follows again when it is back"
    )
    func follows() async throws {
        var store = try await store()
        var cache = try await store.cache(named: "c", of: String.self, to: Int.self)
        let remote = RemoteCache<String, Int>(storeAt: path, named: "c")
        let mine = try Cache<String, Int>.inMemory()
        let follower = try mine.follow(remote)
        try await follower.waitUntilFollowing()
        for round in 1...3 {
            for number in 1...20 {
                let written = try await cache.set(round * 100 + number, for: "a")
                try await follower.waitUntilFollowed(written)
                #expect(try await mine.value(for: "a") { try await remote.value(for: $0) ?? 0 } == round * 100 + number)
                #expect(mine.valueInMemory(for: "a") == round * 100 + number)
            }
            try await store.close()
            while follower.state == .following { await Task.yield() }
            #expect(mine.valueInMemory(for: "a") == nil)
            store = try await self.store()
            cache = try await store.cache(named: "c", of: String.self, to: Int.self)
            try await follower.waitUntilFollowing()
        }
        follower.stop()
        try await store.close()
    }
}
