import Testing
import VarveTestSupport

@testable import VarveEngine

@Suite("Eviction by recent reads")
struct RecencyEvictionTests {
    private static let count: UInt64 = 20_000

    private static func hash(_ id: UInt64) -> UInt64 { XXH3.seed(id, 77) }

    /// One pass over entries of one size; `read` says which were read. Returns the ids evicted.
    private static func pass(
        _ policy: RecencyEviction, share: Double, _ generator: inout SplitMix
    ) -> Set<UInt64> {
        let goal = EvictionGoal(inputBytes: count * 100, share: share, oldest: LSN(1), newest: LSN(count))
        let pass = policy.makePass(goal)
        // In key order, which has nothing to do with age.
        return Set(
            (1...count).shuffled(using: &generator).filter {
                pass.shouldEvict(EvictionCandidate(keyHash: hash($0), namespace: 16, bytes: 100, version: LSN($0)))
            })
    }

    @Test(arguments: [0.05, 0.3, 0.5, 0.9])
    func theWantedShareGoes(share: Double) {
        var generator = SplitMix(3)
        for readShare in [0.0, 0.5, 1.0] {
            let policy = RecencyEviction(expectedKeys: Int(Self.count) * 2)
            for id in 1...Self.count where Double(id % 100) < readShare * 100 {
                policy.recordRead(keyHash: Self.hash(id))
            }
            let evicted = Self.pass(policy, share: share, &generator)
            let found = Double(evicted.count) / Double(Self.count)
            #expect(abs(found - share) < 0.03, "wanted \(share), read \(readShare), found \(found)")
        }
    }

    @Test func whatWasReadStaysBeforeWhatWasNot() {
        var generator = SplitMix(4)
        let policy = RecencyEviction(expectedKeys: Int(Self.count) * 2)
        for id in 1...Self.count where id % 2 == 0 { policy.recordRead(keyHash: Self.hash(id)) }
        let evicted = Self.pass(policy, share: 0.3, &generator)
        #expect(evicted.count { $0 % 2 == 0 } * 50 < evicted.count)
    }

    @Test func theOldestGoFirst() {
        var generator = SplitMix(5)
        let evicted = Self.pass(RecencyEviction(), share: 0.25, &generator)
        let young = evicted.count { $0 > Self.count / 2 }
        #expect(young * 20 < evicted.count, "\(young) of \(evicted.count)")
    }

    @Test func readsAreForgottenAfterTwoGenerations() {
        let policy = RecencyEviction(expectedKeys: 1024)
        policy.recordRead(keyHash: Self.hash(1))
        #expect(policy.warmth(ofKeyHash: Self.hash(1)) == 2)
        for id in 1000..<2200 as Range<UInt64> { policy.recordRead(keyHash: Self.hash(id)) }
        #expect(policy.warmth(ofKeyHash: Self.hash(1)) == 1)
        for id in 3000..<6000 as Range<UInt64> { policy.recordRead(keyHash: Self.hash(id)) }
        let warm = (10_000..<10_200 as Range<UInt64>).count { policy.warmth(ofKeyHash: Self.hash($0)) > 0 }
        #expect(warm < 60, "\(warm) of 200 keys never read are taken for read")
    }
}
