import Testing
import VarveTestSupport

@testable import VarvePolicy

@Suite struct FrequencySketchTests {
    @Test(arguments: 0..<5 as Range<UInt64>)
    func neverEstimatesTooLowAndSeldomTooHigh(_ seed: UInt64) {
        var random = SplitMix(seed)
        var sketch = FrequencySketch(expectedEntries: 1024)
        var counts: [UInt64: Int] = [:]
        let keys = (0..<1000).map { _ in random.next() }
        // Fewer additions than a period: nothing is halved.
        for _ in 0..<4000 {
            guard let key = keys.randomElement(using: &random) else { break }
            sketch.add(key)
            counts[key, default: 0] += 1
        }
        var tooHigh = 0
        for (key, count) in counts {
            let estimate = sketch.frequency(key)
            #expect(estimate >= min(count, FrequencySketch.most), "seed \(seed)")
            if estimate > count { tooHigh += 1 }
        }
        #expect(tooHigh < counts.count / 10, "seed \(seed): \(tooHigh) of \(counts.count)")
    }

    @Test func thePastFades() {
        var random = SplitMix(9)
        var sketch = FrequencySketch(expectedEntries: 64)
        let old = random.next()
        for _ in 0..<20 { sketch.add(old) }
        #expect(sketch.frequency(old) == FrequencySketch.most)
        for _ in 0..<3000 { sketch.add(random.next()) }
        #expect(sketch.frequency(old) < FrequencySketch.most)
    }
}
