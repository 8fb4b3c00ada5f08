import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import Varve
@testable import VarveEngine

/// A log that failed takes no more writes: the store is opened anew beside the engine that is still read, and goes on
/// there.
struct ReopeningTests {
    private let rig = DegradedRig()

    private func failedCache() async throws -> Cache<String, String> {
        let cache = try await rig.cache()
        for name in ["set", "removed", "kept", "prefix/1"] { try await cache.set("old", for: name) }
        try await cache.set("old", for: "tagged", EntryOptions(tags: ["t"]))
        rig.failLog()
        try await cache.set("new", for: "set")
        try await cache.remove("removed")
        try await cache.removeAll(withPrefix: "prefix/")
        try await cache.remove(taggedWith: "t")
        return cache
    }

    private func expect(_ cache: Cache<String, String>, set: [String?], kept: [String?] = ["old"], _ message: String)
        async throws
    {
        let found = try await cache.value(for: "set")
        #expect(set.contains(found), "\(found ?? "nil"), \(message)")
        let untouched = try await cache.value(for: "kept")
        #expect(kept.contains(untouched), "\(untouched ?? "nil"), \(message)")
        for name in ["removed", "prefix/1", "tagged"] {
            #expect(try await cache.value(for: name) == nil, "\(name), \(message)")
        }
    }

    @Test("A failing log: changes go on in memory, and the store returns to the disk once that takes writes")
    func returns() async throws {
        let cache = try await failedCache()
        try await rig.evictAll(cache)
        try await expect(cache, set: [nil], "while the log fails")
        try await cache.set("new", for: "set")
        #expect(await !cache.tryReturn())
        #expect(cache.isDegraded)
        try await expect(cache, set: ["new"], "after an attempt")
        rig.files.clearFaults()
        let version = try #require(try await cache.entry(for: "set")?.version)
        #expect(await cache.tryReturn())
        #expect(cache.health.isHealthy)
        try await expect(cache, set: ["new"], "after the return")
        #expect(try await cache.set("newer", for: "set", ifVersion: version) != nil)
        try await rig.evictAll(cache)
        try await expect(cache, set: ["newer"], "after eviction")
        let again = try await rig.crashed(1).cache()
        try await expect(again, set: ["newer"], "after a crash")
        try await again.store.close()
        try await cache.store.close()
        let last = try await rig.cache()
        try await expect(last, set: ["newer"], "after a restart")
        try await last.store.close()
    }

    @Test("It returns by itself, and keeps other openers out all the while")
    func byItself() async throws {
        let cache = try await failedCache()
        let isInUse = { await code { _ = try await rig.store() } == .storeInUse }
        #expect(await isInUse())
        rig.files.clearFaults()
        rig.rig.clock.advance(by: .seconds(2))
        while cache.isDegraded { await Task.yield() }
        #expect(await isInUse())
        try await expect(cache, set: ["new"], "after the return")
        let statistics = try #require(cache.statistics.disk)
        #expect(statistics.entriesLogged >= 5)
        #expect(cache.statistics.ownDisk?.entriesLogged ?? 0 >= 5, "what the engine before had counted is not lost")
        try await cache.store.close()
        let last = try await rig.cache()
        try await last.store.close()
    }

    @Test("An opening that fails at any call leaves the store in memory and readable, and the next one succeeds")
    func everyCall() async throws {
        var call = 0
        var isDone = false
        while !isDone {
            call += 1
            let rig = DegradedRig()
            let cache = try await rig.cache()
            // What fails after the return would send the store to memory again.
            let door = await cache.store.unattended()
            defer { door.update { $0.isOpen = true } }
            for name in ["set", "kept"] { try await cache.set("old", for: name) }
            rig.failLog()
            try await cache.set("new", for: "set")
            rig.files.clearFaults()
            let calls = Watched(0)
            let first = call
            rig.files.fail(EIO, sticky: true) { _ in
                calls.update {
                    $0 += 1
                    return $0 >= first
                }
            }
            isDone = await cache.tryReturn()
            #expect(cache.isDegraded != isDone)
            rig.files.clearFaults()
            #expect(try await cache.value(for: "set") == "new", "call \(call)")
            #expect(try await cache.value(for: "kept") == "old", "call \(call)")
            if !isDone {
                try await cache.set("newer", for: "set")
                #expect(await cache.tryReturn(), "call \(call)")
                try await cache.set("last", for: "set")
                #expect(try await cache.value(for: "kept") == "old", "call \(call)")
                let again = try await rig.crashed(UInt64(call)).cache()
                #expect(try await again.value(for: "set") == "last", "call \(call)")
                #expect(try await again.value(for: "kept") == "old", "call \(call)")
                try await again.store.close()
            }
            door.update { $0.isOpen = true }
            try await cache.store.close()
        }
        #expect(call > 20)
    }

    @Test("Power goes at any call of the way back: nothing old comes back", arguments: 1...2 as ClosedRange<UInt64>)
    func powerCut(seed: UInt64) async throws {
        var change = 0
        var isDone = false
        while !isDone {
            change += 1
            let rig = DegradedRig()
            let cache = try await rig.cache()
            for name in ["set", "removed", "kept"] { try await cache.set("old", for: name) }
            rig.failLog()
            try await cache.set("new", for: "set")
            try await cache.remove("removed")
            rig.files.clearFaults()
            rig.files.cutPower(atChange: rig.files.changeCount + change)
            let hasReturned = await cache.tryReturn()
            let isSet = await code { _ = try await cache.set("newer", for: "set") } == nil
            isDone = !rig.files.isPowerCut
            let again = try await rig.crashed(seed &* 1000 &+ UInt64(change)).cache(.throwing)
            let found = try await again.value(for: "set")
            let message = "seed \(seed), change \(change)"
            #expect(found == nil || found == "newer" || (!isSet && found == "new"), "\(found ?? "nil"), \(message)")
            #expect(try await again.value(for: "removed") == nil, "\(message)")
            let kept = try await again.value(for: "kept")
            #expect(kept == nil || kept == "old", "\(message)")
            if hasReturned, isSet { #expect(found == "newer" && kept == "old", "\(message)") }
            try await again.store.close()
            _ = await code { try await cache.store.close() }
        }
        #expect(change > 15)
    }

    @Test("What was seen and the disk then lost does not show what was there before it")
    func lostTail() async throws {
        let cache = try await rig.cache()
        for name in ["a", "b", "kept", "prefix/1"] { try await cache.set("old", for: name) }
        try await cache.set("old", for: "tagged", EntryOptions(tags: ["t"]))
        let engine = try #require(cache.store.engine)
        let log = try #require(try rig.files.list(CacheRig.path).filter { $0.hasSuffix(".log") }.max())
        let end = try rig.files.open(CacheRig.path + "/" + log, .read).readAll(atMost: 1 << 20).lastIndex { $0 != 0 }
        // Seen, and not yet durable.
        rig.files.fail(EIO, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
        let weak = EntryOptions(sourceVersion: 7, durability: .interval)
        try await cache.set("new", for: "a", weak)
        try await cache.remove("b", durability: .interval)
        try await cache.removeAll(withPrefix: "prefix/", durability: .interval)
        try await cache.remove(taggedWith: "t", durability: .interval)
        #expect(engine.visible.rawValue > 0)
        try await cache.set("x", for: "synced")
        #expect(cache.isDegraded)
        rig.files.clearFaults()
        // The first frame after what is durable.
        try rig.files.corrupt(CacheRig.path + "/" + log, at: try #require(end) + 20)
        try await rig.evictAll(cache)
        #expect(try await cache.value(for: "a") == "new")
        #expect(await cache.tryReturn())
        try await rig.evictAll(cache)
        let next = try await rig.crashed(3).cache()
        for (name, cache) in [("here", cache), ("after a crash", next)] {
            let found = try await cache.value(for: "a")
            #expect(found == nil || found == "new", "\(name)")
            for key in ["b", "prefix/1", "tagged"] {
                #expect(try await cache.value(for: key) == nil, "\(key) \(name)")
            }
            #expect(try await cache.value(for: "kept") == "old", "\(name)")
            let late = await code { _ = try await cache.set("late", for: "a", EntryOptions(sourceVersion: 6)) }
            #expect(late == .conditionFailed, "\(name)")
        }
        try await next.store.close()
        try await cache.store.close()
    }

    @Test("A log that fails while nobody writes is noticed all the same")
    func noticed() async throws {
        let cache = try await rig.cache { $0.durability = .interval(.milliseconds(1)) }
        rig.failLog()
        try await cache.set("seen", for: "a", EntryOptions(durability: .interval))
        while !cache.isDegraded { await Task.yield() }
        #expect(try await cache.value(for: "a") == "seen")
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        #expect(cache.health.isHealthy)
        try await cache.store.close()
    }

    @Test("Work in the background that stops writes is noticed, whatever it met")
    func noticedDamage() async throws {
        let cache = try await rig.cache()
        try await cache.set("kept", for: "a")
        cache.store.engine?.health.stop(VarveError(.io, "a table could not be written"))
        while !cache.isDegraded { await Task.yield() }
        #expect(await cache.tryReturn())
        #expect(try await cache.value(for: "a") == "kept")
        try await cache.store.close()
    }

    @Test("A write that was seen before its log failed is made once: others may have changed the key since")
    func seenAndThenFailed() async throws {
        let cache = try await rig.cache { $0.durability = .interval(.milliseconds(1)) }
        let weak = EntryOptions(durability: .interval)
        rig.failLog()
        let door = Watched((isReached: false, isOpen: false))
        rig.files.observe { call in
            guard call.operation == .sync, call.path.contains(".log") else { return }
            door.update { $0.isReached = true }
            door.wait { $0.isOpen }
        }
        try await cache.set("other", for: "other", weak)
        await door.reached { $0.isReached }
        // Writes wait for a sync that is older than their interval, when everybody sees them already.
        try await Task.sleep(for: .milliseconds(2))
        let write = Task { try await cache.set("seen", for: "a", weak) }
        var seen: UInt64?
        while seen == nil {
            await Task.yield()
            seen = try await cache.disk?.entry(Array("a".utf8))?.version.rawValue
        }
        #expect(!cache.isDegraded)
        door.update { $0.isOpen = true }
        #expect(try await write.value.number == seen)
        #expect(cache.isDegraded)
        #expect(try await cache.value(for: "a") == "seen")
        rig.files.observe(nil)
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        #expect([nil, "seen"].contains(try await cache.value(for: "a")))
        try await cache.store.close()
    }

    @Test("A write whose outcome is unknown shows neither what it wrote nor what was there before")
    func unknownOutcome() async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        let version = try #require(try await cache.entry(for: "a")?.version)
        rig.failLog()
        #expect(await code { _ = try await cache.set("new", for: "a", ifVersion: version) } != nil)
        #expect(try await cache.value(for: "a") == nil)
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await cache.add("other", for: "a") != nil)
        try await cache.store.close()
    }

    @Test("Caches of several names, open or opened later, and the store's feeds go on with the new engine")
    func several() async throws {
        let store = try await rig.store()
        let one: Cache<String, String> = try await store.cache(named: "one", rig.options)
        let two: Cache<String, String> = try await store.cache(named: "two", rig.options)
        try await one.set("old", for: "a")
        try await two.set("old", for: "a")
        let slot = try await one.changeSlot(named: "slot")
        rig.failLog()
        try await one.set("new", for: "a")
        try await two.remove("a")
        try await two.close()
        rig.files.clearFaults()
        #expect(await one.tryReturn())
        let again: Cache<String, String> = try await store.cache(named: "two", rig.options)
        #expect(try await again.value(for: "a") == nil)
        #expect(try await one.value(for: "a") == "new")
        try await slot.acknowledge(try one.changeCursor)
        #expect(try slot.cursor == one.changeCursor)
        var changes = try one.changes(since: try one.changeCursor).makeAsyncIterator()
        try await one.set("newer", for: "a")
        while let change = try await changes.next() { if case .set = change.event { break } }
        try await store.close()
    }

    @Test("A store that cannot come back is closed all the same, and its lock is free")
    func closesFailed() async throws {
        let cache = try await failedCache()
        #expect(await !cache.tryReturn())
        _ = await code { try await cache.store.close() }
        rig.files.clearFaults()
        let again = try await rig.cache()
        for name in ["set", "removed", "kept", "prefix/1", "tagged"] {
            #expect(try await again.value(for: name) == nil, "\(name)")
        }
        try await again.set("x", for: "set")
        try await again.store.close()
    }

    @Test("A table that cannot be written stops the engine, and the store comes back from that as well")
    func failingTable() async throws {
        let cache = try await rig.cache()
        try await cache.set("old", for: "a")
        try await cache.set("old", for: "b")
        rig.files.fail(EIO, sticky: true) { $0.path.hasSuffix(".sst") && $0.operation != .open }
        let engine = try #require(cache.store.engine)
        _ = await code { try await engine.flush() }
        while engine.troubles.failure == nil { await Task.yield() }
        try await cache.set("new", for: "a")
        #expect(cache.isDegraded)
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        try await cache.store.engine?.flush()
        try await rig.evictAll(cache)
        #expect(try await cache.value(for: "b") == "old")
        #expect(try await cache.value(for: "a") != "old")
        try await cache.store.close()
    }

    @Test("What an engine met that was replaced since is no reason to leave the one in its place")
    func blamesNobodyElse() async throws {
        let cache = try await failedCache()
        let degraded = try #require(cache.store.degraded)
        let old = degraded.engine
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        // A writer who was held up since his write had failed.
        let late = VarveError(.failedStop, "the log stopped")
        await degraded.enter(late, of: old)
        #expect(!cache.isDegraded)
        #expect(cache.statistics.degradation?.episodes == 1)
        await degraded.enter(late, of: degraded.engine)
        #expect(cache.isDegraded)
        try await cache.store.close()
    }

    @Test("Who goes over to memory waits for those who are within, though he is cancelled, and then does it")
    func drains() async throws {
        let cache = try await rig.cache()
        let degraded = try #require(cache.store.degraded)
        _ = await degraded.begin()
        let entering = Task { await degraded.enter(VarveError(.io, "no write is taken"), of: degraded.engine) }
        while degraded.beginOnDisk() {
            degraded.end()
            await Task.yield()
        }
        entering.cancel()
        for _ in 0..<100 { await Task.yield() }
        #expect(!cache.isDegraded)
        degraded.end()
        await entering.value
        #expect(cache.isDegraded)
        #expect(await cache.tryReturn())
        try await cache.store.close()
    }
}
