import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What the store takes on disk: budget and eviction, expired tables, slots, obsolete files.
@Suite struct SpaceTests {
    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.writing?.compaction.runHere()
    }

    @Test("Eviction keeps the store within its budget; what is there is right, what was deleted stays away")
    func budget() throws {
        var options = Fixture.options()
        options.memtableBytes = 256 << 10
        options.logSegmentBytes = 256 << 10
        options.compaction = .scaled(toMemtable: 256 << 10)
        options.diskBudgetBytes = 16 << 20
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options)
        for number in 0..<30_000 {
            try engine.put(
                Fixture.key(number % 24_000), Fixture.value(number, 0, 1000),
                EntryFields(sourceVersion: UInt64(number) + 1))
            if number % 100 == 0 { try engine.delete(Fixture.key(number / 2)) }
            if number % 250 == 0 { try settle(engine) }
            if number % 1000 == 0 {
                let statistics = engine.statistics
                #expect(statistics.tableBytes + statistics.logBytes <= 16 << 20, "at \(number)")
            }
        }
        try settle(engine)
        let statistics = engine.statistics
        #expect(statistics.entriesEvicted > 1000)
        #expect(engine.versions.version.floors.raised.count > 100, "what was dropped left its version as a floor")
        var present = 0
        for number in stride(from: 0, to: 24_000, by: 7) {
            guard let value = try engine.get(Fixture.key(number)) else {
                let older = EntryFields(sourceVersion: UInt64(number))
                let refused = failure { try engine.putIfNotOlder(Fixture.key(number), [1], older) }
                #expect(refused?.code == .conditionFailed, "key \(number): an evicted entry's version still counts")
                continue
            }
            present += 1
            let newest = number + 24_000 < 30_000 ? number + 24_000 : number
            #expect(value.bytes == Fixture.value(newest, 0, 1000), "key \(number)")
        }
        #expect(present > 500)
        try engine.close()
    }

    @Test("Tables whose every entry has expired go whole; expired bytes stay within their bound")
    func expired() throws {
        let clock = ManualClock()
        var options = Fixture.options(clock: clock)
        options.logRetentionBytes = 1 << 20
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        for hour in 0..<20 {
            let until = engine.storeTime + 3_600_000_000_000 * 4
            for number in 0..<300 {
                try engine.put(
                    Fixture.key(hour * 1000 + number), Fixture.value(number, hour), EntryFields(usableUntil: until))
            }
            try settle(engine)
            clock.advance(by: .seconds(3600))
            try settle(engine)
            let statistics = engine.statistics
            #expect(
                Double(statistics.expiredBytes) <= options.compaction.expiredShare * Double(statistics.tableBytes),
                "hour \(hour)")
        }
        #expect(engine.statistics.tablesDroppedExpired > 0)
        #expect(try Fixture.contents(engine).count == 4 * 300 - 300)
        clock.advance(by: .seconds(3600 * 10))
        try settle(engine)
        #expect(engine.statistics.tableBytes == 0)
        try engine.close()
    }

    @Test("A slot holds log back, up to its cap")
    func slots() throws {
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files)
        try engine.put([1], [1])
        try engine.registerSlot("reader", at: engine.position.lsn, capBytes: 512 << 10)
        let start = engine.statistics.oldestLSN
        func write(_ rounds: Int) throws {
            for round in 0..<rounds {
                try Fixture.fill(engine, 0..<300, round: round, valueBytes: 300)
                try settle(engine)
            }
        }
        try write(2)
        #expect(engine.statistics.oldestLSN == start, "within the cap")
        try engine.close()
        engine = try Fixture.store(files)
        #expect(engine.statistics.slots.map(\.name) == ["reader"], "a slot outlives its process")
        try write(10)
        #expect(engine.statistics.oldestLSN > start, "beyond the cap")
        #expect(engine.statistics.logBytes <= (512 << 10) + 3 * (64 << 10))
        try engine.removeSlot("reader")
        try write(1)
        #expect(engine.statistics.logBytes <= 4 * (64 << 10))
        #expect(code { try engine.registerSlot("", at: .zero) } == .invalidArgument)
        try engine.close()
    }

    @Test("Looking after the log again and again opens no segment but the one that grows")
    func sizesAreRemembered() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try engine.registerSlot("reader", at: .zero)
        try Fixture.fill(engine, 0..<1500, valueBytes: 300)
        try settle(engine)
        let bytes = engine.statistics.logBytes
        #expect(engine.statistics.logSegments > 4)
        files.recordCalls()
        try engine.writing?.compaction.runHere()
        #expect(files.recordedCalls.filter { $0.operation == .open && $0.path.contains(".log") }.count <= 1)
        #expect(engine.statistics.logBytes == bytes)
        try engine.close()
    }

    @Test("A slot's name as long as the limit survives reopening")
    func slotNames() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        var longest = 0
        for length in [1, 255, 256, 1024, 1025] {
            let name = String(repeating: "n", count: length)
            if code({ try engine.registerSlot(name, at: .zero) }) == nil { longest = length }
        }
        try engine.close()
        let again = try Fixture.store(files)
        #expect(again.statistics.slots.map(\.name.count).max() == longest)
        try again.close()
    }

    @Test("Obsolete tables stay until no reader holds them")
    func obsolete() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<300)
        try engine.flush()
        let old = try files.list("/store").filter { $0.hasSuffix(".sst") }
        var iterator: EngineIterator? = try engine.makeIterator()
        try iterator?.seekToFirst()
        try engine.compact()
        try settle(engine)
        #expect(Set(old).isSubset(of: try files.list("/store")))
        var count = 0
        while let now = iterator, now.isValid {
            count += 1
            try now.next()
        }
        #expect(count == 300)
        iterator = nil
        try settle(engine)
        #expect(Set(old).isDisjoint(with: try files.list("/store")))
        try engine.close()
    }

    @Test("A budget that the log alone would fill is refused")
    func impossibleBudget() {
        var options = Fixture.options()
        options.logSegmentBytes = 64 << 20
        options.logRetentionBytes = 1 << 30
        options.diskBudgetBytes = 64 << 20
        #expect(code { _ = try Fixture.store(SimulatedFileSystem(), options) } == .invalidArgument)
    }
}
