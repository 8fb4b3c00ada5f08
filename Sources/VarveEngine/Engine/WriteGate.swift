internal import Synchronization
internal import VarveIO

/// Where writers meet the pressure of background work: `WriteController` decides, this carries it out. One atomic load
/// while nothing is behind.
final class WriteGate: Sendable {
    /// What writers have waited for one cause.
    struct Waits: Sendable {
        /// Writes, however often they looked again.
        var count: UInt64 = 0
        var nanoseconds: UInt64 = 0
    }
    /// What writers have waited.
    struct Counts: Sendable {
        var byCause: [WritePressure.Cause: Waits] = [:]
        /// Writes that were slowed down, and that had to stop. One may be both.
        var delayed: UInt64 = 0
        var stopped: UInt64 = 0
    }

    private let isOpen = Atomic<Bool>(true)
    private let pressure = Mutex(WritePressure.none)
    private let counts = Mutex(Counts())
    /// Flushes wait for sweeps to make room in the budget of entries.
    private let awaitsSweeps = Atomic<Bool>(false)
    private let limit: Duration?
    private let health: Health
    /// Raised when the pressure changes, a memtable has been flushed, or the store fails: who waits looks again.
    let changed = Signal()

    init(limit: Duration?, health: Health) {
        self.limit = limit
        self.health = health
    }

    var current: WritePressure { pressure.withLock { $0 } }
    var statistics: Counts { counts.withLock { $0 } }

    func set(_ new: WritePressure) {
        let differs = pressure.withLock { current in
            defer { current = new }
            return current != new
        }
        guard differs else { return }
        isOpen.store(new == .none, ordering: .releasing)
        changed.raise()
    }

    /// A wait that has begun: how long it may last, and for what it is counted. It is measured on the clock by which it
    /// sleeps, so that it ends whatever the store's clock says.
    struct Wait {
        fileprivate let began: Int64
        fileprivate var slept = false
        fileprivate var stopped = false
        /// Under which it was counted last.
        fileprivate var cause: WritePressure.Cause?
    }

    private enum Step {
        case pass
        case sleep(UInt64, WritePressure.Cause)
        case wait(WritePressure.Cause)
    }

    private func step(_ wait: inout Wait?) throws(VarveError) -> Step {
        if isOpen.load(ordering: .acquiring) { return .pass }
        if wait == nil { wait = Wait(began: ConditionLock.now()) }
        switch current {
        case .none: return .pass
        case .delay(let nanoseconds, let cause):
            if wait?.slept == true { return .pass }
            wait?.slept = true
            return .sleep(nanoseconds, cause)
        case .stop(let cause):
            try checkLimit(wait, cause)
            return .wait(cause)
        }
    }

    private func checkLimit(_ wait: Wait?, _ cause: WritePressure.Cause) throws(VarveError) {
        try health.checkWrites()
        guard let limit, let wait else { return }
        let waited = Duration.nanoseconds(ConditionLock.now() &- wait.began)
        guard waited >= limit else { return }
        if let passing = health.passing { throw passing }
        if cause == .diskBudget {
            throw VarveError(.diskFull, "the store has used its disk budget; raise it or delete data")
        }
        throw VarveError(
            .stalled, "the write waited \(limit) for background work (\(cause.rawValue)); it was not written")
    }

    /// Counts what a write has waited just now, and the write itself once.
    private func count(_ cause: WritePressure.Cause, since began: Int64, stops: Bool, _ wait: inout Wait?) {
        let waited = UInt64(max(0, ConditionLock.now() &- began))
        let isNew = wait?.cause != cause
        let isNewStop = stops && wait?.stopped != true
        wait?.cause = cause
        if stops { wait?.stopped = true }
        counts.withLock { counts in
            counts.byCause[cause, default: Waits()].nanoseconds += waited
            if isNew { counts.byCause[cause, default: Waits()].count += 1 }
            if isNewStop { counts.stopped += 1 }
            if !stops { counts.delayed += 1 }
        }
    }

    /// How long a writer waits before it looks again by itself: failures and limits are noticed then.
    private static let lookAgain = Duration.milliseconds(100)

    /// Lets a write pass when background work allows. Blocks.
    @inline(__always)
    func pass(_ wait: inout Wait?) throws(VarveError) {
        if isOpen.load(ordering: .acquiring) { return }
        try passSlowly(&wait)
    }

    @inline(never)
    private func passSlowly(_ wait: inout Wait?) throws(VarveError) {
        while true {
            let seen = changed.generation
            let before = ConditionLock.now()
            switch try step(&wait) {
            case .pass: return
            case .sleep(let nanoseconds, let cause):
                changed.wait(after: seen, atMost: .nanoseconds(Int64(nanoseconds)))
                count(cause, since: before, stops: false, &wait)
                return
            case .wait(let cause):
                changed.wait(after: seen, atMost: WriteGate.lookAgain)
                count(cause, since: before, stops: true, &wait)
            }
        }
    }

    /// The same for a task.
    func pass(_ wait: inout Wait?) async throws(VarveError) {
        while true {
            let before = ConditionLock.now()
            switch try step(&wait) {
            case .pass: return
            case .sleep(let nanoseconds, let cause):
                try await WriteGate.sleep(.nanoseconds(Int64(nanoseconds)))
                count(cause, since: before, stops: false, &wait)
                return
            case .wait(let cause):
                try await WriteGate.sleep(.milliseconds(5))
                count(cause, since: before, stops: true, &wait)
            }
        }
    }

    private static func sleep(_ duration: Duration) async throws(VarveError) {
        do { try await Task.sleep(for: duration) } catch {
            throw VarveError(.cancelled, "the task was cancelled while its write waited; nothing was written")
        }
    }

    /// Whether a flush may begin, or has to wait until entries have been let go: then that is what writers wait for. Returns
    /// what it is told.
    func tell(flushesMay: Bool) -> Bool {
        awaitsSweeps.store(!flushesMay, ordering: .relaxed)
        return flushesMay
    }

    private func beginWait(_ wait: inout Wait?, at now: Int64) throws(VarveError) -> WritePressure.Cause {
        if wait == nil { wait = Wait(began: now) }
        let cause = awaitsSweeps.load(ordering: .relaxed) ? WritePressure.Cause.diskBudget : .sealedMemtables
        try checkLimit(wait, cause)
        return cause
    }

    /// Waits for a flush, because no memtable may be sealed now. Blocks.
    func waitForRoom(_ wait: inout Wait?, since seen: UInt64) throws(VarveError) {
        let before = ConditionLock.now()
        let cause = try beginWait(&wait, at: before)
        changed.wait(after: seen, atMost: WriteGate.lookAgain)
        count(cause, since: before, stops: true, &wait)
    }

    /// The same for a task.
    func waitForRoom(_ wait: inout Wait?, since seen: UInt64) async throws(VarveError) {
        let before = ConditionLock.now()
        let cause = try beginWait(&wait, at: before)
        try await WriteGate.sleep(.milliseconds(5))
        count(cause, since: before, stops: true, &wait)
    }
}
