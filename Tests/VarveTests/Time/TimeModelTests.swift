import Testing

@testable import Varve

/// What the articles on expiring and on restarting warm promise, held against a model over everything that happens to
/// time: deadlines from the write and from the read, fresh and usable, per entry, with and without jitter; tags dropped,
/// memory full, wall clocks set, stores closed, killed and cut off.
struct TimeModelTests {
    @Test("In memory alone", arguments: 1...12 as ClosedRange<UInt64>)
    func memory(seed: UInt64) async throws {
        var run = try await TimeRun(seed: seed, home: .memory, isTight: false)
        try await run.run(steps: 300)
    }

    @Test("On disk, with room in memory", arguments: 1...16 as ClosedRange<UInt64>)
    func disk(seed: UInt64) async throws {
        var run = try await TimeRun(seed: seed, home: .disk, isTight: false)
        try await run.run(steps: 300)
    }

    @Test("On disk, with room for few in memory", arguments: 1...16 as ClosedRange<UInt64>)
    func tight(seed: UInt64) async throws {
        var run = try await TimeRun(seed: seed, home: .disk, isTight: true)
        try await run.run(steps: 300)
    }
}
