import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A table that rots is no reason to refuse writes: compactions go round it, and nothing that it hides comes back.
@Suite struct DamagedTableTests {
    enum Shape: String, CaseIterable, Sendable {
        case levels, fullLevels, runs

        var options: EngineOptions {
            var options = Fixture.options(clock: ManualClock())
            options.compaction.levelZeroTrigger = 2
            options.compaction.levelZeroLimit = 4
            options.compaction.baseBytes = 4 << 10
            options.compaction.tableBytes = 4 << 10
            guard self != .levels else { return options }
            options.diskBudgetEntries = 200
            options.memtableEntries = 20
            options.compaction.runs = self == .runs ? 10 : 0
            options.eviction = S3FIFOEviction(expectedEntries: 200)
            return options
        }
    }

    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.writing?.compaction.runHere()
    }

    private func tables(_ files: SimulatedFileSystem) throws -> [String] {
        try files.list("/store").filter { $0.hasSuffix(".sst") }.map { "/store/" + $0 }
    }

    /// A store whose next merge has to read a block that rotted.
    private func rotted(_ options: EngineOptions = Fixture.options()) throws -> (SimulatedFileSystem, String) {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options())
        try Fixture.fill(engine, 0..<300)
        try engine.compact()
        try engine.close()
        let table = try #require(try tables(files).last)
        try files.corrupt(table, at: 700)
        return (files, table)
    }

    @Test("A merge that meets rot leaves writes be, is tried once, and says which table and where")
    func goesRound() throws {
        let (files, table) = try rotted()
        let engine = try Fixture.store(files)
        for round in 1...20 {
            try Fixture.fill(engine, 0..<300, round: round)
            try settle(engine)
            #expect(engine.versions.version.levels[0].tables.count <= 9, "round \(round)")
        }
        #expect(engine.troubles.failure == nil && engine.troubles.passing == nil)
        #expect(engine.troubles.damage?.path == table && engine.troubles.damage?.offset != nil)
        #expect(engine.statistics.backgroundFailure?.contains(table) == true)
        #expect(engine.isSettled)
        #expect(engine.statistics.compactions > 2, "level 0 is merged where it is")
        for number in 0..<300 { #expect(try engine.get(Fixture.key(number))?.bytes == Fixture.value(number, 20)) }
        #expect(try engine.verify().damage.map(\.path) == [table])
        #expect(failure { try engine.compact() }?.code == .corruption, "who asks for it by name is told")
        #expect(engine.troubles.failure == nil)
        try engine.put(Fixture.key(0), [1])
        try engine.close()
        let again = try Fixture.store(files)
        #expect(again.troubles.damage == nil)
        try settle(again)
        try again.close()
    }

    @Test("So does the thread of a store that has one")
    func thread() throws {
        let (files, table) = try rotted()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        for round in 1...20 {
            try Fixture.fill(engine, 0..<300, round: round)
            try engine.flush()
        }
        for _ in 0..<2 { #expect(failure { try engine.compact() }?.code == .corruption) }
        while !engine.isSettled { sched_yield() }
        #expect(engine.troubles.failure == nil && engine.troubles.damage?.path == table)
        try engine.put(Fixture.key(0), [1])
        try engine.close()
    }

    @Test("A disk that refuses to read a table hinders no more than that, and is asked again later")
    func refusedRead() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<300)
        try engine.compact()
        let table = try #require(try tables(files).last)
        files.fail(EIO, sticky: true) { $0.operation == .read && $0.path == table }
        for round in 1...5 {
            try Fixture.fill(engine, 0..<300, round: round)
            try settle(engine)
        }
        #expect(engine.troubles.failure == nil && engine.troubles.damage?.code == .io)
        files.clearFaults()
        engine.writing?.compaction.forgetRefusals(until: .now + .seconds(61))
        try settle(engine)
        #expect(engine.troubles.damage == nil)
        #expect(engine.versions.version.levels[0].tables.isEmpty)
        try engine.close()
    }

    @Test("The filter of a table whose map has failed is not believed: nothing that was hidden shows on a well device")
    func failedMap() throws {
        let files = SimulatedFileSystem()
        let clock = ManualClock()
        var options = Fixture.options(clock: clock)
        options.compaction.runs = 10
        var engine = try Fixture.store(files, options)
        try Fixture.fill(engine, 0..<100)
        try settle(engine)
        let older = try #require(try tables(files).last)
        // Opens the table, so that it is its map that fails.
        #expect(try engine.get(Fixture.key(0)) != nil)
        let until = engine.storeTime + 1_000_000_000
        for number in 0..<110 {
            let fields = EntryFields(usableUntil: number < 100 ? until : nil)
            try engine.put(Fixture.key(number), Fixture.value(number, 1), fields)
        }
        try settle(engine)
        let file = try files.open(older, .readWrite)
        let content = try file.readAll(atMost: 1 << 30)
        try file.truncate(to: 0)
        clock.advance(by: .seconds(2))
        try settle(engine)
        #expect(engine.statistics.compactions == 1)
        try file.write(content, at: 0)
        file.close()
        try engine.close()
        engine = try Fixture.store(files, options)
        let shown = try (0..<100).count { try engine.get(Fixture.key($0)) != nil }
        #expect(shown == 0, "entries that show what their keys had before")
        try engine.close()
    }

    @Test("A scan whose table's map has failed says so wherever it begins, and leaves nothing out")
    func failedMapUnderScan() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<300)
        try settle(engine)
        #expect(try engine.get(Fixture.key(0)) != nil)
        let table = try #require(try tables(files).last)
        try files.open(table, .readWrite).truncate(to: 0)
        let found = (0..<300).count { number in
            failure {
                let iterator = try engine.makeIterator()
                try iterator.seek(to: Fixture.key(number))
            } == nil
        }
        #expect(found == 0, "seeks that showed something, or nothing at all")
        try engine.close()
    }

    @Test(
        "Against a model, a table rotting anywhere: writes go on, nothing old comes back, level 0 and budget hold",
        arguments: 1...8 as ClosedRange<UInt64>, Shape.allCases)
    func model(seed: UInt64, shape: Shape) throws {
        var random = SplitMix(seed)
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files, shape.options)
        var model: [Int: [UInt8]] = [:]
        var rotten: [String] = []
        var refused = 0
        for step in 0..<4000 {
            let place: Comment = "seed \(seed), \(shape), step \(step), \(rotten)"
            let number = Int.random(in: 0..<600, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<60:
                model[number] = Fixture.value(number, step, 30)
                try engine.put(Fixture.key(number), Fixture.value(number, step, 30))
            case 60..<80:
                do {
                    let found = try engine.get(Fixture.key(number))?.bytes
                    #expect(found == model[number] || (found == nil && shape != .levels), place)
                } catch {
                    #expect(error.path.map(rotten.contains) ?? false, place)
                    refused += 1
                }
            case 80..<85:
                model[number] = nil
                try engine.delete(Fixture.key(number))
            case 85:
                try engine.deleteRange(from: Fixture.key(number), to: Fixture.key(number + 20))
                for gone in number..<number + 20 { model[gone] = nil }
            default:
                try settle(engine)
                #expect(engine.versions.version.levels[0].tables.count <= (shape == .runs ? 26 : 12), place)
                if shape != .levels { #expect(engine.versions.version.putCount <= 280, place) }
            }
            #expect(engine.troubles.failure == nil, place)
            guard step == 1000 || step == 2000 else { continue }
            try settle(engine)
            try engine.close()
            let table = try #require(try tables(files).randomElement(using: &random))
            let file = try files.open(table, .read)
            try files.corrupt(table, at: Int.random(in: 0..<Int(file.size()), using: &random))
            file.close()
            rotten.append(table)
            engine = try Fixture.store(files, shape.options)
        }
        try settle(engine)
        #expect(engine.isSettled)
        let names = Set(engine.versions.version.allTables.map { "/store/" + FileName.table($0.number).text })
        let damage = engine.troubles.damage
        #expect(damage.map { rotten.contains($0.path ?? "") && names.contains($0.path ?? "") } ?? true, "seed \(seed)")
        #expect(try engine.verify().damage.allSatisfy { rotten.contains($0.path ?? "") }, "seed \(seed)")
        try engine.close()
    }
}
