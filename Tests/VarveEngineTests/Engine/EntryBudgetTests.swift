import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A budget in entries, with writers that are faster than compaction.
@Suite struct EntryBudgetTests {
    private func open(_ budget: UInt64) throws -> Engine {
        var options = Fixture.options(threads: true, clock: ManualClock())
        options.diskBudgetEntries = budget
        options.memtableEntries = Int(budget) / 20
        options.sealedMemtables = 1
        options.compaction.runs = 20
        options.eviction = S3FIFOEviction(expectedEntries: Int(budget))
        return try Fixture.store(SimulatedFileSystem(), options)
    }

    @Test(
        "Tables are above their budget by one flush at most, however fast writers are",
        arguments: 1...3 as ClosedRange<UInt64>)
    func writersThatOutrunCompaction(seed: UInt64) throws {
        var random = SplitMix(seed)
        let engine = try open(400)
        var most: UInt64 = 0
        for number in 0..<12_000 {
            try engine.put(Fixture.key(number), Fixture.value(number, 0))
            most = max(most, engine.versions.version.putCount)
            // What was read stays for longer, so that sweeps have to pass over it.
            _ = try engine.get(Fixture.key(Int.random(in: max(0, number - 400)...number, using: &random)))
        }
        #expect(most > 400, "it was never full")
        #expect(most <= 420, "\(most) entries where 400 may be, and 20 come with a flush")
        #expect(engine.statistics.entriesEvicted > 10_000)
        try engine.close()
    }

    @Test("What nobody may forget does not keep flushes waiting")
    func pinned() throws {
        let engine = try open(200)
        var fields = EntryFields()
        fields.isPinned = true
        for number in 0..<240 { try engine.put(Fixture.key(number), [1], fields) }
        try engine.flush()
        #expect(engine.versions.version.putCount == 240)
        #expect(try (0..<240).allSatisfy { try engine.get(Fixture.key($0)) != nil })
        try engine.close()
    }

    @Test("What an old snapshot holds does not keep flushes waiting")
    func snapshot() throws {
        let engine = try open(200)
        try Fixture.fill(engine, 0..<100)
        let snapshot = engine.makeSnapshot()
        for round in 1...3 {
            for number in 0..<40 { try engine.put(Fixture.key(number), Fixture.value(number, round)) }
        }
        try engine.flush()
        #expect(try engine.get(Fixture.key(39))?.bytes == Fixture.value(39, 3))
        withExtendedLifetime(snapshot) {}
        try engine.close()
    }

    @Test("A store that was closed leaves nothing behind in memory", arguments: [nil, 200] as [UInt64?])
    func closed(budget: UInt64?) throws {
        weak var compaction: CompactionLoop?
        weak var flushing: FlushLoop?
        do {
            let engine = try budget.map(open) ?? Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
            try Fixture.fill(engine, 0..<1000)
            compaction = engine.writing?.compaction
            flushing = engine.writing?.flushing
            #expect(compaction != nil && flushing != nil)
            try engine.close()
        }
        #expect(compaction == nil && flushing == nil)
    }
}
