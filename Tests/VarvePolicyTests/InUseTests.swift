import Testing
import VarvePolicy
import VarveTestSupport

/// What policies say of entries that a slower tier should not forget, because reads of them end here.
@Suite struct InUseTests {
    private func policy(_ kind: PolicyKind) -> MemoryPolicy {
        MemoryPolicy(kind, capacity: 100, expectedEntries: 100)
    }

    private func hash(_ id: Int) -> UInt64 { UInt64(id) &* 0x9E37_79B9_7F4A_7C15 }

    @Test("An entry is in use once it was hit; who takes its slot is not", arguments: PolicyKind.allCases)
    func hit(_ kind: PolicyKind) {
        var policy = policy(kind)
        for slot in 0..<20 { policy.admit(slot, hash: hash(slot), weight: 1, isPinned: slot % 5 == 0) }
        #expect((0..<20).count { policy.isInUse($0) } == 0)
        for slot in 0..<10 { policy.hit(slot) }
        #expect((0..<20).filter { policy.isInUse($0) } == Array(0..<10))
        policy.renumber(3, to: 30)
        #expect(policy.isInUse(30))
        policy.remove(30)
        policy.admit(30, hash: hash(300), weight: 1)
        #expect(!policy.isInUse(30))
        // What is too large is in for a moment alone.
        policy.admit(31, hash: hash(301), weight: 200)
        policy.hit(31)
        #expect(!policy.isInUse(31))
    }

    @Test("With the default one is so no longer when much has come in since")
    func lately() {
        var policy = policy(.adaptive)
        for slot in 0..<10 { policy.admit(slot, hash: hash(slot), weight: 1) }
        for _ in 0..<5 { for slot in 0..<10 { policy.hit(slot) } }
        var free = Array(10..<300)
        for id in 10..<1900 {
            guard let slot = free.popLast() else { return }
            policy.admit(slot, hash: hash(id), weight: 1)
            while let left = policy.victim() { free.append(left) }
            if id == 1000 {
                #expect((0..<10).count { policy.isInUse($0) } == 10)
                policy.hit(9)
            }
        }
        #expect(policy.hottest(10).sorted() == Array(0..<10), "it keeps them, since nothing deserved their place")
        #expect((0..<10).filter { policy.isInUse($0) } == [9])
    }
}
