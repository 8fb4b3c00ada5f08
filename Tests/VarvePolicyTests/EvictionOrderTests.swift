import Testing
import VarveTestSupport

@testable import VarvePolicy

/// What each policy is for: the order in which it lets go.
@Suite struct EvictionOrderTests {
    /// Against the obvious implementation: a sorted list of all that is in.
    @Test(arguments: [PolicyKind.fifo, .lru, .lfu], 0..<5 as Range<UInt64>)
    func leavesInTheOrderOfItsName(_ kind: PolicyKind, _ seed: UInt64) {
        struct Entry {
            var slot: Int
            var rank: (Int, Int)
            var hits = 1
        }
        var random = SplitMix(seed)
        var policy = MemoryPolicy(kind, capacity: 30, expectedEntries: 30)
        var entries: [Entry] = []
        var age = 0
        for time in 0..<5000 {
            let slot = Int.random(in: 0..<60, using: &random)
            if let index = entries.firstIndex(where: { $0.slot == slot }) {
                policy.hit(slot)
                entries[index].hits += 1
                if kind == .lru { entries[index].rank = (0, time) }
                if kind == .lfu { entries[index].rank = (entries[index].hits + age, time) }
                continue
            }
            policy.admit(slot, hash: UInt64(slot), weight: 1)
            entries.append(Entry(slot: slot, rank: (kind == .lfu ? 1 + age : 0, time)))
            guard entries.count > 30, let least = entries.min(by: { $0.rank < $1.rank }) else { continue }
            entries.removeAll { $0.slot == least.slot }
            age = max(age, least.rank.0)
            #expect(policy.victim() == least.slot, "seed \(seed), step \(time)")
        }
    }

    private func ratios(
        _ capacity: Int, _ keys: some Sequence<UInt64>, _ kinds: [PolicyKind]
    ) -> [PolicyKind: Double] {
        var ratios: [PolicyKind: Double] = [:]
        for kind in kinds {
            var driver = Driver(kind, capacity: capacity)
            for key in keys { driver.request(key) }
            ratios[kind] = driver.ratio
        }
        return ratios
    }

    private func ratio(_ kind: PolicyKind, _ ratios: [PolicyKind: Double]) -> Double { ratios[kind] ?? -1 }

    @Test func aLoopDefeatsRecencyAndNotTheDefault() {
        let found = ratios(400, (0..<20_000).map { UInt64($0 % 500) }, [.lru, .fifo, .adaptive, .wTinyLFU])
        #expect(ratio(.lru, found) == 0)
        #expect(ratio(.fifo, found) == 0)
        #expect(ratio(.adaptive, found) > 0.65, "four fifths of the loop fit")
        #expect(ratio(.wTinyLFU, found) > 0.5)
    }

    @Test(arguments: [200, 1500])
    func whatIsReusedSoonIsFoundByTheDefaultAsByLRU(_ capacity: Int) {
        // Each object is used again once or twice, at a distance of up to the cache's size, and then never.
        var random = SplitMix(7)
        var keys: [UInt64] = []
        for fresh in 0..<30_000 as Range<UInt64> {
            keys.append(fresh)
            let back = UInt64.random(in: 0..<UInt64(capacity * 2 / 5), using: &random)
            if fresh > back { keys.append(fresh - back) }
        }
        let found = ratios(capacity, keys, [.adaptive, .lru])
        #expect(ratio(.adaptive, found) > ratio(.lru, found) - 0.03)
        #expect(ratio(.lru, found) > 0.3)
    }

    @Test func aScanDoesNotDriveOutWhatIsPopular() {
        var random = SplitMix(3)
        var keys: [UInt64] = []
        for round in 0..<12 as Range<UInt64> {
            for _ in 0..<2000 { keys.append(UInt64.random(in: 0..<400, using: &random)) }
            for step in 0..<1500 as Range<UInt64> { keys.append(1_000_000 + round * 1500 + step) }
        }
        let found = ratios(500, keys, [.adaptive, .lru, .s3FIFO, .wTinyLFU])
        #expect(ratio(.adaptive, found) > ratio(.lru, found) + 0.02)
        #expect(ratio(.s3FIFO, found) > ratio(.lru, found) + 0.02)
        #expect(ratio(.wTinyLFU, found) > ratio(.lru, found) + 0.02)
    }

    @Test func theWindowFollowsTheTraffic() {
        func share(_ keys: some Sequence<UInt64>) -> Int {
            var queue = AdaptiveQueue(capacity: 300, expectedEntries: 300)
            var slots: [UInt64: UInt32] = [:]
            var keyOf: [UInt32: UInt64] = [:]
            var free = (0..<400 as Range<UInt32>).reversed().map { $0 }
            for key in keys {
                if let slot = slots[key] {
                    queue.hit(slot)
                    continue
                }
                guard let slot = free.popLast() else { break }
                slots[key] = slot
                keyOf[slot] = key
                queue.admit(slot, hash: SlotQueues.mixed(key), weight: 1, isPinned: false)
                while let left = queue.victim() {
                    slots[keyOf[left] ?? 0] = nil
                    free.append(left)
                }
            }
            return queue.windowShare
        }
        // Reuse at two thirds of the capacity, once: only a wide window catches it.
        let recent = (0..<20_000).map { UInt64($0 % 2 == 0 ? $0 : max(0, $0 - 421)) }
        #expect(share(recent) == WindowTuner.shares[3])
        var random = SplitMix(5)
        let popular = (0..<20_000).map { _ in
            let fraction = Double.random(in: 0..<1, using: &random)
            return UInt64(3000 * fraction * fraction * fraction)
        }
        #expect(share(popular) <= WindowTuner.shares[1])
    }

    @Test(arguments: [PolicyKind.adaptive, .s3FIFO, .wTinyLFU, .lru, .lfu])
    func whatIsReadMostComesFirst(_ kind: PolicyKind) {
        var driver = Driver(kind, capacity: 100)
        for key in 0..<100 as Range<UInt64> { driver.request(key) }
        for _ in 0..<4 { for key in [17, 4, 90] as [UInt64] { driver.request(key) } }
        #expect(Set(driver.policy.hottest(3)) == [17, 4, 90], "slots are given out in the order of the keys")
    }
}
