import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

/// The same seeded operations under many option sets, each checked against the model after every step that can change
/// what a reader sees: point reads, whole scans both ways, reads at old snapshots, reopening.
@Suite struct MetamorphicTests {
    static let seeds: [UInt64] = [1, 2, 3]

    @Test(arguments: OptionSet.all, seeds)
    func behavesLikeTheModel(_ set: OptionSet, seed: UInt64) throws {
        var run = try MetamorphicRun(set: set, seed: seed)
        try run.perform(operations: 1500)
        try run.finish()
    }
}

/// A named way to configure the engine so that small data meets every mechanism.
struct OptionSet: Sendable, CustomTestStringConvertible {
    let name: String
    let options: EngineOptions
    var testDescription: String { name }

    static func make(_ name: String, _ change: (inout EngineOptions) -> Void) -> OptionSet {
        var options = EngineOptions()
        options.memtableBytes = 64 << 10
        options.logSegmentBytes = 64 << 10
        options.offersSocket = false
        options.table.blockBytes = 512
        options.compaction.tableBytes = 32 << 10
        options.compaction.baseBytes = 64 << 10
        change(&options)
        return OptionSet(name: name, options: options)
    }

    static let all: [OptionSet] = [
        make("small") { _ in },
        make("synced") { $0.durability = .synced },
        make("stored") {
            $0.compressLog = false
            $0.table.codec = .stored
        },
        make("no cache") { $0.blockCacheBytes = 0 },
        make("large blocks") { $0.table.blockBytes = 16 << 10 },
        make("large memtable") { $0.memtableBytes = 8 << 20 },
    ]
}

struct MetamorphicRun {
    let set: OptionSet
    let seed: UInt64
    let files = SimulatedFileSystem()
    let clock: ManualClock
    var random: SplitMix
    var engine: Engine
    var model = ModelStore()
    var snapshots: [(snapshot: Snapshot, now: Timestamp)] = []

    init(set: OptionSet, seed: UInt64) throws {
        self.set = set
        self.seed = seed
        random = SplitMix(seed)
        clock = ManualClock()
        engine = try MetamorphicRun.open(set, files, clock)
    }

    static func open(_ set: OptionSet, _ files: SimulatedFileSystem, _ clock: ManualClock) throws -> Engine {
        var options = set.options
        options.clock = clock
        return try Engine.open(at: "/store", options, fileSystem: files)
    }

    var place: Comment { "option set \(set.name), seed \(seed)" }

    mutating func key() -> [UInt8] {
        // A small key space, so that keys are overwritten, deleted and found; lengths differ and prefixes are shared.
        let number = Int(random.next() % 400)
        return Array("key\(number)".utf8) + (number % 7 == 0 ? [0, 0xFF] : [])
    }

    mutating func value() -> [UInt8] {
        let length = random.next() % 50 == 0 ? Int(random.next() % 9000) : Int(random.next() % 200)
        let byte = UInt8(truncatingIfNeeded: random.next())
        return (0..<length).map { byte &+ UInt8(truncatingIfNeeded: $0 / 3) }
    }

    mutating func operation() -> ModelStore.Operation {
        switch random.next() % 20 {
        case 0..<13: return .put(key(), .init(value: value()))
        case 13..<15:
            let until = engine.storeTime + Timestamp(random.next() % 2_000_000_000)
            return .put(key(), .init(value: value(), usableUntil: until))
        case 15..<19: return .delete(key())
        default:
            let (a, b) = (key(), key())
            if a == b { return .delete(a) }
            return a.lexicographicallyPrecedes(b) ? .deleteRange(a, b) : .deleteRange(b, a)
        }
    }

    mutating func commit() throws {
        var operations: [ModelStore.Operation] = []
        for _ in 0..<(random.next() % 4 == 0 ? 1 + random.next() % 30 : 1) { operations.append(operation()) }
        var batch = WriteBatch()
        for operation in operations {
            switch operation {
            case .put(let key, let entry):
                try batch.put(key, entry.value, EntryFields(usableUntil: entry.usableUntil))
            case .delete(let key): try batch.delete(key)
            case .deleteRange(let begin, let end): try batch.deleteRange(from: begin, to: end)
            }
        }
        let durability: Durability? = random.next() % 10 == 0 ? .synced : nil
        let end = try engine.write(batch, durability: durability)
        #expect(end >= model.last.advanced(by: UInt64(operations.count)), place)
        model.apply(operations, endingAt: end)
    }

    mutating func perform(operations: Int) throws {
        for _ in 0..<operations {
            clock.advance(by: .microseconds(Int(random.next() % 2_000_000)))
            switch random.next() % 100 {
            case 0..<70: try commit()
            case 70..<85: try checkGet()
            case 85..<90: try checkScan()
            case 90..<92: snapshots.append((engine.makeSnapshot(), engine.storeTime))
            case 92..<94: if !snapshots.isEmpty { snapshots.remove(at: Int(random.next() % UInt64(snapshots.count))) }
            case 94..<96: try engine.flush()
            case 96: try engine.compact()
            default: try reopen()
            }
        }
    }

    mutating func reopen() throws {
        // Only now and then: opening costs more than all else.
        guard random.next() % 4 == 0 else { return }
        snapshots = []
        try engine.close()
        engine = try MetamorphicRun.open(set, files, clock)
    }

    mutating func checkGet() throws {
        let key = key()
        let now = engine.storeTime
        let found = try engine.get(key)
        let expected = model.get(key, now: now)
        #expect(found?.bytes == expected?.entry.value, place)
        #expect(found?.version == expected?.lsn, place)
        #expect(found?.usableUntil == expected?.entry.usableUntil, place)
        if let held = snapshots.last {
            let old = try engine.get(key, at: held.snapshot)
            #expect(old?.bytes == model.get(key, at: held.snapshot.lsn, now: now)?.entry.value, place)
        }
    }

    mutating func checkScan() throws {
        let (a, b) = (key(), key())
        let bounds: (from: [UInt8], to: [UInt8]?) =
            random.next() % 3 == 0 ? ([], nil) : a.lexicographicallyPrecedes(b) ? (a, b) : (b, a)
        let held = random.next() % 2 == 0 ? snapshots.last?.snapshot : nil
        let now = engine.storeTime
        let expected = model.scan(from: bounds.from, to: bounds.to, at: held?.lsn ?? .max, now: now)
        let iterator = try engine.makeIterator(from: bounds.from, to: bounds.to, at: held)
        var forward: [[UInt8]] = []
        try iterator.seekToFirst()
        while iterator.isValid {
            #expect(forward.count < expected.count && iterator.value == expected[forward.count].entry.value, place)
            forward.append(iterator.key)
            try iterator.next()
        }
        #expect(forward == expected.map(\.key), place)
        var backward: [[UInt8]] = []
        try iterator.seekToLast()
        while iterator.isValid {
            backward.append(iterator.key)
            try iterator.previous()
        }
        #expect(backward == expected.map(\.key).reversed(), place)
    }

    mutating func finish() throws {
        snapshots = []
        try engine.compact()
        try checkScan()
        try engine.close()
        engine = try MetamorphicRun.open(set, files, clock)
        for number in 0..<400 {
            let key = Array("key\(number)".utf8) + (number % 7 == 0 ? [0, 0xFF] : [])
            #expect(try engine.get(key)?.bytes == model.get(key, now: engine.storeTime)?.entry.value, place)
        }
        #expect(try engine.verify().damage.map(\.message) == [], place)
        try engine.close()
    }
}
