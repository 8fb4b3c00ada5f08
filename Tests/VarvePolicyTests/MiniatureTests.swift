import Testing
import VarveTestSupport

@testable import VarvePolicy

@Suite struct MiniatureTests {
    /// A miniature with all keys is the cache itself.
    @Test(arguments: [20, 512, 973], 0..<3 as Range<UInt64>)
    func countsTheHitsOfTheQueuesThatItImitates(_ share: Int, _ seed: UInt64) {
        var random = SplitMix(seed)
        var miniature = Miniature(capacity: 90, expectedEntries: 90, windowShare: share)
        var queue = ReuseQueue(capacity: 90, expectedEntries: 90, windowShare: share)
        var slots: [UInt64: UInt32] = [:]
        for step in 0..<4000 {
            let fraction = Double.random(in: 0..<1, using: &random)
            let hash = SlotQueues.mixed(UInt64(600 * fraction * fraction))
            let isThere = slots[hash] != nil
            let isFound = miniature.access(hash, weight: 1)
            #expect(isFound == isThere, "seed \(seed), step \(step)")
            if let slot = slots[hash] {
                queue.hit(slot)
            } else {
                let used = Set(slots.values)
                guard let slot = (0..<200 as Range<UInt32>).first(where: { !used.contains($0) }) else { break }
                queue.admit(slot, mixed: hash, weight: 1)
                slots[hash] = slot
                while let left = queue.victim() { slots[queue.slots[left].hash] = nil }
            }
            #expect(miniature.count == slots.count, "seed \(seed), step \(step)")
        }
    }

    @Test func whatWouldFlushTheSampleIsNotInIt() {
        var miniature = Miniature(capacity: 1000, expectedEntries: 100, windowShare: 102)
        for key in 0..<50 as Range<UInt64> { _ = miniature.access(SlotQueues.mixed(key), weight: 20) }
        for _ in 0..<2 {
            let isThere = miniature.access(SlotQueues.mixed(99), weight: 900)
            #expect(!isThere)
        }
        #expect(miniature.count == 50)
    }
}
