import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Expiry after access: reads move the deadline, in memory and on disk, and write nothing to the log by themselves.
struct IdleTests {
    static let idle = Expiry(idle: .seconds(10))

    private func open(
        _ rig: CacheRig, _ expiry: Expiry = IdleTests.idle, memory: Int = 1000
    ) async throws -> Cache<String, Int> {
        var options = CacheOptions(memory: .entries(memory), expiry: expiry, policy: .fifo)
        options.warmRestart = nil
        return try await rig.cache(.disk, Int.self, options)
    }

    @Test("Reads move an idle deadline, never past the one from the write", arguments: CacheRig.Home.allCases)
    func limit(_ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        let options = CacheOptions(expiry: Expiry(usable: .seconds(15), idle: .seconds(10)))
        let cache = try await rig.cache(home, Int.self, options)
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(8))
        #expect(try await cache.value(for: "a") == 1)
        rig.clock.advance(by: .seconds(7) - .nanoseconds(1))
        #expect(try await cache.value(for: "a") == 1)
        rig.clock.advance(by: .nanoseconds(1))
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("The same for an entry that each read finds on disk")
    func limitOnDisk() async throws {
        let rig = CacheRig()
        let cache = try await open(rig, Expiry(usable: .seconds(15), idle: .seconds(10)), memory: 1)
        try await cache.set(1, for: "a")
        for step in 0..<6 {
            rig.clock.advance(by: .seconds(2))
            try await cache.set(0, for: "other \(step)")
            #expect(cache.valueInMemory(for: "a") == nil)
            #expect(try await cache.value(for: "a") == 1)
            cache.touchAll()
        }
        rig.clock.advance(by: .seconds(3))
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("What is read often lives through eviction from memory, and what nobody reads is gone")
    func eviction() async throws {
        let rig = CacheRig()
        let cache = try await open(rig, memory: 1)
        try await cache.set(1, for: "read")
        try await cache.set(2, for: "left alone")
        for step in 0..<10 {
            rig.clock.advance(by: .seconds(6))
            #expect(try await cache.value(for: "read") == 1, "step \(step)")
            cache.touchAll()
            try await cache.set(0, for: "other")
        }
        #expect(try await cache.value(for: "left alone") == nil)
        rig.clock.advance(by: .seconds(10))
        #expect(try await cache.value(for: "read") == nil)
        try await cache.close()
    }

    @Test("What is read often lives through a crash and a clean restart", arguments: [true, false])
    func restart(_ isClean: Bool) async throws {
        var rig = CacheRig()
        var cache = try await open(rig)
        try await cache.set(1, for: "read")
        try await cache.set(2, for: "left alone")
        for _ in 0..<4 {
            // As the background does, in good time.
            cache.touchAll()
            rig.clock.advance(by: .seconds(6))
            #expect(try await cache.value(for: "read") == 1)
        }
        if isClean {
            try await cache.close()
        } else {
            cache.touchAll()
            let files = rig.files.killProcess()
            try await cache.close()
            rig.files = files
        }
        cache = try await open(rig)
        rig.clock.advance(by: .seconds(9))
        #expect(try await cache.value(for: "left alone") == nil)
        #expect(try await cache.value(for: "read") == 1)
        rig.clock.advance(by: .seconds(10))
        #expect(try await cache.value(for: "read") == nil)
        try await cache.close()
    }

    @Test("No read writes to the log; the disk learns once in a quarter of the span at most")
    func coalesced() async throws {
        let rig = CacheRig()
        let cache = try await open(rig)
        try await cache.set(1, for: "a")
        let before = try #require(cache.statistics.disk).entriesLogged
        for _ in 0..<100 {
            rig.clock.advance(by: .milliseconds(24))
            _ = try await cache.value(for: "a")
            cache.touchAll()
        }
        // 2.4 of the 2.5 seconds.
        #expect(try #require(cache.statistics.disk).entriesLogged == before)
        for _ in 0..<1000 {
            rig.clock.advance(by: .milliseconds(25))
            #expect(try await cache.value(for: "a") == 1)
            cache.touchAll()
        }
        // 27.4 seconds are less than 11 quarters.
        let writes = try #require(cache.statistics.disk).entriesLogged - before
        #expect((8...11).contains(writes))
        try await cache.close()
    }

    @Test("Nor more often where a slow read brings home what the disk knew before")
    func coalescedBehindASlowRead() async throws {
        let rig = CacheRig()
        let cache = try await open(rig, memory: 1)
        let disk = try #require(cache.disk)
        try await cache.set(1, for: "a")
        let early = try #require(try await disk.entry(cache.keyBytes("a")))
        rig.clock.advance(by: .seconds(6))
        #expect(try await cache.value(for: "a") == 1)
        cache.touchAll()
        try await cache.set(0, for: "other")
        let before = try #require(cache.statistics.disk).entriesLogged
        rig.clock.advance(by: .seconds(1))
        #expect(cache.admit(early, "a", cache.memory.hash("a")) != nil)
        cache.touchAll()
        #expect(try #require(cache.statistics.disk).entriesLogged == before)
        // And what memory took for the disk's knowledge is put right: the next quarter counts from there.
        rig.clock.advance(by: .seconds(2))
        #expect(try await cache.value(for: "a") == 1)
        cache.touchAll()
        #expect(try #require(cache.statistics.disk).entriesLogged == before + 1)
        try await cache.close()
    }

    @Test("Nor twice where memory lets the entry go and reads it again before the disk is told")
    func coalescedOverEviction() async throws {
        let rig = CacheRig()
        let cache = try await open(rig, memory: 1)
        let disk = try #require(cache.disk)
        try await cache.set(1, for: "a")
        try await cache.set(0, for: "other", EntryOptions(expiry: .never))
        let before = try #require(cache.statistics.disk).entriesLogged
        rig.clock.advance(by: .seconds(6))
        var touches: [TouchedKeys<String>.Touch] = []
        for _ in 0..<3 {
            #expect(try await cache.value(for: "a") == 1)
            // Before the store's own thread takes them.
            touches += cache.memory.withShard(at: 0) { $0.takeTouched(100) }
            _ = try await cache.value(for: "other")
        }
        cache.touch(touches, disk)
        cache.touchAll()
        #expect(try #require(cache.statistics.disk).entriesLogged == before + 1)
        try await cache.close()
    }

    @Test("What is told once then is the latest of the deadlines", arguments: [[8, 9, 10], [10, 9, 8], [9, 10, 8]])
    func latestOverEviction(_ spans: [Int]) async throws {
        var rig = CacheRig()
        let cache = try await open(rig, memory: 1)
        let disk = try #require(cache.disk)
        try await cache.set(1, for: "a")
        let version = DiskTier.version(of: try #require(try await disk.entry(cache.keyBytes("a"))))
        try await cache.set(0, for: "other")
        #expect(cache.valueInMemory(for: "a") == nil)
        rig.clock.advance(by: .seconds(6))
        let before = try #require(cache.statistics.disk).entriesLogged
        let now = cache.store.clock.now()
        let touches = spans.map { span in
            TouchedKeys<String>.Touch(
                key: "a", hash: cache.memory.hash("a"), version: version, until: now + Int64(span) * 1_000_000_000)
        }
        cache.touch(touches, disk)
        #expect(try #require(cache.statistics.disk).entriesLogged == before + 1)
        let files = rig.files.killProcess()
        try await cache.close()
        rig.files = files
        let again = try await open(rig)
        rig.clock.advance(by: .seconds(10) - .nanoseconds(1))
        #expect(try await again.value(for: "a") == 1)
        try await again.close()
    }

    @Test("The background tells the disk by itself")
    func background() async throws {
        let rig = CacheRig()
        let cache = try await open(rig)
        try await cache.set(1, for: "a")
        let before = try #require(cache.statistics.disk).entriesLogged
        rig.clock.advance(by: .seconds(6))
        #expect(try await cache.value(for: "a") == 1)
        while try #require(cache.statistics.disk).entriesLogged == before { await Task.yield() }
        try await cache.close()
    }

    @Test("A moved deadline is no write: the entry's version stays, in memory and on disk")
    func version() async throws {
        let rig = CacheRig()
        let cache = try await open(rig, memory: 1)
        let version = try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(6))
        #expect(try await cache.value(for: "a") == 1)
        cache.touchAll()
        #expect(try await cache.entry(for: "a")?.version == version)
        try await cache.set(0, for: "other")
        #expect(try await cache.entry(for: "a")?.version == version)
        #expect(try await cache.set(2, for: "a", ifVersion: version) != nil)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("A moved deadline brings nothing back: not what was removed, written, dropped by tag, or has expired")
    func bringsNothingBack() async throws {
        let rig = CacheRig()
        let cache = try await open(rig, memory: 100)
        for key in ["kept", "removed", "written", "prefix", "tagged", "expired"] {
            try await cache.set(1, for: key, EntryOptions(tags: key == "tagged" ? ["t"] : []))
        }
        rig.clock.advance(by: .seconds(6))
        for key in ["kept", "removed", "written", "prefix", "tagged", "expired"] {
            #expect(try await cache.value(for: key) == 1)
        }
        try await cache.remove("removed")
        try await cache.set(2, for: "written")
        try await cache.removeAll(withPrefix: "prefix")
        try await cache.remove(taggedWith: "t")
        rig.clock.advance(by: .seconds(6))
        #expect(try await cache.value(for: "kept") == 1)
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.value(for: "expired") == nil)
        cache.touchAll()
        try await cache.close()
        let again = try await open(rig)
        #expect(try await again.value(for: "removed") == nil)
        #expect(try await again.value(for: "prefix") == nil)
        #expect(try await again.value(for: "tagged") == nil)
        #expect(try await again.value(for: "expired") == nil)
        try await again.close()
    }

    @Test("A conditional write sees an entry that only memory knows to be alive")
    func conditional() async throws {
        let rig = CacheRig()
        let cache = try await open(rig)
        let version = try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(9))
        #expect(cache.valueInMemory(for: "a") == 1)
        rig.clock.advance(by: .seconds(9))
        #expect(try await cache.add(2, for: "a") == nil)
        #expect(try await cache.set(3, for: "a", ifVersion: version) != nil)
        #expect(try await cache.value(for: "a") == 3)
        try await cache.close()
    }

    @Test("Memory is given back of what nobody reads, and of nothing else")
    func memoryIsGivenBack() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.memory, Int.self, CacheOptions(expiry: IdleTests.idle))
        for number in 0..<1000 { try await cache.set(number, for: "\(number)") }
        rig.clock.advance(by: .seconds(8))
        #expect(try await cache.value(for: "7") == 7)
        rig.clock.advance(by: .seconds(5))
        await cache.store.maintained()
        #expect(cache.statistics.memoryEntries == 1)
        rig.clock.advance(by: .seconds(10))
        await cache.store.maintained()
        #expect(cache.statistics.memoryEntries == 0)
    }

    @Test("What the disk keeps of an idle deadline")
    func record() throws {
        let record = try #require(IdleRecord(IdleRule(span: 10, limit: 35), until: 20))
        var fields = EntryFields()
        record.write(to: &fields)
        let version = UInt64.max - 1
        IdleRecord.carry(version, in: &fields)
        #expect(fields.usableUntil == 30)
        #expect(IdleRecord(fields.extensions) == record)
        #expect(IdleRecord.carriedVersion(fields.extensions) == version)
        let later = try #require(IdleRecord(IdleRule(span: 10, limit: 35), until: 30))
        later.write(to: &fields)
        #expect(fields.usableUntil == 35)
        #expect(fields.extensions.count == 2)
        #expect(IdleRecord(.none, until: 5) == nil)
        #expect(IdleRecord([EntryExtension(tag: 2, bytes: [1, 2, 3])]) == nil)
        #expect(IdleRecord([EntryExtension(tag: 2, bytes: [UInt8](repeating: 0xFF, count: 24))]) == nil)
    }
}
