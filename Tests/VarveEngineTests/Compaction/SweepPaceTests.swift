import Testing
import VarveTestSupport

@testable import VarveEngine

/// How long a turn of sweeps through the store takes.
@Suite struct SweepPaceTests {
    @Test("It comes to the present pace, whatever the steps, across the wrap", arguments: [0.01, 0.1, 1])
    func settles(step: Double) {
        var now: UInt32 = .max - 20_000
        let pace = SweepPace(supposed: 800, now: now)
        #expect(pace.turn(now: now) == 800)
        for turn in [10_000, 2000, 60_000] as [UInt32] {
            for _ in 0..<Int(8 / step) {
                now &+= UInt32(Double(turn) * step)
                pace.note(swept: step, now: now)
            }
            let found = Double(pace.turn(now: now))
            #expect(abs(found / Double(turn) - 1) < 0.05, "\(found) for \(turn)")
        }
    }

    @Test("Without sweeps the turn grows")
    func grows() {
        let pace = SweepPace(supposed: 1000, now: 1)
        for step in 1...40 as ClosedRange<UInt32> { pace.note(swept: 0.25, now: step * 250) }
        let before = pace.turn(now: 10_000)
        #expect((950...1050).contains(before))
        #expect(pace.turn(now: 15_000) > before + 4500)
        pace.restart(supposed: 320, now: 15_000)
        #expect(pace.turn(now: 15_000) == 320)
    }

    @Test("No numbers trap", arguments: 1...50 as ClosedRange<UInt64>)
    func extremes(seed: UInt64) {
        var random = SplitMix(seed)
        let pace = SweepPace(supposed: seed % 2 == 0 ? .max : 0, now: .random(in: 0...(.max), using: &random))
        for _ in 0..<200 {
            let share = [0, 1e-12, 0.5, 1, 1e9, -1, .infinity].randomElement(using: &random) ?? 0
            let now = UInt32.random(in: 0...(.max), using: &random)
            pace.note(swept: share, now: now)
            #expect(pace.turn(now: now) <= 1 << 56, "seed \(seed)")
        }
    }
}
