import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Entries that a judge says nobody is shown any more leave the tables, and nothing else does.
@Suite struct DroppedTagTests {
    /// Knows when tags were dropped last.
    private final class Drops: InvalidationJudge {
        private let latest = Mutex<[UInt64: LSN]>([:])
        private let count = Atomic<UInt64>(0)
        var generation: UInt64 { count.load(ordering: .acquiring) }

        func invalidation(of entry: JudgedEntry) -> LSN? {
            latest.withLock { latest in entry.tags.compactMap { latest[$0] }.filter { $0 >= entry.version }.min() }
        }

        /// As a cache does: the record first.
        func drop(_ tag: UInt64, in engine: Engine) throws {
            let lsn = try engine.put([UInt8(tag)], [], in: .tagDrops)
            latest.withLock { $0[tag] = lsn }
            count.add(1, ordering: .releasing)
        }
    }

    private struct Held {
        var value: [UInt8]
        var tags: [UInt64]
        var lsn: LSN
    }

    /// The share that may be left: what the picker lets lie, by the samples, and five deviations of what these say.
    private func mostLeft(_ engine: Engine, _ options: CompactionOptions) -> Double {
        let tables = engine.versions.version.allTables
        let all = tables.reduce(0.0) { $0 + Double($1.bytes) }
        let variance = tables.reduce(0.0) { sum, table in
            let (part, sample) = (Double(table.bytes) / max(1, all), table.properties.tagSample)
            return sum + part * part / (4 * Double(sample.isEmpty ? TagSample.limit / 2 : Int(sample.count)))
        }
        return options.expiredShare * CompactionOptions.expiredSlack + 5 * variance.squareRoot()
    }

    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.runBackgroundWork()
    }

    /// Levels, or runs.
    @Test("Their bytes stay within a bound, beside snapshots that still see them", arguments: [0, 4], 1...4)
    func bounded(runs: Int, seed: Int) throws {
        var random = SplitMix(UInt64(seed))
        let drops = Drops()
        var options = Fixture.options()
        options.compaction.runs = runs
        options.judge = drops
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files, options)
        var (held, snapshots): ([Int: Held], [(Snapshot, [Int: Held])]) = ([:], [])
        func stands(_ entry: Held) -> Bool {
            drops.invalidation(of: JudgedEntry(namespace: 0, version: entry.lsn, tags: entry.tags)) == nil
        }
        for round in 0..<24 {
            for _ in 0..<150 {
                let number = Int(random.next() % 1200)
                let tags = (0..<random.next() % 3).map { _ in random.next() % 6 }
                var fields = EntryFields(sourceVersion: random.next() % 2 == 0 ? 1 : nil, tags: tags)
                fields.isPinned = random.next() % 4 == 0
                let value = Fixture.value(number, round)
                let lsn = try engine.put(Fixture.key(number), value, fields)
                held[number] = Held(value: value, tags: tags, lsn: lsn)
            }
            if random.next() % 3 == 0 { snapshots.append((engine.makeSnapshot(), held.filter { stands($0.value) })) }
            if random.next() % 3 == 0 { try drops.drop(random.next() % 6, in: engine) }
            try settle(engine)
            for (snapshot, then) in snapshots {
                let found = try Fixture.contents(engine, at: snapshot)
                for (number, entry) in then where found[Fixture.key(number)] != entry.value {
                    Issue.record("runs \(runs), seed \(seed), round \(round): the snapshot misses \(number)")
                }
            }
            if random.next() % 3 == 0 { snapshots.removeFirst(min(2, snapshots.count)) }
        }
        snapshots = []
        for tag in 0..<3 as Range<UInt64> { try drops.drop(tag, in: engine) }
        try settle(engine)
        func check(_ bound: Double) throws {
            let found = try Fixture.contents(engine)
            var hidden = 0
            for (number, entry) in held {
                if stands(entry) {
                    #expect(found[Fixture.key(number)] == entry.value, "seed \(seed): \(number)")
                } else if let value = found[Fixture.key(number)] {
                    #expect(value == entry.value, "seed \(seed): an older value of \(number) is back")
                    hidden += 1
                }
            }
            #expect(Double(hidden) <= bound * Double(found.count), "runs \(runs), seed \(seed): \(hidden) hidden")
        }
        #expect(engine.statistics.entriesInvalidated > 200)
        try check(mostLeft(engine, options.compaction))
        let written = engine.statistics.compactedBytesWritten
        try settle(engine)
        #expect(engine.statistics.compactedBytesWritten == written, "settled is settled")
        try engine.compact()
        try check(0)
        try engine.close()
        engine = try Fixture.store(files, options)
        try check(0)
        try engine.close()
    }

    @Test("Where power takes a drop that was not synced, the entry that it hid is still there", arguments: 1...8)
    func powerCut(seed: Int) throws {
        let drops = Drops()
        var options = Fixture.options(clock: ManualClock())
        options.durability = .interval(.seconds(3600))
        options.judge = drops
        var files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options)
        try engine.put([1], [1], EntryFields(tags: [7]), durability: .synced)
        try engine.flush()
        try drops.drop(7, in: engine)
        try engine.writing?.compaction.compactHere(nil)
        #expect(engine.statistics.entriesInvalidated == 1)
        files.cutPower()
        files = files.crash(seed: UInt64(seed))
        options.clock = ManualClock()
        options.judge = nil
        let again = try Fixture.store(files, options)
        let isDropped = try again.get([7], in: .tagDrops) != nil
        #expect(try again.get([1]) != nil || isDropped, "seed \(seed)")
        try again.close()
    }

    @Test("Records of the store's own, and entries without tags, are nobody's to judge")
    func notAsked() throws {
        struct Everything: InvalidationJudge {
            var generation: UInt64 { 1 }
            func invalidation(of entry: JudgedEntry) -> LSN? { LSN(1) }
        }
        var options = Fixture.options()
        options.judge = Everything()
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        try engine.put([1], [1], EntryFields(tags: [1]), in: .tagDrops)
        try engine.put([2], [2], EntryFields(valueType: 3))
        try engine.put([3], [3])
        try engine.put([4], [4], EntryFields(tags: [1]))
        try engine.compact()
        #expect(try engine.get([1], in: .tagDrops) != nil && engine.get([2]) != nil && engine.get([3]) != nil)
        #expect(try engine.get([4]) == nil)
        try engine.close()
    }
}
