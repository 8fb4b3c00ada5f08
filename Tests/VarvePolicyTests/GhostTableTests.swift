import Testing
import VarveTestSupport

@testable import VarvePolicy

@Suite struct GhostTableTests {
    @Test func remembersWhatItWasTold() {
        var random = SplitMix(1)
        var table = GhostTable(capacity: 4000)
        var told: [UInt64: UInt16] = [:]
        for tick in 0..<1000 as Range<UInt16> {
            let hash = random.next()
            table.insert(hash, tick: tick)
            told[hash] = tick
        }
        // A quarter full: hardly a bucket has overflown.
        let kept = told.filter { table.tick(of: $0.key) == $0.value }
        #expect(kept.count > 990)
        let strangers = (0..<10_000).filter { _ in table.tick(of: random.next()) != nil }
        #expect(strangers.count < 20, "a fingerprint of 16 bits, eight to a bucket")
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func aBucketIsAQueue(_ seed: UInt64) {
        var random = SplitMix(seed)
        var table = GhostTable(capacity: 8)
        var model: [(fingerprint: UInt64, tick: UInt16)] = []
        for step in 0..<3000 {
            let hash = UInt64.random(in: 1...40, using: &random) << 32 | UInt64.random(in: 1...12, using: &random)
            let fingerprint = hash & 0xFFFF
            let index = model.firstIndex { $0.fingerprint == fingerprint }
            #expect(table.tick(of: hash) == index.map { model[$0].tick }, "seed \(seed), step \(step)")
            if Bool.random(using: &random) {
                #expect(table.take(hash) == index.map { model.remove(at: $0).tick }, "seed \(seed), step \(step)")
            } else {
                let tick = UInt16(truncatingIfNeeded: step)
                table.insert(hash, tick: tick)
                model.insert((fingerprint, tick), at: 0)
                if model.count > 8 { model.removeLast() }
            }
        }
    }

    @Test func doublingForgetsNobody() {
        var random = SplitMix(2)
        var table = GhostTable(capacity: 800)
        let hashes = (0..<200).map { _ in random.next() }
        for hash in hashes { table.insert(hash, tick: 7) }
        let before = hashes.filter { table.tick(of: $0) == 7 }
        table.double()
        table.double()
        #expect(table.capacity == 3200)
        #expect(before.allSatisfy { table.tick(of: $0) == 7 })
    }
}
