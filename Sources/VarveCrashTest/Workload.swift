import VarveEngine
import VarveIO
import VarveTestSupport

/// The few keys that workloads use, so that they are overwritten, deleted and found again; some share prefixes.
enum WorkloadKeys {
    static let all: [[UInt8]] = (0..<40).map { Array("key\($0)".utf8) + ($0 % 7 == 0 ? [0, 0xFF] : []) }

    static func text(_ key: [UInt8]) -> String {
        String(decoding: key.prefix { $0 >= 0x20 && $0 < 0x7F }, as: UTF8.self)
    }
}

/// How a seed shapes its store: small limits, so that a short run meets every mechanism.
struct WorkloadShape: Sendable {
    let seed: UInt64
    let options: EngineOptions
    let offersStoreMaps: Bool
    let steps: Int

    init(seed: UInt64, steps: Int) {
        self.seed = seed
        self.steps = steps
        var random = SplitMix(seed ^ 0x51)
        var options = EngineOptions()
        options.usesThreads = false
        options.offersSocket = false
        options.memtableBytes = 64 << 10
        options.logSegmentBytes = 64 << 10
        options.blockCacheBytes = random.next() % 3 == 0 ? 0 : 1 << 20
        options.compressLog = random.next() % 3 != 0
        options.sealedMemtables = 1 + Int(random.next() % 2)
        options.table.blockBytes = random.next() % 2 == 0 ? 512 : 4096
        if random.next() % 3 == 0 { options.table.codec = .stored }
        options.compaction.tableBytes = 16 << 10
        options.compaction.baseBytes = 32 << 10
        options.compaction.levelZeroTrigger = 2
        options.durability = random.next() % 4 == 0 ? .synced : .interval
        self.options = options
        offersStoreMaps = random.next() % 4 != 0
    }

    func options(_ clock: ManualClock) -> EngineOptions {
        var options = options
        options.clock = clock
        return options
    }
}

/// What a workload does next.
enum WorkloadStep: Sendable {
    case write([ModelStore.Operation], durability: Durability?)
    case flush, compact, background, sync, checkpoint, reopen
    case pass(Duration)
}

/// Chooses steps by a seed alone: the same seed makes the same calls of the file system every time.
struct WorkloadPlan: Sendable {
    private var random: SplitMix
    private var writes = 0

    init(seed: UInt64) { random = SplitMix(seed) }

    mutating func next(now: Timestamp) -> WorkloadStep {
        switch random.next() % 100 {
        case 0..<78: write(now)
        case 78..<83: .pass(.milliseconds(Int(random.next() % 5000)))
        case 83..<86: .flush
        case 86..<89: .background
        case 89..<91: .compact
        case 91..<94: .sync
        case 94..<97: .checkpoint
        default: .reopen
        }
    }

    private mutating func write(_ now: Timestamp) -> WorkloadStep {
        var operations: [ModelStore.Operation] = []
        let count = random.next() % 3 == 0 ? 1 + random.next() % 12 : 1
        for _ in 0..<count { operations.append(operation(now)) }
        let durability: Durability? =
            switch random.next() % 6 {
            case 0: .synced
            case 1..<4: .interval
            default: nil
            }
        return .write(operations, durability: durability)
    }

    private mutating func key() -> [UInt8] { WorkloadKeys.all[Int(random.next() % UInt64(WorkloadKeys.all.count))] }

    private mutating func operation(_ now: Timestamp) -> ModelStore.Operation {
        switch random.next() % 20 {
        case 0..<12: return .put(key(), .init(value: value()))
        case 12..<14:
            return .put(key(), .init(value: value(), usableUntil: now + Timestamp(random.next() % 100_000_000_000)))
        case 14..<19: return .delete(key())
        default:
            let (a, b) = (key(), key())
            if a == b { return .deleteRange(a, random.next() % 4 == 0 ? nil : a + [0]) }
            return a.lexicographicallyPrecedes(b) ? .deleteRange(a, b) : .deleteRange(b, a)
        }
    }

    /// Never the same value twice, so that what is found names its write.
    private mutating func value() -> [UInt8] {
        writes += 1
        let length =
            switch random.next() % 30 {
            case 0: 4000 + Int(random.next() % 30_000)
            case 1..<6: 500 + Int(random.next() % 3000)
            default: Int(random.next() % 100)
            }
        var bytes = Array("\(writes).".utf8)
        let isNoise = random.next() % 2 == 0
        for index in 0..<length { bytes.append(isNoise ? random.byte() : UInt8(truncatingIfNeeded: index / 5)) }
        return bytes
    }
}

/// A store under a seeded workload on a simulated file system, and the history of what it was told.
///
/// One thread, which is also the one that observers run on; `history` is the observer's way in.
final class Workload {
    static let directory = "/store"

    let files: SimulatedFileSystem
    let clock: ManualClock
    let shape: WorkloadShape
    let history: Ledger
    private(set) var engine: Engine?
    private var plan: WorkloadPlan

    init(
        _ shape: WorkloadShape, planSeed: UInt64? = nil, on files: SimulatedFileSystem = SimulatedFileSystem(),
        clock: ManualClock = ManualClock(), history: StoreHistory = StoreHistory()
    ) {
        self.shape = shape
        self.files = files
        self.clock = clock
        self.history = Ledger(history)
        plan = WorkloadPlan(seed: planSeed ?? shape.seed)
        files.offerStoreMaps(shape.offersStoreMaps)
    }

    func open() throws(VarveError) {
        engine = try Engine.open(at: Workload.directory, shape.options(clock), fileSystem: files)
    }

    /// Opens the store, takes all steps, closes it.
    func runAll() throws(VarveError) {
        try open()
        for _ in 0..<shape.steps { try step() }
        try engine?.close()
        engine = nil
        history.update { $0.sync() }
    }

    /// Takes one step; opens the store first where the step before left it closed.
    func step() throws(VarveError) {
        clock.advance(by: .microseconds(37))
        if engine == nil { try open() }
        guard let engine else { return }
        try perform(plan.next(now: engine.storeTime), engine)
    }

    private func perform(_ step: WorkloadStep, _ engine: Engine) throws(VarveError) {
        switch step {
        case .write(let operations, let durability):
            history.update { $0.issue(operations) }
            try Workload.write(operations, to: engine, durability: durability)
            let isSynced = (durability ?? shape.options.durability) == .synced
            history.update { $0.acknowledge(synced: isSynced) }
        case .flush:
            try engine.flush()
            history.update { $0.sync() }
        case .compact:
            try engine.compact()
            history.update { $0.sync() }
        case .background: try engine.runBackgroundWork()
        case .sync:
            try engine.sync()
            history.update { $0.sync() }
        case .checkpoint: try checkpoint(engine)
        case .reopen:
            // Gone whatever happens: a close that fails lets go of the store as well.
            self.engine = nil
            try engine.close()
            history.update { $0.sync() }
            try open()
        case .pass(let duration): clock.advance(by: duration)
        }
    }

    private func checkpoint(_ engine: Engine) throws(VarveError) {
        let path = "/checkpoint\(history.now.total)"
        if (try? files.exists(path)) == true { return }
        history.begin(Ledger.Checkpoint(path: path, index: history.now.issued, isMade: false))
        try engine.checkpoint(to: path)
        history.update { $0.sync() }
        history.begin(Ledger.Checkpoint(path: path, index: history.now.issued, isMade: true))
    }

    /// Lets go of the store as the death of the process would.
    func abandon() { engine = nil }

    static func write(
        _ operations: [ModelStore.Operation], to engine: Engine, durability: Durability?
    ) throws(VarveError) {
        if operations.count == 1 {
            switch operations[0] {
            case .put(let key, let entry):
                try engine.put(
                    key, entry.value, EntryFields(usableUntil: entry.usableUntil), durability: durability)
            case .delete(let key): try engine.delete(key, durability: durability)
            case .deleteRange(let begin, let end):
                try engine.deleteRange(from: begin, to: end, durability: durability)
            }
            return
        }
        var batch = WriteBatch()
        for operation in operations {
            switch operation {
            case .put(let key, let entry):
                try batch.put(key, entry.value, EntryFields(usableUntil: entry.usableUntil))
            case .delete(let key): try batch.delete(key)
            case .deleteRange(let begin, let end): try batch.deleteRange(from: begin, to: end)
            }
        }
        try engine.write(batch, durability: durability)
    }
}
