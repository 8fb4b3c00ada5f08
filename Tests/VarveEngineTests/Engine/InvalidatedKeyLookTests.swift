import Glibc
import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Tables are looked into for what a floor hides: what must be read, once, when there is nothing better to do, and never in vain.
@Suite struct InvalidatedKeyLookTests {
    private let files = SimulatedFileSystem()
    private let clock = ManualClock()
    private let floors = KeyFloors()

    /// Tables of ten entries each, which nothing merges by itself.
    private func store(tables: Int, _ adjust: (inout EngineOptions) -> Void = { _ in }) throws -> Engine {
        var options = Fixture.options(clock: clock)
        options.compaction.runs = 256
        options.judge = floors
        adjust(&options)
        let engine = try Fixture.store(files, options)
        for table in 0..<tables {
            try Fixture.fill(engine, table * 10..<(table + 1) * 10)
            try engine.flush()
        }
        return engine
    }

    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.runBackgroundWork()
    }

    /// Not those of the records of floors alone.
    private func tables(_ engine: Engine) -> Int {
        engine.versions.version.allTables.count { table in
            table.properties.namespaceShares?.contains { $0.namespace >= .firstUser } ?? true
        }
    }

    @Test("Tables are looked at once for each floor, and not at all without one, or written after it")
    func looks() throws {
        let floors = KeyFloors()
        var options = Fixture.options()
        options.judge = floors
        // No compaction, which would ask as well.
        options.compaction.levelZeroTrigger = 64
        options.compaction.levelZeroLimit = 64
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        func questions() -> Int { floors.questions }
        try Fixture.fill(engine, 0..<1000)
        try settle(engine)
        #expect(questions() == 0)
        try floors.raise(bytes("other"), to: 9, in: engine)
        try settle(engine)
        let first = questions()
        #expect(first > 0)
        let written = engine.statistics.compactedBytesWritten
        for _ in 0..<3 { try settle(engine) }
        #expect(questions() == first && engine.statistics.compactedBytesWritten == written)
        // New tables are all that comes.
        try Fixture.fill(engine, 5000..<5020)
        try settle(engine)
        #expect(questions() == first)
        try floors.raise(bytes("another"), to: 9, in: engine)
        try settle(engine)
        #expect(questions() > first && engine.statistics.entriesInvalidated == 0)
        try engine.close()
    }

    @Test("Of many tables some are looked at each time, until all are known")
    func manyTables() throws {
        let floors = KeyFloors()
        var options = Fixture.options()
        options.compaction.runs = 256
        options.judge = floors
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        let (tables, each) = (3 * ProbedShares.tablesPerLook, 10)
        for table in 0..<tables {
            try Fixture.fill(engine, table * each..<(table + 1) * each)
            try engine.flush()
        }
        #expect(engine.versions.version.allTables.count == tables && engine.isSettled)
        // As many again that are not hidden, in tables of which nothing need be read.
        try floors.raise([], to: 9, in: engine)
        for table in tables..<2 * tables {
            try Fixture.fill(engine, table * each..<(table + 1) * each)
            try engine.flush()
        }
        // Who asks does not wait for the disk.
        #expect(engine.isSettled && floors.questions == 0)
        _ = engine.writing?.compaction.choose()
        #expect(!engine.isSettled)
        #expect(floors.questions == ProbedShares.tablesPerLook * each)
        try settle(engine)
        let found = try Fixture.contents(engine)
        #expect(found.count < tables * each * 5 / 4, "\(found.count)")
        for number in tables * each..<2 * tables * each { #expect(found[Fixture.key(number)] != nil) }
        try engine.close()
    }

    @Test("What is more urgent than a rewrite comes before the look")
    func urgentFirst() throws {
        let engine = try store(tables: 4) {
            $0.compaction.runs = 0
            $0.compaction.levelZeroTrigger = 2
            $0.compaction.levelZeroLimit = 4
        }
        try floors.raise([], to: 9, in: engine)
        let compaction = try #require(engine.writing?.compaction)
        guard case .compact(let chosen) = compaction.choose() else { throw VarveError(.io, "level 0 is at its limit") }
        #expect(chosen.reason == .levelZero && floors.questions == 0)
        try settle(engine)
        #expect(try Fixture.contents(engine).isEmpty)
        try engine.close()
    }

    @Test("One who passes by looks once in five seconds, and a store that is to be closed waits for one table at most")
    func rate() throws {
        let engine = try store(tables: 3)
        let compaction = try #require(engine.writing?.compaction)
        func raise(_ prefix: String) throws { try floors.raise(bytes(prefix), to: 9, in: engine) }
        try raise("a")
        _ = compaction.choose()
        #expect(floors.questions == 30)
        try raise("b")
        for _ in 0..<3 { _ = compaction.choose() }
        #expect(floors.questions == 30)
        clock.advance(by: .seconds(5))
        for _ in 0..<3 { _ = compaction.choose() }
        #expect(floors.questions == 60)
        try raise("c")
        clock.advance(by: .seconds(5))
        floors.whenAsked.withLock { $0 = { compaction.stop() } }
        _ = compaction.choose()
        #expect(floors.questions == 70)
        _ = compaction.choose(looking: .atOnce)
        #expect(floors.questions == 70)
        floors.whenAsked.withLock { $0 = nil }
        try engine.close()
    }

    @Test("A disk so slow that a look takes longer than the pause after it holds nothing up")
    func slowDisk() throws {
        let engine = try store(tables: 70)
        let compaction = try #require(engine.writing?.compaction)
        try floors.raise(bytes("a"), to: 9, in: engine)
        floors.whenAsked.withLock { $0 = { [clock] in clock.advance(by: .seconds(1)) } }
        for _ in 0..<2 { _ = compaction.choose() }
        #expect(floors.questions == ProbedShares.tablesPerLook * 10)
        // Something comes up while it looks.
        clock.advance(by: .seconds(5))
        floors.whenAsked.withLock {
            $0 = { [clock] in
                clock.advance(by: .milliseconds(11))
                compaction.wakeUp()
            }
        }
        _ = compaction.choose()
        #expect(floors.questions == ProbedShares.tablesPerLook * 10 + 10)
        floors.whenAsked.withLock { $0 = nil }
        try engine.close()
    }

    @Test("Who wants all of it done does not look for ever where floors are raised faster than it looks")
    func movingFloors() throws {
        let engine = try store(tables: 70)
        let compaction = try #require(engine.writing?.compaction)
        try floors.raise(bytes("a"), to: 9, in: engine)
        let raises = Mutex(0)
        floors.whenAsked.withLock {
            $0 = { [floors] in
                let count = raises.withLock { raises in
                    raises += 1
                    return raises
                }
                if count % 100 == 0, count < 10_000 { try? floors.raise(bytes("b\(count)"), to: 9, in: engine) }
            }
        }
        _ = compaction.choose(looking: .atOnce)
        #expect(floors.questions == ProbedShares.tablesPerLook * 10 * 2)
        floors.whenAsked.withLock { $0 = nil }
        try engine.close()
    }

    @Test("What is hot in the block cache stays there")
    func blockCache() throws {
        let engine = try store(tables: 0) {
            $0.compaction.runs = 0
            $0.blockCacheBytes = 64 << 10
        }
        // Compressed, or no block would be in the cache.
        let value = [UInt8](repeating: 7, count: 400)
        for number in 0..<4000 { try engine.put(Fixture.key(number), value) }
        try engine.compact()
        let cache = engine.tables.cache
        func readHot() throws { for number in 0..<40 { #expect(try engine.get(Fixture.key(number))?.bytes == value) } }
        for _ in 0..<3 { try readHot() }
        let before = cache.statistics
        #expect(before.blocks > 0)
        try floors.raise(bytes("other"), to: 9, in: engine)
        try settle(engine)
        #expect(floors.questions > 100)
        let after = cache.statistics
        #expect(after.inserts == before.inserts && after.evictions == before.evictions)
        try readHot()
        #expect(cache.statistics.misses == after.misses)
        try engine.close()
    }

    /// The file of the newest table, of which nothing has been read yet.
    private func newestTable() throws -> String {
        let name = try #require(try files.list("/store").filter { $0.hasSuffix(".sst") }.max())
        return "/store/" + name
    }

    @Test("A table whose look failed is looked at again later, and hinders none of the others")
    func failedLook() throws {
        let engine = try store(tables: 4)
        let table = try newestTable()
        try floors.raise([], to: 9, in: engine)
        files.fail(EIO, sticky: true) { $0.operation == .read && $0.path == table }
        try settle(engine)
        let left = Set((30..<40).map { Fixture.key($0) })
        #expect(tables(engine) == 1 && engine.troubles.damage == nil)
        files.clearFaults()
        #expect(try Set(Fixture.contents(engine).keys) == left)
        // Not at once: a disk that cannot read would be asked again and again.
        try settle(engine)
        #expect(tables(engine) == 1)
        clock.advance(by: .nanoseconds(ProbedShares.failureSpan))
        try settle(engine)
        #expect(tables(engine) == 0)
        try engine.close()
    }

    @Test("What was known of a table before its look failed goes on to count")
    func formerShare() throws {
        // Compressed, and cached nowhere: each look has to read.
        let engine = try store(tables: 0) { $0.blockCacheBytes = 0 }
        for table in 0..<2 {
            for number in 0..<10 { try engine.put(Fixture.key(table * 10 + number), [UInt8](repeating: 7, count: 400)) }
            try engine.flush()
        }
        try floors.raise([], to: 9, in: engine)
        let compaction = try #require(engine.writing?.compaction)
        _ = compaction.choose()
        let asked = floors.questions
        #expect(!engine.isSettled && asked == 20)
        try floors.raise(bytes("other"), to: 9, in: engine)
        files.fail(EIO, sticky: true) { $0.operation == .read && $0.path.hasSuffix(".sst") }
        clock.advance(by: .seconds(5))
        _ = compaction.choose()
        #expect(!engine.isSettled && floors.questions == asked)
        files.clearFaults()
        try settle(engine)
        #expect(tables(engine) == 0)
        try engine.close()
    }

    @Test("A table that has rotted hinders no other, and is not read again once it is known for it")
    func damaged() throws {
        let engine = try store(tables: 4)
        let table = try newestTable()
        try files.corrupt(table, at: 100)
        try floors.raise([], to: 9, in: engine)
        try settle(engine)
        #expect(tables(engine) == 1)
        #expect(failure { try engine.compact() }?.code == .corruption)
        #expect(engine.troubles.damage?.path == table)
        for number in 40..<50 { try engine.put(Fixture.key(number), [1]) }
        try engine.flush()
        try floors.raise([], to: 10, in: engine)
        clock.advance(by: .nanoseconds(ProbedShares.failureSpan))
        let reads = Watched(0)
        files.observe { call in if call.operation == .read, call.path == table { reads.update { $0 += 1 } } }
        try settle(engine)
        #expect(tables(engine) == 1 && reads.current == 0)
        files.observe(nil)
        try engine.close()
    }

    @Test("Where a cache is closed or opened no table of another is looked at again, nor any of its own")
    func namespaces() throws {
        let engine = try store(tables: 3)
        let other = try engine.namespace(named: "other")
        for number in 0..<40 { try engine.put(Fixture.key(number), [1], in: other) }
        try floors.raise(bytes("x"), to: 9, in: engine)
        try floors.raise(bytes("x"), to: 9, of: other, in: engine)
        try settle(engine)
        let asked = (floors.questions(of: .default), floors.questions(of: other))
        #expect(asked == (30, 40))
        let closed = floors.forget(other)
        try settle(engine)
        floors.know(closed)
        try settle(engine)
        #expect((floors.questions(of: .default), floors.questions(of: other)) == asked)
        // A floor of the one is none of the other.
        try floors.raise(bytes("y"), to: 9, of: other, in: engine)
        try settle(engine)
        #expect((floors.questions(of: .default), floors.questions(of: other)) == (30, 80))
        try engine.close()
    }

    @Test("What a cache had hidden counts while it is open only, and again once it is")
    func closedShare() throws {
        let engine = try store(tables: 3)
        try floors.raise([], to: 9, in: engine)
        _ = engine.writing?.compaction.choose()
        #expect(!engine.isSettled)
        let closed = floors.forget(.default)
        #expect(engine.isSettled)
        try settle(engine)
        #expect(tables(engine) == 3)
        let asked = floors.questions
        floors.know(closed)
        #expect(!engine.isSettled && floors.questions == asked)
        try settle(engine)
        #expect(tables(engine) == 0)
        try engine.close()
    }
}
