import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// "Nothing older than": a late writer never brings old data back, whatever became of the newer.
@Suite struct SourceVersionTests {
    private let files = SimulatedFileSystem()
    private let clock = ManualClock()
    private let key = bytes("k")

    private func open(_ files: SimulatedFileSystem? = nil) throws -> Engine {
        try Fixture.store(files ?? self.files, Fixture.options(clock: clock))
    }

    private func put(_ engine: Engine, _ version: UInt64, until: Timestamp? = nil) throws {
        try engine.putIfNotOlder(
            key, [UInt8(truncatingIfNeeded: version)], EntryFields(usableUntil: until, sourceVersion: version))
    }

    /// What refuses `version`; nil where it is stored.
    private func refusal(_ engine: Engine, _ version: UInt64) -> ConditionFailure.Reason? {
        let error = failure { try put(engine, version) }
        #expect(error == nil || error?.code == .conditionFailed)
        #expect(error == nil || error?.failedCondition?.key == key)
        return error?.failedCondition?.reason
    }

    @Test("Older is refused with what stood, equal and newer are stored")
    func order() throws {
        let engine = try open()
        try put(engine, 10)
        let before = engine.position
        #expect(refusal(engine, 9) == .olderSourceVersion(given: 9, standing: 10, isShared: false))
        #expect(engine.position == before)
        #expect(refusal(engine, 10) == nil, "a retry of the same write goes through")
        #expect(refusal(engine, 11) == nil)
        #expect(try engine.entry(key)?.fields.sourceVersion == 11)
        // Another condition fails for its own reason.
        var batch = WriteBatch()
        try batch.require(key, version: nil)
        let stood = try #require(try engine.get(key)?.version)
        let error = failure { _ = try engine.write(batch) }
        #expect(error?.failedCondition?.reason == .version(required: nil, found: stood))
        #expect(code { try engine.putIfNotOlder(key, [1], .none) } == .invalidArgument)
        try engine.close()
    }

    enum End: CaseIterable { case live, deleted, deletedUnnamed, hidden, expired, rangeDeleted }
    enum Place: CaseIterable { case memtable, levelZero, lastLevel, reopened, killed, powerLost, checkpoint, repaired }

    @Test("However the newer one ended, wherever its trace lies", arguments: End.allCases, Place.allCases)
    func traces(end: End, place: Place) throws {
        var engine = try open()
        try put(engine, 10, until: end == .expired ? engine.storeTime + 1_000_000_000 : nil)
        // In a table already, so that its end comes from above.
        if place == .lastLevel { try engine.compact() }
        switch end {
        case .live, .expired: break
        case .deleted:
            var batch = WriteBatch()
            try batch.delete(key, EntryFields(sourceVersion: 12))
            try engine.write(batch)
        case .deletedUnnamed: try engine.delete(key)
        case .hidden: try engine.put(key, [99])
        case .rangeDeleted: try engine.deleteRange(from: bytes("a"), to: nil)
        }
        clock.advance(by: .seconds(2))
        engine = try move(engine, to: place)
        let standing: UInt64 = end == .deleted ? 12 : 10
        for older in [0, 1, standing - 1] {
            guard case .olderSourceVersion(older, standing, _)? = refusal(engine, older) else {
                Issue.record("\(older) was stored")
                continue
            }
        }
        #expect(refusal(engine, standing) == nil)
        #expect(try engine.get(key)?.bytes == [UInt8(standing)])
        try engine.close()
    }

    private func move(_ engine: Engine, to place: Place) throws -> Engine {
        switch place {
        case .memtable: return engine
        case .levelZero:
            try engine.flush()
            return engine
        case .lastLevel:
            try engine.compact()
            return engine
        case .reopened:
            try engine.compact()
            try engine.close()
            return try open()
        case .killed:
            try engine.flush()
            let left = files.killProcess()
            return try open(left)
        case .powerLost:
            try engine.flush()
            return try open(files.crash(seed: 1))
        case .checkpoint:
            try engine.compact()
            try engine.checkpoint(to: "/copy")
            try engine.close()
            return try Engine.open(at: "/copy", Fixture.options(clock: clock), fileSystem: files)
        case .repaired:
            try engine.compact()
            try engine.close()
            _ = try Engine.repair(storeAt: "/store", into: "/mended", fileSystem: files)
            return try Engine.open(at: "/mended", Fixture.options(clock: clock), fileSystem: files)
        }
    }

    @Test("A follower takes effects only, and knows the versions when it becomes a primary", arguments: [false, true])
    func followers(compacts: Bool) throws {
        let engine = try open()
        try engine.put(bytes("start"), [0])
        try engine.checkpoint(to: "/f", slot: "f")
        let follower = try Engine.openFollower(at: "/f", Fixture.options(clock: clock), fileSystem: files)
        try put(engine, 10)
        try engine.delete(key)
        try follower.apply(from: engine)
        #expect(follower.position == engine.position)
        #expect(code { try put(follower, 11) } == .readOnly)
        if compacts { try follower.compactAsFollower() }
        try follower.close()
        let promoted = try Engine.open(at: "/f", Fixture.options(clock: clock), fileSystem: files)
        #expect(refusal(promoted, 9) != nil)
        #expect(refusal(promoted, 10) == nil)
        try promoted.close()
        try engine.close()
    }

    @Test("A floor that rises after the check, by compaction alone, is seen at the commit")
    func risingFloor() throws {
        let engine = try open()
        let slot = { (key: [UInt8]) in FloorTable.slot(ofKeyHash: Engine.keyHash(key)) }
        let number = try #require((0..<100_000).first { slot(Fixture.key($0)) == slot(key) })
        // Another key of the slot, in a table, about to be dropped.
        try engine.put(Fixture.key(number), [1], EntryFields(usableUntil: engine.storeTime + 1, sourceVersion: 100))
        try engine.flush()
        clock.advance(by: .seconds(1))
        var batch = WriteBatch()
        try batch.putIfNotOlder(key, [5], EntryFields(sourceVersion: 5))
        let checked = try engine.checkConditions(of: batch, .mayBlock)
        try engine.compact()
        let pipeline = try #require(engine.writing).pipeline
        #expect(throws: CommitPipeline.Refusal.self) {
            _ = try engine.commit(batch, .interval, checkedAt: checked, pipeline)
        }
        #expect(refusal(engine, 5) == .olderSourceVersion(given: 5, standing: 100, isShared: true))
        // It stands in no removal's way, be it there at the check or risen since; what the key itself has had does.
        func removal(_ version: UInt64) throws -> WriteBatch {
            var batch = WriteBatch()
            try batch.requireNoneNewer(key, than: version)
            try unsafe batch.delete(key.span.bytes, EntryFields(sourceVersion: version))
            return batch
        }
        let removed = try removal(5)
        _ = try engine.commit(removed, .interval, checkedAt: checked, pipeline)
        try engine.write(try removal(6))
        #expect(refusal(engine, 100) == nil)
        let late = try removal(99)
        #expect(
            failure { try engine.write(late) }?.failedCondition?.reason
                == .olderSourceVersion(given: 99, standing: 100, isShared: false))
        try engine.close()
    }

    @Test(
        "Against a model: refused exactly where the key has had a newer version",
        arguments: 1...6 as ClosedRange<UInt64>)
    func model(seed: UInt64) throws {
        var random = SplitMix(seed)
        var files = self.files
        var engine = try open(files)
        let keys = (0..<12).map { Fixture.key($0) }
        #expect(Set(keys.map { FloorTable.slot(ofKeyHash: Engine.keyHash($0)) }).count == keys.count)
        var known = [UInt64](repeating: 0, count: keys.count)
        for step in 0..<1500 {
            let number = Int.random(in: 0..<keys.count, using: &random)
            let version = UInt64.random(in: 1...60 + UInt64(step) / 8, using: &random)
            let until = Bool.random(using: &random) ? engine.storeTime + 5_000_000_000 : nil
            let fields = EntryFields(usableUntil: until, sourceVersion: version)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<50:
                let error = failure { try engine.putIfNotOlder(keys[number], [UInt8(number)], fields) }
                #expect((error == nil) == (known[number] <= version), "seed \(seed), step \(step)")
                if error == nil { known[number] = version }
            case 50..<60:
                try engine.put(keys[number], [7], fields)
                known[number] = max(known[number], version)
            case 60..<68: try engine.put(keys[number], [8])
            case 68..<76:
                var batch = WriteBatch()
                try batch.delete(keys[number], EntryFields(sourceVersion: version))
                try engine.write(batch)
                known[number] = max(known[number], version)
            case 76..<80: try engine.delete(keys[number])
            case 80..<83: try engine.deleteRange(from: keys[number], to: number % 2 == 0 ? nil : keys[number] + [0])
            case 83..<90: clock.advance(by: .seconds(1))
            case 90..<95: try engine.flush()
            case 95..<98: try engine.compact()
            case 98:
                try engine.close()
                engine = try open(files)
            default:
                files = files.killProcess()
                engine = try open(files)
            }
        }
        try engine.close()
    }

    @Test("Writers in a race: what a key shows never gets older, and the newest wins", arguments: [false, true])
    func race(synced: Bool) throws {
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        let keys = (0..<4).map { Fixture.key($0) }
        let stored = Watched([UInt64](repeating: 0, count: keys.count))
        let crew = Crew()
        for writer in 0..<4 as Range<UInt64> {
            try crew.start {
                var random = SplitMix(writer)
                for round in 0..<(synced ? 40 : 250) as Range<UInt64> {
                    let number = Int.random(in: 0..<keys.count, using: &random)
                    let version = round * 4 + UInt64.random(in: 1...40, using: &random)
                    let fields = EntryFields(sourceVersion: version)
                    do {
                        try engine.putIfNotOlder(
                            keys[number], Fixture.value(number, 0, 200), fields, durability: synced ? .synced : nil)
                        stored.update { $0[number] = max($0[number], version) }
                    } catch {
                        guard (error as? VarveError)?.code == .conditionFailed else { throw error }
                    }
                    if round % 16 == writer { try engine.delete(keys[number]) }
                }
            }
        }
        try crew.start {
            for _ in 0..<20 {
                try engine.flush()
                try engine.compact()
            }
        }
        let isOver = Watched(false)
        let watching = Crew()
        try watching.start {
            var last = [UInt64](repeating: 0, count: keys.count)
            while !isOver.current {
                for (number, key) in keys.enumerated() {
                    guard let version = try engine.entry(key)?.fields.sourceVersion else { continue }
                    #expect(version >= last[number])
                    last[number] = max(last[number], version)
                }
            }
        }
        try crew.join()
        isOver.update { $0 = true }
        try watching.join()
        for (number, key) in keys.enumerated() {
            let newest = stored.current[number]
            #expect(failure { try engine.putIfNotOlder(key, [1], EntryFields(sourceVersion: newest - 1)) } != nil)
            try engine.putIfNotOlder(key, [2], EntryFields(sourceVersion: newest))
        }
        try engine.close()
    }
}
