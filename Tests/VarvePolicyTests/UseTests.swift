import Testing
import VarvePolicy
import VarveTestSupport

/// What policies tell a slower tier of reads that end here.
@Suite struct UseTests {
    private func policy(_ kind: PolicyKind) -> MemoryPolicy {
        MemoryPolicy(kind, capacity: 100, expectedEntries: 100)
    }

    private func hash(_ id: Int) -> UInt64 { UInt64(id) &* 0x9E37_79B9_7F4A_7C15 }

    /// The slots below 200 that were used.
    private func used(_ policy: inout MemoryPolicy, _ slots: Range<Int> = 0..<200) -> [Int] {
        var found: [Int] = []
        for slot in slots where policy.takeUse(slot) { found.append(slot) }
        return found
    }

    @Test("A hit is told twice, and not of who takes the slot", arguments: PolicyKind.allCases)
    func asked(_ kind: PolicyKind) {
        var policy = policy(kind)
        for slot in 0..<20 { policy.admit(slot, hash: hash(slot), weight: 1, isPinned: slot % 5 == 0) }
        #expect(used(&policy, 0..<20) == [])
        for _ in 0..<5 { for slot in 0..<10 { policy.hit(slot) } }
        #expect(used(&policy, 0..<20) == Array(0..<10))
        #expect(used(&policy, 0..<20) == Array(0..<10))
        #expect(used(&policy, 0..<20) == [])
        // However often it was hit before, and with nothing between.
        policy.hit(3)
        #expect(used(&policy, 0..<20) == [3])
        policy.renumber(3, to: 30)
        #expect(used(&policy, 30..<31) == [30])
        policy.hit(30)
        policy.remove(30)
        policy.admit(30, hash: hash(3), weight: 1)
        #expect(used(&policy, 30..<31) == [])
        // What is too large is in for a moment alone.
        policy.admit(31, hash: hash(301), weight: 200)
        policy.hit(31)
        #expect(used(&policy, 31..<32) == [])
    }

    @Test(
        "What was hit has its worth, more than what was hit less, and a slower tier is told of it none the less",
        arguments: PolicyKind.allCases)
    func worth(_ kind: PolicyKind) throws {
        var policy = policy(kind)
        for slot in 0..<20 { policy.admit(slot, hash: hash(slot), weight: 1, isPinned: slot == 4) }
        for slot in 0..<10 { for _ in 0..<(slot < 5 ? 1 : 3) { policy.hit(slot) } }
        let worth = (0..<20).map { policy.worthOfUse($0) }
        #expect(worth[10...] == Array(repeating: nil, count: 10)[...])
        #expect(worth[4] == .max)
        let (little, much) = (try #require(worth[0]), try #require(worth[9]))
        #expect(kind == .fifo ? little == much : little < much)
        #expect(much < .max)
        // What is too large is in for a moment alone.
        policy.admit(20, hash: hash(20), weight: 200)
        policy.hit(20)
        #expect(policy.worthOfUse(20) == nil)
        #expect(used(&policy, 0..<20) == Array(0..<10))
        #expect(used(&policy, 0..<20) == Array(0..<10))
        #expect(worth.indices.allSatisfy { policy.worthOfUse($0) == nil })
    }

    @Test("Moving to another queue takes no use away", arguments: PolicyKind.allCases)
    func moved(_ kind: PolicyKind) {
        var policy = policy(kind)
        var free = Array(0..<200)
        var slots: Set<Int> = []
        for id in 0..<2000 {
            guard let slot = free.popLast() else { return }
            policy.admit(slot, hash: hash(id), weight: 1)
            slots.insert(slot)
            for _ in 0..<3 { policy.hit(slot) }
            while let left = policy.victim() {
                free.append(left)
                slots.remove(left)
            }
        }
        #expect(slots.count == 100)
        var left: [Int] = []
        for slot in slots.sorted() where policy.takeUse(slot) { left.append(slot) }
        #expect(left == slots.sorted())
    }
}
