/// What background work asks of writers: nothing, to slow down, or to wait. With its cause, for the statistics.
enum WritePressure: Hashable, Sendable {
    enum Cause: String, Hashable, Sendable, CaseIterable {
        case sealedMemtables
        case levelZero
        case compactionDebt
        case diskBudget
    }

    case none
    /// Each write takes this much longer (nanoseconds).
    case delay(nanoseconds: UInt64, Cause)
    case stop(Cause)

    var cause: Cause? {
        switch self {
        case .none: nil
        case .delay(_, let cause), .stop(let cause): cause
        }
    }

    var text: String {
        switch self {
        case .none: "none"
        case .delay(let nanoseconds, let cause): "delay \(nanoseconds / 1000) us: \(cause.rawValue)"
        case .stop(let cause): "stop: \(cause.rawValue)"
        }
    }
}

/// Decides the pressure on writers from how far background work is behind. Pure: the same figures give the same answer.
///
/// Graded, so that writers slow down to the speed of compaction long before they would have to stop (the idea is
/// RocksDB's write controller): the delay doubles with each step beyond the threshold.
struct WriteController: Sendable {
    /// Tables in level 0 from which writes are slowed, and from which they stop.
    var levelZeroSlow = 12
    var levelZeroStop = 36
    /// Bytes that lie above their level's target, from which writes are slowed and stop.
    var debtSlow: UInt64 = 4 << 30
    var debtStop: UInt64 = 32 << 30

    /// What is behind.
    struct Load: Sendable {
        var levelZeroTables: Int
        var compactionDebt: UInt64
        /// Bytes that the store takes, and what it may.
        var diskBytes: UInt64
        var diskBudget: UInt64?
        /// How far entries are above the budget for them, in permille of it; 0: within.
        var excessEntries: UInt64 = 0
    }

    /// Entries above their budget, in permille of it, from which writes are slowed and stop.
    static let excessSlow: UInt64 = 50
    static let excessStop: UInt64 = 250

    init() {}

    /// For stores that keep runs, more tables of level 0 are as it should be.
    init(_ options: CompactionOptions) {
        guard options.runs > 0 else { return }
        levelZeroSlow = options.runs * CompactionOptions.runSlack + 8
        levelZeroStop = options.runs * CompactionOptions.runSlack + 32
    }

    static let firstDelay: UInt64 = 20_000
    static let longestDelay: UInt64 = 5_000_000

    func pressure(_ load: Load) -> WritePressure {
        if let budget = load.diskBudget, load.diskBytes >= budget { return .stop(.diskBudget) }
        if load.excessEntries >= WriteController.excessStop { return .stop(.diskBudget) }
        if load.levelZeroTables >= levelZeroStop { return .stop(.levelZero) }
        if load.compactionDebt >= debtStop { return .stop(.compactionDebt) }
        if load.levelZeroTables >= levelZeroSlow {
            return .delay(nanoseconds: WriteController.delay(load.levelZeroTables - levelZeroSlow), .levelZero)
        }
        if load.excessEntries >= WriteController.excessSlow {
            return .delay(
                nanoseconds: WriteController.delay(Int(load.excessEntries - WriteController.excessSlow) / 20),
                .diskBudget)
        }
        if load.compactionDebt >= debtSlow {
            return .delay(
                nanoseconds: WriteController.delay(Int(clamping: (load.compactionDebt - debtSlow) / (debtSlow / 4))),
                .compactionDebt)
        }
        return .none
    }

    private static func delay(_ steps: Int) -> UInt64 {
        min(longestDelay, firstDelay << UInt64(min(max(0, steps), 16)))
    }
}
