import Testing
import VarveTestSupport

@testable import VarveEngine

/// The picker over a long run of flushes: it comes to rest after each, keeps every level near its target, never brings
/// older data above newer, and what it rewrites and leaves lying stays within bounds. The bounds on both amplifications
/// are what was measured when they were written, and a tenth more: who changes the picker sees what it costs.
@Suite("The picker, simulated") struct PickerSimulationTests {
    /// What holds of every run once it rests.
    private func check(_ store: PickerSimulation, _ expected: [UInt64: UInt64], _ place: Comment) throws {
        let visible = try store.visible().filter { !$0.value.isDelete }.mapValues(\.lsn)
        #expect(visible == expected, place)
        for (level, score) in store.scores.enumerated() { #expect(score <= 1, "level \(level), \(place)") }
        #expect(store.version.levels[0].tables.count < store.options.levelZeroLimit, place)
        #expect(store.mostLevelZero <= store.options.levelZeroLimit, place)
    }

    private func live(_ expected: [UInt64: UInt64]) -> Double {
        Double(expected.count) * Double(PickerSimulation.entryBytes)
    }

    @Test("A random fill", arguments: 0..<2 as Range<UInt64>) func randomFill(seed: UInt64) throws {
        var random = SplitMix(seed)
        let store = PickerSimulation()
        var expected: [UInt64: UInt64] = [:]
        for number in 0..<40_000 as Range<UInt64> {
            let key = random.next()
            try store.put(key)
            expected[key] = number + 1
            if number % 10_000 == 9_999 { try check(store, expected, "seed \(seed), \(number)") }
        }
        let place: Comment = "seed \(seed): \(store.writeAmplification), \(store.shape)"
        // The log not counted. At most it could be 1 for the flush, and 11 for each of the three levels.
        #expect(store.writeAmplification < 8, place)
        // Nothing is there twice.
        #expect(Double(store.version.tableBytes) <= live(expected), place)
        // Work comes in pieces, not all at once.
        #expect(store.largestInput < 40_000 * PickerSimulation.entryBytes / 4, place)
    }

    @Test("Keys in order cost one rewrite: tables move down") func sequentialFill() throws {
        let store = PickerSimulation()
        var expected: [UInt64: UInt64] = [:]
        for number in 0..<40_000 as Range<UInt64> {
            try store.put(number)
            expected[number] = number + 1
        }
        try check(store, expected, "in order")
        #expect(store.writeAmplification < 2.05, "\(store.writeAmplification), \(store.shape)")
        #expect(store.moves > 100)
    }

    @Test("Overwriting at random", arguments: 0..<2 as Range<UInt64>) func overwrite(seed: UInt64) throws {
        var random = SplitMix(seed)
        let store = PickerSimulation()
        var expected: [UInt64: UInt64] = [:]
        var most = 0.0
        for number in 0..<50_000 as Range<UInt64> {
            let key = random.next() % 10_000
            try store.put(key)
            expected[key] = number + 1
            guard number > 25_000, number % 200 == 0 else { continue }
            most = max(most, Double(store.version.tableBytes) / live(expected))
        }
        let place: Comment = "seed \(seed): \(store.writeAmplification), \(most) times the space, \(store.shape)"
        try store.flush()
        try check(store, expected, place)
        #expect(store.writeAmplification < 6.8, place)
        #expect(most < 1.2, place)
    }

    /// Most writes meet few keys, as in a cache.
    @Test("Overwriting few keys often") func skewed() throws {
        var random = SplitMix(3)
        let store = PickerSimulation()
        var expected: [UInt64: UInt64] = [:]
        var most = 0.0
        for number in 0..<60_000 as Range<UInt64> {
            let key = number % 5 == 0 ? random.next() % 20_000 : random.next() % 400 * 50
            try store.put(key)
            expected[key] = number + 1
            guard number > 40_000, number % 200 == 0 else { continue }
            most = max(most, Double(store.version.tableBytes) / live(expected))
        }
        let place: Comment = "\(store.writeAmplification), \(most) times the space, \(store.shape)"
        try store.flush()
        try check(store, expected, place)
        #expect(store.writeAmplification < 4.2, place)
        #expect(most < 1.2, place)
    }

    /// Deletes give their space back by themselves, once they are old enough.
    @Test("What is deleted goes") func deletes() throws {
        var random = SplitMix(4)
        let store = PickerSimulation()
        for number in 0..<20_000 as Range<UInt64> { try store.put(number) }
        let full = store.version.tableBytes
        for number in (0..<20_000 as Range<UInt64>).shuffled(using: &random) { try store.delete(number) }
        try store.flush()
        try check(store, [:], "\(store.shape)")
        store.idle = 2 * store.options.tombstoneAge
        try store.settle()
        try check(store, [:], "\(store.shape)")
        // What level 0 holds waits for its merge.
        let left = store.version.tableBytes - store.version.levels[0].bytes
        #expect(left < full / 100, "\(left) of \(full): \(store.shape)")
    }
}
