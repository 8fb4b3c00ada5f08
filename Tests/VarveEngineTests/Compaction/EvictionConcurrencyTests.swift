import Dispatch
import Testing
import VarveTestSupport

@testable import VarveEngine

/// What eviction remembers grows while others read and change it.
@Suite struct EvictionConcurrencyTests {
    @Test("Reads and sightings meet tables that grow, are written and gone through", arguments: 1...3)
    func growth(_ round: Int) {
        let policy = S3FIFOEviction(expectedEntries: 500, mostEntries: 1 << 16)
        policy.noteOccupancy(1)
        @Sendable func hash(_ id: Int) -> UInt64 { XXH3.seed(UInt64(id), UInt64(round)) }
        DispatchQueue.concurrentPerform(iterations: 4) { thread in
            switch thread {
            case 0: for step in 0..<64 { policy.noteEntries(UInt64(step) * 1024) }
            case 1:
                for _ in 0..<10 {
                    _ = policy.encodedState()
                    let goal = EvictionGoal(inputBytes: 100_000, share: 0.1, oldest: LSN(1), newest: LSN(9))
                    let pass = policy.makePass(goal)
                    for id in 0..<1000 {
                        let candidate = EvictionCandidate(
                            keyHash: hash(id), namespace: 16, bytes: 100, version: LSN(2))
                        _ = pass.shouldEvict(candidate)
                    }
                }
            default:
                for id in 0..<20_000 {
                    policy.recordRead(keyHash: hash(id * 2 + thread))
                    _ = policy.admits(keyHash: hash(1_000_000 + id * 2 + thread))
                }
            }
        }
        #expect(policy.expectedEntries == 64_000)
        for id in 0..<1000 { policy.recordRead(keyHash: hash(5_000_000 + id)) }
        #expect((0..<1000).count { policy.warmth(ofKeyHash: hash(5_000_000 + $0)) > 0 } > 900)
        let state = policy.encodedState()
        let other = S3FIFOEviction(expectedEntries: 500, mostEntries: 1 << 16)
        #expect(other.restore(state) && other.encodedState() == state)
    }
}
