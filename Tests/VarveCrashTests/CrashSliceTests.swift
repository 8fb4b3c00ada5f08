import Foundation
import Testing
import VarveEngine
import VarveTestSupport

@testable import VarveCrashTest

/// A slice of the crash test small enough for every run: what `tools/crash-test --full` does at length.
@Suite struct CrashSliceTests {
    /// The output names how much was tried.
    private func tell(_ report: CrashReport) {
        CrashReport.say("crash slice: \(report.points) points tried: \(report.summary)")
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func powerCutsAndKillsAtEveryCallKeepEveryPromise(seed: UInt64) {
        let report = CrashReport()
        let shape = WorkloadShape(seed: seed, steps: 60)
        PowerCutRun(shape: shape, report: report, imagesPerCall: 2).run()
        tell(report)
        #expect(report.failures.map(\.description) == [])
        #expect(report.points(.power) > 50 && report.points(.kill) > 50)
    }

    @Test func errorsAtSampledCallsLoseNothing() {
        let report = CrashReport()
        FaultRun(shape: WorkloadShape(seed: 4, steps: 40), report: report, stride: 4, offset: 2).run()
        tell(report)
        #expect(report.failures.map(\.description) == [])
        #expect(report.points(.fault) > 50)
    }

    @Test func realProcessesThatAreKilledLoseNothing() {
        let report = CrashReport()
        // Beside the test bundle, where the build puts it.
        let bundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        KillRun(report: report, seed: 7, program: bundle.appendingPathComponent("VarveCrashTest").path).run(kills: 8)
        tell(report)
        #expect(report.failures.map(\.description) == [])
        #expect(report.points(.process) == 8)
    }

    /// The harness is worth what it finds: each sync that is taken away must be missed.
    @Test(arguments: ProofRun.Sabotage.all)
    func aMissingSyncIsFound(_ sabotage: ProofRun.Sabotage) {
        let (found, points) = ProofRun(attempts: 6, steps: 40).finds(sabotage)
        #expect(found != nil, "without \(sabotage): not found in \(points) points")
    }

    @Test func theSameSeedMakesTheSameCalls() throws {
        func calls() throws -> [String] {
            let workload = Workload(WorkloadShape(seed: 9, steps: 40))
            workload.files.recordCalls()
            try workload.runAll()
            return workload.files.recordedCalls.map(\.description)
        }
        #expect(try calls() == calls())
    }
}
