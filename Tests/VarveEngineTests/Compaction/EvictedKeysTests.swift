import Testing
import VarveTestSupport

@testable import VarveEngine

/// What is remembered of keys that were let go, for misses to name their cause.
struct EvictedKeysTests {
    private func hashes(_ count: Int, _ random: inout SplitMix) -> [UInt64] { (0..<count).map { _ in random.next() } }

    @Test(
        "A key that went is known until others have taken its place, and hardly another",
        arguments: 1...4 as ClosedRange<UInt64>)
    func remembers(seed: UInt64) {
        var random = SplitMix(course: seed)
        let keys = EvictedKeys(capacity: 4096)
        let gone = hashes(1000, &random)
        for hash in gone { keys.insert(hash) }
        #expect(gone.filter(keys.contains).count > 980, "seed \(seed)")
        #expect(hashes(100_000, &random).filter(keys.contains).count < 20, "seed \(seed)")
        // The same key again takes no other's place.
        for _ in 0..<10 { keys.insert(gone[0]) }
        #expect(gone.filter(keys.contains).count > 980, "seed \(seed)")
        for hash in hashes(100_000, &random) { keys.insert(hash) }
        #expect(gone.filter(keys.contains).count < 20, "seed \(seed)")
    }

    @Test("Doubled, it knows what it knew, and has room for as much again", arguments: 1...2 as ClosedRange<UInt64>)
    func doubles(seed: UInt64) {
        var random = SplitMix(course: seed)
        let keys = EvictedKeys(capacity: 1024, growth: 4)
        let gone = hashes(400, &random)
        for hash in gone { keys.insert(hash) }
        let known = gone.filter(keys.contains)
        keys.double()
        #expect(known.allSatisfy(keys.contains), "seed \(seed)")
        keys.double()
        #expect(known.allSatisfy(keys.contains), "seed \(seed)")
        for hash in hashes(600, &random) { keys.insert(hash) }
        #expect(known.filter(keys.contains).count > known.count * 9 / 10, "seed \(seed)")
    }

    @Test("Hashes whose upper bits are nothing are keys like others")
    func zero() {
        let keys = EvictedKeys(capacity: 256)
        #expect(!keys.contains(0) && !keys.contains(1 << 48))
        keys.insert(0)
        #expect(keys.contains(0))
    }
}
