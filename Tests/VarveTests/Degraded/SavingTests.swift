import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What was set in memory while the disk took no writes is on disk after the return, if memory still holds it.
struct SavingTests {
    private let rig: DegradedRig = {
        var rig = DegradedRig()
        rig.options.memory = .entries(400)
        return rig
    }()

    private func degradedCache() async throws -> Cache<String, String> {
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        try await rig.fillDisk(cache)
        return cache
    }

    /// Returns when nothing is left to be told to the disk, by this or by the store's own thread.
    private func save(_ cache: Cache<String, String>) async {
        while true {
            await IOThread.run(name: "test-save") { cache.saveAll() }
            if cache.unsavedKeys().isEmpty { return }
            await Task.yield()
        }
    }

    @Test("What is to be told to the disk is looked for in steps, between which entries come and go")
    func steps() async throws {
        let cache = try await degradedCache()
        for number in 0..<100 { try await cache.set("new", for: "\(number)") }
        var found: [UnsavedKey<String>] = []
        var end: Int?
        var steps = 0
        repeat {
            steps += 1
            let step = cache.memory.withShard(at: 0) { $0.unsaved(below: end, slots: 7) }
            found += step.keys
            end = step.next
            // Places behind and ahead become free, and are taken again.
            try await cache.remove("\(steps)")
            try await cache.remove("\(99 - steps)")
            for place in ["behind", "ahead"] { try await cache.set("new", for: "\(place) \(steps)") }
            try await cache.set("newer", for: "50")
        } while end != nil
        #expect(steps > 10)
        let keys = Set(found.map(\.key))
        #expect(keys.count == found.count)
        for number in (steps + 1)..<(99 - steps) { #expect(keys.contains("\(number)"), "\(number)") }
        #expect(cache.unsavedKeys().count >= 100)
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        await save(cache)
        for number in (steps + 1)..<(99 - steps) { #expect(try await stored("\(number)", cache) != nil, "\(number)") }
        for number in 1...steps { #expect(try await stored("ahead \(number)", cache) != nil, "\(number)") }
        try await cache.store.close()
    }

    private func stored(_ key: String, _ cache: Cache<String, String>) async throws -> StoredEntry? {
        try await cache.disk?.engine.entry(Array(key.utf8), in: try #require(cache.disk).namespace)
    }

    @Test("It survives a restart and eviction, with its version, deadline, tags and source version")
    func survives() async throws {
        let cache = try await degradedCache()
        try await cache.set("new", for: "a")
        try await cache.remove(taggedWith: "u")
        try await cache.set("kept", for: "after", EntryOptions(tags: ["u"]))
        let options = EntryOptions(expiry: .minutes(5), tags: ["t"], sourceVersion: 7)
        let version = try await cache.set("full", for: "b", options)
        _ = try await cache.value(for: "loaded", load: { _ in "loaded" })
        let filler = try await cache.value(for: "filler")
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        await save(cache)
        #expect(try await stored("a", cache) != nil)
        for number in 0..<1000 { _ = try await cache.value(for: "other \(number)", load: { _ in "other" }) }
        #expect(cache.valueInMemory(for: "b") == nil)
        #expect(try await cache.entry(for: "b")?.version == version)
        #expect(try await cache.set("newer", for: "b", ifVersion: version, options) != nil)
        try await cache.store.close()
        let again = try await rig.cache()
        #expect(try await again.value(for: "a") == "new")
        #expect(try await again.value(for: "loaded") == "loaded")
        #expect(try await again.value(for: "filler") == filler)
        #expect(try await again.value(for: "after") == "kept")
        let late = await code { _ = try await again.set("late", for: "b", EntryOptions(sourceVersion: 6)) }
        #expect(late == .conditionFailed)
        #expect(try await again.value(for: "b") == "newer")
        try await again.remove(taggedWith: "t")
        #expect(try await again.value(for: "b") == nil)
        try await again.set("passing", for: "c", EntryOptions(expiry: .minutes(5)))
        rig.rig.clock.advance(by: .seconds(301))
        #expect(try await again.value(for: "c") == nil)
        #expect(try await again.value(for: "a") == "new")
        try await again.store.close()
    }

    @Test("A store that is closed on its way back takes it along")
    func closing() async throws {
        let cache = try await degradedCache()
        try await cache.set("new", for: "a")
        rig.files.capacity = nil
        try await cache.store.close()
        let again = try await rig.cache()
        #expect(try await again.value(for: "a") == "new")
        try await again.store.close()
    }

    @Test("The newest comes first, in pieces, by itself")
    func newestFirst() async throws {
        let cache = try await degradedCache()
        for number in 0..<300 { try await cache.set("\(number)", for: "\(number)") }
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        var isDone = false
        while !isDone {
            var found: [Bool] = []
            for number in 0..<300 { found.append(try await stored("\(number)", cache) != nil) }
            let first = found.firstIndex(of: true) ?? 300
            #expect(found[first...].allSatisfy { $0 })
            isDone = first == 0
            await Task.yield()
        }
        try await cache.store.close()
    }

    @Test(
        "Whatever is written, removed or invalidated after the return stands", arguments: 1...20 as ClosedRange<UInt64>)
    func races(seed: UInt64) async throws {
        let cache = try await degradedCache()
        for number in 0..<40 {
            try await cache.set("old", for: "key/\(number)", EntryOptions(tags: ["t\(number % 4)"]))
        }
        rig.files.capacity = nil
        #expect(await cache.tryReturn())
        let saving = Task { await save(cache) }
        var random = SplitMix(seed)
        var expected: [String: String?] = [:]
        for number in (0..<40).shuffled(using: &random) {
            let key = "key/\(number)"
            switch random.next() % 5 {
            case 0:
                try await cache.set("new", for: key)
                expected[key] = "new"
            case 1:
                try await cache.remove(key)
                expected[key] = .some(nil)
            case 2:
                try await cache.removeAll(withPrefix: key)
                for other in 0..<40 where "key/\(other)".hasPrefix(key) { expected["key/\(other)"] = .some(nil) }
            case 3:
                try await cache.update(key) { $0 = ($0 ?? "none") + "!" }
                let before = expected[key] ?? "old"
                expected[key] = (before ?? "none") + "!"
            default: break
            }
        }
        await saving.value
        await save(cache)
        for number in 0..<1000 { _ = try await cache.value(for: "other \(number)", load: { _ in "other" }) }
        for number in 0..<40 {
            let found = try await cache.value(for: "key/\(number)")
            let right = expected["key/\(number)"] ?? "old"
            #expect(found == right, "\(number), seed \(seed)")
        }
        try await cache.remove(taggedWith: "t1")
        for number in 0..<40 where number % 4 == 1 && expected["key/\(number)"] == nil {
            #expect(try await cache.value(for: "key/\(number)") == nil)
        }
        try await cache.store.close()
    }
}
