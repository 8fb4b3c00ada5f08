import VarveEngine
import VarveIO
import VarveTestSupport

/// Runs one workload and, before every call that changes the disk, takes images of what a power cut or a kill would
/// leave, opens them, and holds them against the history.
///
/// The workload itself goes on untouched, so one run covers all of its points. At some of them the recovery is a workload
/// of its own, whose every call is a point again.
struct PowerCutRun {
    let shape: WorkloadShape
    let report: CrashReport
    /// Only this call; nil: every one.
    var onlyCall: Int?
    /// Only every so many-th call, from an offset.
    var stride = 1
    var offset = 0
    var modes: Set<CrashMode> = [.power, .kill, .recovery]
    /// Power cuts by different seeds at each call.
    var imagesPerCall = 1
    /// A fault that the test must find.
    var sabotage: (@Sendable (SimulatedFileSystem) -> Void)?
    /// Stops before the next point where it says so.
    var isOver: @Sendable () -> Bool = { false }

    /// Returns how many changing calls the workload made.
    @discardableResult
    func run() -> Int {
        let workload = Workload(shape)
        sabotage?(workload.files)
        observe(workload, base: nil)
        do throws(VarveError) {
            try workload.runAll()
        } catch {
            report.add(failure(.power, workload.files.changeCount, "the workload itself", "\(error)"))
        }
        workload.files.observe(nil)
        report.countWorkload()
        return workload.files.changeCount
    }

    private func failure(_ mode: CrashMode, _ call: Int, _ what: String, _ text: String) -> CrashFailure {
        CrashFailure(mode: mode, seed: shape.seed, call: call, what: what, message: text)
    }

    private func isChosen(_ call: Int) -> Bool {
        if let onlyCall { return call == onlyCall }
        return call % stride == offset % stride
    }

    /// Watches a workload. `base`: the call of the outer workload at which this one, a recovery, began.
    private func observe(_ workload: Workload, base: Int?) {
        let files = workload.files
        let clock = workload.clock
        let ledger = workload.history
        files.observe { call in
            guard call.operation.isChange, !report.hasEnough, !isOver() else { return }
            let point = base ?? call.changeNumber
            guard base != nil || isChosen(point) else { return }
            let context = Point(files: files, clock: clock, ledger: ledger, call: call, number: point)
            if let base {
                powerCuts(context, mode: .recovery, base: base)
            } else {
                if modes.contains(.power) { powerCuts(context, mode: .power, base: 0) }
                if modes.contains(.kill) { kill(context) }
                if modes.contains(.recovery), onlyCall != nil || seeded(point, 7) % 97 == 0 { recovery(context) }
            }
        }
    }

    /// Where a workload stands when a call begins.
    private struct Point {
        let files: SimulatedFileSystem
        let clock: ManualClock
        let ledger: Ledger
        let call: SimulatedCall
        let number: Int
    }

    private func seeded(_ call: Int, _ salt: Int) -> UInt64 {
        var random = SplitMix(shape.seed &* 1_000_003 &+ UInt64(call) &* 31 &+ UInt64(salt))
        return random.next()
    }

    /// A clock that shows the same time, under the same boot or the next.
    private func copy(_ clock: ManualClock, reboots: Bool) -> ManualClock {
        let result = ManualClock(wallNanoseconds: clock.wallNanoseconds, bootNanoseconds: clock.bootNanoseconds)
        if reboots { result.reboot(downtime: .milliseconds(Int(clock.wallNanoseconds / 1_000_003 % 90_000))) }
        return result
    }

    private func powerCuts(_ point: Point, mode: CrashMode, base: Int) {
        for image in 0..<imagesPerCall {
            let seed = seeded(point.call.changeNumber &+ base &* 7919, image)
            let crashed = point.files.crash(seed: seed)
            crashed.offerStoreMaps(shape.offersStoreMaps)
            let checker = StoreChecker(
                files: crashed, directory: Workload.directory,
                options: shape.options(copy(point.clock, reboots: true)))
            check(point, mode, "image \(image), \(point.call)") {
                let history = point.ledger.now
                if seed % 4 == 0, let checkpoint = point.ledger.checkpoint {
                    try check(checkpoint, history, crashed, point.clock)
                }
                try checker.check(history, history.allowed(afterPowerCut: true), isThorough: seed % 5 == 0)
            }
        }
    }

    /// A folder with the checkpoint's name is the whole checkpoint, and one that was acknowledged is there.
    private func check(
        _ checkpoint: Ledger.Checkpoint, _ history: StoreHistory, _ crashed: SimulatedFileSystem, _ clock: ManualClock
    ) throws {
        guard try crashed.exists(checkpoint.path) else {
            if checkpoint.isMade { throw Broken("the checkpoint \(checkpoint.path) is gone") }
            return
        }
        let checker = StoreChecker(
            files: crashed, directory: checkpoint.path, options: shape.options(copy(clock, reboots: true)))
        do {
            try checker.check(history, checkpoint.index...checkpoint.index, isThorough: true)
        } catch {
            throw Broken("the checkpoint \(checkpoint.path) is not whole: \(error)")
        }
    }

    private func kill(_ point: Point) {
        let image = point.files.killProcess()
        let checker = StoreChecker(
            files: image, directory: Workload.directory, options: shape.options(copy(point.clock, reboots: false)))
        check(point, .kill, "\(point.call)") {
            let history = point.ledger.now
            try checker.check(
                history, history.allowed(afterPowerCut: false), isThorough: seeded(point.number, 3) % 5 == 0)
        }
    }

    /// Recovers an image and cuts the power, or kills, at every call of that, and of a short life after it.
    private func recovery(_ point: Point) {
        let seed = seeded(point.number, 11)
        let history = point.ledger.now
        let afterPowerCut = seed & 1 == 0
        func image() -> SimulatedFileSystem {
            let image = afterPowerCut ? point.files.crash(seed: seed) : point.files.killProcess()
            image.offerStoreMaps(shape.offersStoreMaps)
            return image
        }
        let clock = copy(point.clock, reboots: afterPowerCut)
        check(point, .recovery, "\(point.call)") {
            let found = try StoreChecker(
                files: image(), directory: Workload.directory, options: shape.options(clock)
            ).recoveredPosition(in: history, history.allowed(afterPowerCut: afterPowerCut))
            // What an image of a kill holds may still be lost with the power; what survived a power cut may not.
            var start = history
            if afterPowerCut { start = StoreHistory(history.states[found], forgotten: history.total) }
            let after = Workload(
                WorkloadShape(seed: shape.seed, steps: 12), planSeed: seed, on: image(), clock: clock, history: start)
            observe(after, base: point.number)
            defer { after.files.observe(nil) }
            do throws(VarveError) {
                try after.open()
                after.history.update { $0.settle(at: afterPowerCut ? 0 : found) }
                for _ in 0..<after.shape.steps { try after.step() }
                try after.engine?.close()
            } catch {
                throw Broken("the store does not go on after recovery: \(error)")
            }
        }
    }

    private func check(_ point: Point, _ mode: CrashMode, _ what: String, _ body: () throws -> Void) {
        report.count(mode)
        do { try body() } catch { report.add(failure(mode, point.number, what, "\(error)")) }
    }
}
