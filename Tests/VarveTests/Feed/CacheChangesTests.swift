import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What a cache's feed tells.
@Suite struct CacheChangesTests {
    private let rig = CacheRig()

    /// Everything that has happened after a cursor, as words.
    private func told(
        _ cache: Cache<String, String>, since cursor: ChangeCursor, prefix: String = ""
    ) async throws -> [String] {
        var words: [String] = []
        try await cache.store.engine?.sync()
        let changes = try cache.changes(since: cursor, withPrefix: prefix, includingProgress: true)
        let end = try cache.changeCursor
        for try await change in changes {
            switch change.event {
            case .set(let key, let value): words.append("\(key)=\(value)")
            case .removed(let key): words.append("-\(key)")
            case .removedRange(let keys):
                words.append("-\(String(decoding: keys.from, as: UTF8.self))...")
                #expect(keys.contains(String(decoding: keys.from, as: UTF8.self)))
            case .removedAll: words.append("-*")
            case .tagDropped(let tag): words.append(tag.covers("t") ? "#t" : "#?")
            case .removedOlder(let older): words.append("<\(older.sourceVersion(for: "a") ?? 0)")
            case .caughtUp: break
            }
            if change.cursor.lsn >= end.lsn { break }
        }
        return words
    }

    @Test("Every way in which a cache changes is told, in order, and what is local is not")
    func everyChange() async throws {
        let cache = try await rig.cache(.disk, String.self)
        let start = try cache.changeCursor
        try await cache.set("1", for: "a")
        _ = try await cache.value(for: "b") { _ in "2" }
        try await cache.set("3", for: "c/1", .init(expiry: .seconds(1), tags: ["t"]))
        try await cache.remove("a")
        try await cache.update("b") { $0 = ($0 ?? "") + "!" }
        try await cache.remove(taggedWith: "t")
        try await cache.remove(taggedWith: "u")
        try await cache.removeAll(withPrefix: "c/")
        _ = try await cache.value(for: "absent") { _ in Loaded(nil, .init(expiry: .seconds(9))) }
        rig.clock.advance(by: .seconds(60))
        #expect(try await cache.value(for: "c/1") == nil)
        try await cache.removeAll()
        #expect(
            try await told(cache, since: start) == [
                "a=1", "b=2", "c/1=3", "-a", "b=2!", "#t", "#?", "-c/...", "-absent", "-*",
            ])
        #expect(try await told(cache, since: start, prefix: "c/") == ["c/1=3", "#t", "#?", "-*", "-*"])
        try await cache.close()
    }

    @Test("A version that was returned is found in the feed, and a deadline comes along")
    func versions() async throws {
        let cache = try await rig.cache(.disk, String.self)
        var changes = try cache.changes().makeAsyncIterator()
        let version = try await cache.set("1", for: "a", .init(expiry: .seconds(5), durability: .synced))
        let change = try #require(try await changes.next())
        #expect(change.version == version)
        #expect(EntryVersion(version.description) == version)
        #expect(change.usableUntil == cache.store.clock.now() + 5_000_000_000)
        #expect(change.endsBatch)
        try await cache.close()
    }

    @Test("Each cache of a store has a feed of its own; names that are not its keys are passed over")
    func caches() async throws {
        let store = try await rig.store()
        let numbers = try await store.cache(named: "numbers", of: UInt32.self, to: Int.self)
        let words = try await store.cache(named: "words", of: String.self, to: String.self)
        let start = try numbers.changeCursor
        try await words.set("x", for: "a")
        try await numbers.set(7, for: 1)
        try await words.removeAll()
        try await words.set("y", for: "b")
        try await numbers.remove(1, durability: .synced)
        var told: [String] = []
        for try await change in try numbers.changes(since: start) {
            told.append("\(change.event)")
            if told.count == 2 { break }
        }
        #expect(told == ["set(1, 7)", "removed(1)"])
        try await store.close()
    }

    @Test("A cursor kept as text goes on after a restart; a slot keeps the log meanwhile")
    func restart() async throws {
        var store = try await rig.store()
        var cache = try await store.cache(named: "c", of: Int.self, to: Int.self)
        let slot = try await cache.changeSlot(named: "mirror")
        for number in 0..<100 { try await cache.set(number, for: number) }
        var mirror: [Int: Int] = [:]
        var kept = ""
        for try await change in try cache.changes(since: slot.cursor) {
            if case .set(let key, let value) = change.event { mirror[key] = value }
            kept = change.cursor.description
            if mirror.count == 40 { break }
        }
        for number in 50..<4000 { try await cache.set(-number, for: number % 100) }
        try await store.engine?.flush()
        try await store.close()
        store = try await rig.store()
        cache = try await store.cache(named: "c", of: Int.self, to: Int.self)
        let end = try cache.changeCursor
        let since = try #require(ChangeCursor(kept))
        for try await change in try cache.changes(since: since, includingProgress: true) {
            if case .set(let key, let value) = change.event { mirror[key] = value }
            if change.cursor.lsn >= end.lsn { break }
        }
        for key in 0..<100 { #expect(try await cache.value(for: key) == mirror[key]) }
        try await store.close()
    }

    @Test("A feed begins after a write, by its version or LSN, and at the oldest that is held")
    func places() async throws {
        let store = try await rig.store()
        let cache = try await store.cache(named: "c", of: String.self, to: Int.self)
        var versions: [EntryVersion] = []
        for number in 0..<5 { versions.append(try await cache.set(number, for: "a", .init(durability: .synced))) }
        func first(since cursor: ChangeCursor) async throws -> String? {
            for try await change in try cache.changes(since: cursor) { return "\(change.event)" }
            return nil
        }
        #expect(try await first(since: cache.oldestChangeCursor) == "set(\"a\", 0)")
        for number in 0..<4 {
            let cursor = try cache.changeCursor(after: versions[number])
            #expect(try await first(since: cursor) == "set(\"a\", \(number + 1))")
            #expect(try cache.changeCursor(after: cursor.lsn) == cursor)
        }
        #expect(try cache.changeCursor(after: versions[4]) == cache.changeCursor)
        let other = try await CacheRig().cache(.disk, Int.self)
        let foreign = try await other.set(1, for: "a")
        #expect(#expect(throws: VarveError.self) { try cache.changeCursor(after: foreign) }?.code == .notContinuing)
        try await other.close()
        try await store.close()
    }

    @Test("A slot goes on where the store goes on with another engine")
    func slotOfReplaced() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let slot = try await cache.changeSlot(named: "mirror")
        try await cache.set("1", for: "a")
        let before = cache.store.engine
        rig.failLog()
        try await cache.set("2", for: "a")
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        #expect(cache.store.engine !== before)
        try await cache.set("3", for: "a")
        let end = try cache.changeCursor
        try await slot.acknowledge(end)
        #expect(try slot.cursor == end)
        #expect(try await cache.changeSlot(named: "mirror").cursor == end)
        try await slot.remove()
        #expect(throws: VarveError.self) { try slot.cursor }
        try await cache.store.close()
    }

    @Test("A cache in memory alone has no feed")
    func inMemory() async throws {
        let cache = try await rig.cache(.memory, String.self)
        #expect(throws: VarveError.self) { try cache.changes() }
        #expect(throws: VarveError.self) { try cache.changeCursor }
    }

    @Test("What this program's coding refuses shows as removed")
    func undecodable() async throws {
        let store = try await rig.store()
        let texts = try await store.cache(named: "c", of: String.self, to: String.self)
        let began = try texts.changeCursor
        try await texts.set("no number", for: "a", .init(durability: .synced))
        try await texts.close()
        let numbers: Cache<String, Int> = try await store.cache(
            named: "c", coding: .own, CacheOptions(), ownsStore: false)
        var changes = try numbers.changes(since: began).makeAsyncIterator()
        guard case .removed("a")? = try await changes.next()?.event else {
            Issue.record("it is told as something else")
            return
        }
        try await store.close()
    }
}
