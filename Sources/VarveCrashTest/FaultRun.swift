import Glibc
import VarveEngine
import VarveIO
import VarveTestSupport

/// Runs one workload again and again, each time with an error at another call, and demands that the engine says so, goes
/// on or stops as promised, and that nothing acknowledged is lost.
struct FaultRun {
    /// What fails.
    struct Kind: Sendable {
        let name: String
        let code: Int32
        let isSticky: Bool
        let isPartial: Bool

        var isDiskFull: Bool { code == ENOSPC }

        static let all = [
            Kind(name: "EIO once", code: EIO, isSticky: false, isPartial: false),
            Kind(name: "EIO from there on", code: EIO, isSticky: true, isPartial: true),
            Kind(name: "ENOSPC once", code: ENOSPC, isSticky: false, isPartial: true),
            Kind(name: "ENOSPC from there on", code: ENOSPC, isSticky: true, isPartial: false),
        ]

        /// A full disk is met by calls that need space, and by no others: what a log segment takes was allocated before.
        func concerns(_ call: SimulatedCall) -> Bool {
            guard isDiskFull else { return true }
            switch call.operation {
            case .write: return !call.path.contains(".log")
            case .create, .allocate, .createDirectory, .rename, .link: return true
            default: return false
            }
        }
    }

    let shape: WorkloadShape
    let report: CrashReport
    var onlyCall: Int?
    var stride = 1
    var offset = 0
    var isOver: @Sendable () -> Bool = { false }

    /// Steps that are still taken after the first error.
    private static let stepsAfter = 8

    func run() {
        let plain = Workload(shape)
        plain.files.recordCalls()
        do { try plain.runAll() } catch { return fail(0, "no fault", "the workload itself fails: \(error)") }
        report.countWorkload()
        let calls = plain.files.recordedCalls
        for call in calls {
            if let onlyCall {
                if call.number != onlyCall { continue }
            } else if call.number % stride != offset % stride {
                continue
            }
            for kind in Kind.all where kind.concerns(call) {
                if report.hasEnough || isOver() { return }
                report.count(.fault)
                do {
                    try Attempt(kind: kind, call: call, limit: calls.count * 4 + 20_000, shape: shape).run()
                } catch {
                    fail(call.number, "\(kind.name), \(call)", "\(error)")
                }
            }
        }
    }

    private func fail(_ call: Int, _ what: String, _ text: String) {
        report.add(CrashFailure(mode: .fault, seed: shape.seed, call: call, what: what, message: text))
    }

    /// One run with one fault.
    private final class Attempt {
        let kind: Kind
        let call: SimulatedCall
        let limit: Int
        let shape: WorkloadShape
        let workload: Workload
        /// The outcome of the last batch is not known.
        var isUncertain = false

        init(kind: Kind, call: SimulatedCall, limit: Int, shape: WorkloadShape) {
            self.kind = kind
            self.call = call
            self.limit = limit
            self.shape = shape
            workload = Workload(shape)
        }

        func run() throws {
            let (files, limit, number, kind) = (workload.files, limit, call.number, kind)
            files.fail(kind.code, sticky: kind.isSticky, partial: kind.isPartial) {
                (kind.isSticky ? $0.number >= number : $0.number == number) && kind.concerns($0)
            }
            files.observe { [weak files] in if $0.number > limit { files?.cutPower() } }
            var left = FaultRun.stepsAfter
            for _ in 0..<shape.steps where left > 0 {
                do {
                    if workload.engine == nil { try reopenHere() }
                    try workload.step()
                } catch let error as VarveError {
                    left -= 1
                    try note(error)
                }
                if files.isPowerCut { throw Broken("it does not end: more than \(limit) calls") }
                if files.callCount > number + 400, left == FaultRun.stepsAfter { break }
            }
            files.clearFaults()
            if kind.isDiskFull { try resume() } else { try readOn() }
            try reopen()
        }

        /// A store that let go after an error is opened again: what was uncertain is known then.
        private func reopenHere() throws {
            try workload.open()
            guard let engine = workload.engine else { return }
            let index = try position(engine)
            workload.history.update { $0.settle(at: index) }
            isUncertain = false
        }

        /// An error must be the right one, and the batch that met it must be whole or not there.
        private func note(_ error: VarveError) throws {
            let allowed: [VarveError.Code] =
                kind.isDiskFull ? [.diskFull] : [.io, .failedStop, .closed]
            guard allowed.contains(error.code) else { throw Broken("a wrong error: \(error) (\(error.code))") }
            if error.path == nil, error.code == .io { throw Broken("the error names no file: \(error)") }
            guard let engine = workload.engine else { return }
            let ledger = workload.history
            let hasOpenBatch = ledger.now.issued > ledger.now.acknowledged
            if isUncertain {
                // The store has stopped: what came after was refused, with nothing written.
                if hasOpenBatch, ledger.now.issued > ledger.now.acknowledged + 1 { ledger.update { $0.withdraw() } }
                return
            }
            guard hasOpenBatch else { return }
            if kind.isDiskFull || error.code == .failedStop {
                ledger.update { $0.withdraw() }
            } else {
                isUncertain = true
            }
            guard kind.isDiskFull || !kind.isSticky else { return }
            let index = try position(engine)
            // A call that failed before anything of the write was done need not stop the store.
            if isUncertain, engine.statistics.failure == nil {
                ledger.update { $0.settle(at: index) }
                isUncertain = false
            }
        }

        private func position(_ engine: Engine) throws -> Int {
            let history = workload.history.now
            return try StoreChecker.position(of: engine, in: history, history.allowed(afterPowerCut: false))
        }

        /// Space is there again: the store takes writes without being opened anew.
        private func resume() throws {
            do {
                if workload.engine == nil { try reopenHere() }
                guard let engine = workload.engine else { return }
                _ = try position(engine)
                for (number, durability) in [Durability.interval, .synced].enumerated() {
                    let operations: [ModelStore.Operation] = [
                        .put(WorkloadKeys.all[number], .init(value: Array("space again \(number)".utf8)))
                    ]
                    workload.history.update { $0.issue(operations) }
                    try Workload.write(operations, to: engine, durability: durability)
                    workload.history.update { $0.acknowledge(synced: durability == .synced) }
                }
                try engine.flush()
                try engine.runBackgroundWork()
                _ = try position(engine)
            } catch let error as VarveError {
                throw Broken("there is space again, but the store does not go on: \(error) (\(error.code))")
            }
        }

        /// Whatever failed, reads go on.
        private func readOn() throws {
            guard let engine = workload.engine else { return }
            do { _ = try position(engine) } catch { throw Broken("after the error: \(error)") }
        }

        /// The next process finds everything acknowledged, and so does the next boot everything synced.
        private func reopen() throws {
            let history = workload.history.now
            let killed = workload.files.killProcess()
            let crashed = workload.files.crash(seed: UInt64(call.number))
            let clock = workload.clock
            do {
                try StoreChecker(files: killed, directory: Workload.directory, options: shape.options(clock))
                    .check(history, history.allowed(afterPowerCut: false), isThorough: false)
            } catch { throw Broken("opened by the next process: \(error)") }
            do {
                let later = ManualClock(wallNanoseconds: clock.wallNanoseconds)
                later.reboot()
                try StoreChecker(files: crashed, directory: Workload.directory, options: shape.options(later))
                    .check(history, history.allowed(afterPowerCut: true), isThorough: false)
            } catch { throw Broken("opened after a power cut: \(error)") }
        }
    }
}
