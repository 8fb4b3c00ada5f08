import Testing
import VarveTestSupport

/// A cache on a disk that fails it again and again, as a seed has it.
struct DegradedCourseTests {
    @Test("Held against the list of what was acknowledged", arguments: 1...12 as ClosedRange<UInt64>)
    func course(seed: UInt64) async throws {
        var run = try await DegradedRun(seed)
        try await run.run()
        #expect(run.met.returns > 0 && run.met.readsOfDisk > 0, "seed \(seed): \(run.met)")
    }
}
