import ArgumentParser
import Foundation
import Synchronization
import VarveIO

/// Cuts the power, kills processes and fails calls, and holds what is left against what was promised.
@main
struct CrashTest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crash-test",
        abstract: "Tries what a crash or a failing disk leaves of a store, at every call of seeded workloads.",
        discussion: """
            Modes: power (power cuts), kill (death of the process, simulated), recovery (both, at every call of a \
            recovery), fault (EIO and ENOSPC at every call), process (real processes, killed). Exit code 1 where a \
            promise was broken. Every failure prints the command that repeats it.
            """)

    @Flag(help: "At least 100,000 points, 200 real kills, and the proof of the harness itself.")
    var full = false
    @Flag(help: "Switch off one sync or check at a time and demand that the test notices.")
    var prove = false
    @Option(help: "Only this mode.")
    var mode: String?
    @Option(help: "The first workload's seed.")
    var seed: UInt64?
    @Option(help: "Only this call, of one workload.")
    var call: Int?
    @Option(help: "Points to try.")
    var points: Int?
    @Option(help: "Real processes to kill.")
    var kills: Int?
    @Option(help: "Steps of a workload.")
    var steps = 120
    @Option(help: "Threads.")
    var jobs = 2
    @Flag(help: "Print the result as one JSON object.")
    var json = false

    @Option(
        help: ArgumentHelp("Fill the file system of this folder, and see that the store outlives it.", valueName: "dir")
    )
    var fillDisk: String?

    /// The harness calls itself so: a process that writes until it is killed.
    @Option(help: .hidden)
    var childDirectory: String?
    @Option(help: .hidden)
    var childStart: String?

    func validate() throws {
        if let mode, CrashMode(rawValue: mode) == nil { throw ValidationError("no such mode: \(mode)") }
    }

    func run() throws {
        if let childDirectory {
            return try KillChild(directory: childDirectory, seed: seed ?? 1, start: childStart ?? "").run()
        }
        if let fillDisk {
            CrashReport.say("full-disk: \(try FullDiskRun(directory: fillDisk).run())")
            return CrashReport.say("full-disk: \(try FullDiskCacheRun(directory: fillDisk).run())")
        }
        let target = points ?? (full ? 100_000 : 2000)
        let report = CrashReport(showsProgress: true, target: target)
        var isProved = true
        if prove || full { isProved = try ProofRun().run { CrashReport.say("crash-test: \($0)") } }
        if !prove {
            try simulate(report, target)
            if mode == nil || mode == CrashMode.process.rawValue {
                KillRun(report: report, seed: seed ?? 1, program: CommandLine.arguments[0])
                    .run(kills: kills ?? (full ? 200 : 10))
            }
        }
        let verdict = report.failures.isEmpty && isProved
        let text = json ? report.json : "crash-test: \(report.summary): \(verdict ? "fine" : "PROMISES BROKEN")"
        FileHandle.standardOutput.write(Data((text + "\n").utf8))
        if !verdict { throw ExitCode(1) }
    }

    /// Workloads with seeds one after another until enough points were tried.
    private func simulate(_ report: CrashReport, _ target: Int) throws {
        let first = seed ?? 1
        if let call, let mode = mode.flatMap(CrashMode.init) {
            return CrashTest.one(first, mode, steps, report, call: call) { false }
        }
        let modes = mode.flatMap(CrashMode.init).map { [$0] } ?? [.power, .fault]
        let next = Counter()
        let isOver: @Sendable () -> Bool = { report.points >= target || report.hasEnough }
        let steps = steps
        let threads = try (0..<max(1, jobs)).map { _ in
            try IOThread(name: "crash-test") {
                while !isOver() {
                    let number = next.take()
                    CrashTest.one(first &+ UInt64(number), modes[number % modes.count], steps, report, isOver: isOver)
                }
            }
        }
        for thread in threads { thread.join() }
    }

    private static func one(
        _ seed: UInt64, _ mode: CrashMode, _ steps: Int, _ report: CrashReport, call: Int? = nil,
        isOver: @escaping @Sendable () -> Bool
    ) {
        let shape = WorkloadShape(seed: seed, steps: steps)
        switch mode {
        case .power, .kill, .recovery:
            var run = PowerCutRun(shape: shape, report: report, onlyCall: call, isOver: isOver)
            if call != nil { run.modes = [mode] }
            run.run()
        case .fault:
            // Each point is a whole run of its own, so a workload is shorter and points are sampled.
            let short = WorkloadShape(seed: seed, steps: steps / 2)
            FaultRun(
                shape: short, report: report, onlyCall: call, stride: 3, offset: Int(seed % 3), isOver: isOver
            ).run()
        case .process: break
        }
    }
}

/// Gives out numbers to threads.
final class Counter: Sendable {
    private let number = Atomic<Int>(0)
    func take() -> Int { number.add(1, ordering: .relaxed).oldValue }
}
