import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Entries that a judge says nobody is shown any more, by their keys and versions, leave the tables, and nothing else does.
@Suite struct InvalidatedKeyTests {
    private struct Held {
        var value: [UInt8]
        var sourceVersion: UInt64?
        var lsn: LSN
    }

    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.runBackgroundWork()
    }

    /// Levels, or runs.
    @Test("Their bytes stay within a bound, beside snapshots that still see them", arguments: [0, 4], 1...4)
    func bounded(runs: Int, seed: Int) throws {
        var random = SplitMix(UInt64(seed))
        let floors = KeyFloors()
        var options = Fixture.options()
        options.compaction.runs = runs
        options.judge = floors
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files, options)
        var (held, snapshots): ([Int: Held], [(Snapshot, [Int: Held])]) = ([:], [])
        func stands(_ number: Int, _ entry: Held) -> Bool {
            floors.earliest(Fixture.key(number), entry.sourceVersion, entry.lsn) == nil
        }
        for round in 1...24 {
            for _ in 0..<150 {
                let number = Int(random.next() % 1200)
                let version: UInt64? = random.next() % 2 == 0 ? UInt64(round) + random.next() % 4 : nil
                // As a cache does: what is older is not taken.
                if let version, floors.earliest(Fixture.key(number), version, .max) != nil { continue }
                var fields = EntryFields(sourceVersion: version)
                fields.isPinned = random.next() % 4 == 0
                let value = Fixture.value(number, round)
                let lsn = try engine.put(Fixture.key(number), value, fields)
                held[number] = Held(value: value, sourceVersion: version, lsn: lsn)
            }
            if random.next() % 3 == 0 {
                snapshots.append((engine.makeSnapshot(), held.filter { stands($0.key, $0.value) }))
            }
            if random.next() % 4 == 0 {
                let prefix = [[], bytes("key0003"), bytes("key0011")][Int(random.next() % 3)]
                try floors.raise(prefix, to: UInt64(max(1, round - 2)), in: engine)
            }
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
        try floors.raise(bytes("key00"), to: 24, in: engine)
        try settle(engine)
        func check(_ bound: Double) throws {
            let found = try Fixture.contents(engine)
            var hidden = 0
            for (number, entry) in held {
                if stands(number, entry) {
                    #expect(found[Fixture.key(number)] == entry.value, "seed \(seed): \(number)")
                } else if let value = found[Fixture.key(number)] {
                    #expect(value == entry.value, "seed \(seed): an older value of \(number) is back")
                    hidden += 1
                }
            }
            #expect(Double(hidden) <= bound * Double(found.count), "runs \(runs), seed \(seed): \(hidden) hidden")
        }
        #expect(engine.statistics.entriesInvalidated > 200)
        // Tables of a few blocks are looked at as a whole.
        try check(options.compaction.expiredShare)
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

    @Test("Where power takes a floor that was not synced, the entry that it hid is still there", arguments: 1...8)
    func powerCut(seed: Int) throws {
        let floors = KeyFloors()
        var options = Fixture.options(clock: ManualClock())
        options.durability = .interval(.seconds(3600))
        options.judge = floors
        var files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options)
        try engine.put([1], [1], durability: .synced)
        try engine.flush()
        try floors.raise([], to: 9, in: engine)
        try engine.writing?.compaction.compactHere(nil)
        #expect(engine.statistics.entriesInvalidated == 1)
        files.cutPower()
        files = files.crash(seed: UInt64(seed))
        options.clock = ManualClock()
        options.judge = nil
        let again = try Fixture.store(files, options)
        let isRaised = try again.get([1], in: .sourceFloors) != nil
        #expect(try again.get([1]) != nil || isRaised, "seed \(seed)")
        try again.close()
    }

    @Test("Records of the store's own are nobody's to judge, nor namespaces in which nothing was invalidated")
    func notAsked() throws {
        struct Everything: InvalidationJudge {
            var generation: UInt64 { 1 }
            func invalidation(of entry: JudgedEntry) -> LSN? { nil }
            var lastInvalidations: [UInt32: LSN] {
                let own = (0..<NamespaceID.firstUser.rawValue).map { ($0, LSN(1)) }
                return Dictionary(own + [(NamespaceID.default.rawValue, LSN(1))]) { $1 }
            }
            func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN? { LSN(1) }
        }
        var options = Fixture.options()
        options.judge = Everything()
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        let other = try engine.namespace(named: "other")
        try engine.put([1], [1], EntryFields(tags: [1]), in: .tagDrops)
        try engine.put([2], [2], in: .sourceFloors)
        try engine.put([3], [3], EntryFields(sourceVersion: 1), in: other)
        try engine.put([4], [4])
        try engine.put([], [5], EntryFields(valueType: 3))
        try engine.compact()
        #expect(try engine.get([1], in: .tagDrops) != nil && engine.get([2], in: .sourceFloors) != nil)
        #expect(try engine.get([3], in: other) != nil)
        #expect(try engine.get([4]) == nil && engine.get([]) == nil)
        try engine.close()
    }
}
