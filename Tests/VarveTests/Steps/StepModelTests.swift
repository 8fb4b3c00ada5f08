import Testing
import VarveTestSupport

@testable import Varve

/// What the articles on changing in one step, on invalidating and on expiring promise of one client's steps, held against a
/// model: conditions on versions of this write and others, of this history and others; what an increment leaves alone; what
/// a tag's drop finds and what lives on; what source versions refuse; and what expired entries take.
struct StepModelTests {
    @Test("In memory alone", arguments: 1...18 as ClosedRange<UInt64>)
    func memory(seed: UInt64) async throws {
        var run = try await StepRun(seed: seed, home: .memory)
        try await run.run(steps: 300)
    }

    @Test("On disk, over restarts and copies with a history of their own", arguments: 1...18 as ClosedRange<UInt64>)
    func disk(seed: UInt64) async throws {
        var run = try await StepRun(seed: seed, home: .disk)
        try await run.run(steps: 250)
    }
}
