import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A store that keeps runs and is full: what it keeps, what it forgets, and that it never lies.
@Suite struct RunsTests {
    private func options(_ entries: UInt64, policy: (any EvictionPolicy)? = nil) -> EngineOptions {
        var options = Fixture.options(clock: ManualClock())
        options.diskBudgetEntries = entries
        options.memtableEntries = max(1, Int(entries) / 20)
        options.compaction.runs = 20
        options.eviction = policy ?? S3FIFOEviction(expectedEntries: Int(entries))
        return options
    }

    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.writing?.compaction.runHere()
    }

    @Test("What is read stays, what is not goes, and the budget holds", arguments: [true, false])
    func reads(asks: Bool) throws {
        let policy = S3FIFOEviction(expectedEntries: 1000)
        let engine = try Fixture.store(SimulatedFileSystem(), options(1000, policy: policy))
        for number in 0..<200 {
            try engine.put(Fixture.key(number), Fixture.value(number, 0))
            try Fixture.fill(engine, 10_000 + number * 3..<10_003 + number * 3)
        }
        for number in 200..<8000 {
            let key = Fixture.key(number)
            let isAdmitted = policy.admits(keyHash: Engine.keyHash(key))
            if asks, !isAdmitted, !policy.admits(keyHash: Engine.keyHash(key)) { Issue.record("seen twice") }
            try engine.put(key, Fixture.value(number, 0))
            // Some are read as long as they are there.
            for hot in stride(from: number % 20, to: 200, by: 20) { _ = try engine.get(Fixture.key(hot)) }
            if number % 50 == 0 {
                try settle(engine)
                #expect(engine.statistics.levels.reduce(0) { $0 + $1.entries } <= 1100, "at \(number)")
            }
        }
        try settle(engine)
        let statistics = engine.statistics
        #expect(statistics.budgetShare <= 1 && statistics.budgetShare > 0.7)
        #expect(statistics.entriesEvicted > 5000)
        #expect(policy.counts.evicted == statistics.entriesEvicted)
        let hot = try (0..<200).count { try engine.get(Fixture.key($0)) != nil }
        #expect(hot > 190, "\(hot) of 200 that were always read")
        #expect(try engine.get(Fixture.key(300)) == nil)
        // Sweeps among runs leave hardly a tombstone, and no more runs than there should be.
        let version = engine.versions.version
        #expect(version.allTables.reduce(0) { $0 + $1.properties.deleteCount } < 100)
        #expect(version.levels[0].tables.count <= 45)
        #expect(version.levels[0].tables.count == version.tableCount, "nothing was carried down")
        try engine.close()
    }

    @Test("Sweeps tell the policy how soon the store forgets")
    func pace() throws {
        let policy = S3FIFOEviction(expectedEntries: 1000)
        let engine = try Fixture.store(SimulatedFileSystem(), options(1000, policy: policy))
        // Once it is full each key is seen and then admitted, so a thousand sightings go by while all entries change.
        for number in 0..<6000 {
            let key = Fixture.key(number)
            let isAdmitted = policy.admits(keyHash: Engine.keyHash(key))
            if !isAdmitted, !policy.admits(keyHash: Engine.keyHash(key)) { Issue.record("seen twice") }
            try engine.put(key, Fixture.value(number, 0))
            if number % 50 == 49 { try settle(engine) }
        }
        #expect((300...370).contains(policy.horizon), "\(policy.horizon)")
        try engine.close()
    }

    @Test("Fresh entries that nobody asks for make no room for themselves among those that were read")
    func scans() throws {
        let engine = try Fixture.store(SimulatedFileSystem(), options(1000))
        try Fixture.fill(engine, 0..<950)
        for number in 0..<950 { _ = try engine.get(Fixture.key(number)) }
        for number in 10_000..<12_000 {
            try engine.put(Fixture.key(number), Fixture.value(number, 0))
            if number % 50 == 0 { try settle(engine) }
        }
        try settle(engine)
        let left = try (0..<950).count { try engine.get(Fixture.key($0)) != nil }
        #expect(left > 700, "\(left) of 950 survive a scan of twice the store")
        try engine.close()
    }

    @Test("Pinned entries are never let go, even where nothing else is left")
    func pinned() throws {
        let engine = try Fixture.store(SimulatedFileSystem(), options(200))
        var fields = EntryFields(tags: [3])
        fields.isPinned = true
        #expect(fields.isPinned && fields.extensions == [.pinned])
        for number in 0..<150 { try engine.put(Fixture.key(number), [1], fields) }
        for number in 1000..<3000 {
            try engine.put(Fixture.key(number), [2])
            if number % 20 == 0 { try settle(engine) }
        }
        #expect(try (0..<150).allSatisfy { try engine.entry(Fixture.key($0))?.fields.isPinned == true })
        // Above the budget by pinned entries alone: the sweeps end.
        for number in 150..<230 { try engine.put(Fixture.key(number), [1], fields) }
        try settle(engine)
        try engine.delete(Fixture.key(0))
        fields.isPinned = false
        try engine.put(Fixture.key(1), [1], fields)
        try settle(engine)
        #expect(try (2..<230).allSatisfy { try engine.get(Fixture.key($0)) != nil })
        #expect(try engine.get(Fixture.key(0)) == nil)
        try engine.close()
    }

    @Test(
        "Against a model: a miss, or what was written last; never what was deleted, overwritten or expired",
        arguments: 1...4 as ClosedRange<UInt64>, [0, 20])
    func model(seed: UInt64, runs: Int) throws {
        var random = SplitMix(seed)
        var files = SimulatedFileSystem()
        let clock = ManualClock()
        func open() throws -> Engine {
            var options = options(120)
            options.clock = clock
            options.compaction.runs = runs
            options.compaction.levelZeroTrigger = 2
            return try Fixture.store(files, options)
        }
        var engine = try open()
        var model: [Int: (value: [UInt8], until: Timestamp?)] = [:]
        var known: [Int: UInt64] = [:]
        var misses = 0
        for step in 0..<6000 {
            let number = Int.random(in: 0..<400, using: &random)
            let key = Fixture.key(number)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                let until = step % 3 == 0 ? engine.storeTime + 3_000_000_000 : nil
                let version = UInt64(step / 2) + UInt64.random(in: 1...30, using: &random)
                let value = Fixture.value(number, step, 30)
                let fields = EntryFields(usableUntil: until, sourceVersion: step % 4 == 0 ? version : nil)
                if fields.sourceVersion != nil {
                    let refused = failure { try engine.putIfNotOlder(key, value, fields) }
                    if version < known[number] ?? 0 { #expect(refused != nil, "seed \(seed), step \(step)") }
                    if refused != nil { continue }
                    known[number] = max(known[number] ?? 0, version)
                } else {
                    try engine.put(key, value, fields)
                }
                model[number] = (value, until)
            case 45..<85:
                let found = try engine.get(key)?.bytes
                guard let found else {
                    if model[number] != nil { misses += 1 }
                    continue
                }
                let now = engine.storeTime
                let expected = model[number].flatMap { $0.until.map { $0 > now } ?? true ? $0.value : nil }
                #expect(found == expected, "seed \(seed), step \(step), key \(number)")
            case 85..<90:
                try engine.delete(key)
                model[number] = nil
            case 90:
                let end = number + 20
                try engine.deleteRange(from: key, to: Fixture.key(end))
                for gone in number..<end { model[gone] = nil }
            case 91..<95: try settle(engine)
            case 95..<98: clock.advance(by: .milliseconds(300))
            case 98:
                try engine.close()
                engine = try open()
            default:
                files = files.killProcess()
                engine = try open()
            }
        }
        #expect(misses > 100, "the store forgot")
        #expect(try engine.verify().damage.isEmpty)
        try engine.close()
    }
}
