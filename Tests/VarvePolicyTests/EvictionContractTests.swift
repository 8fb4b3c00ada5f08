import Testing
import VarvePolicy
import VarveTestSupport

/// What holds of every policy: random operations against a dictionary of what is in.
@Suite struct EvictionContractTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let kind: PolicyKind
        let seed: UInt64
        /// Weights are all one, or anything.
        let isUnit: Bool
        var testDescription: String { "\(kind.rawValue), seed \(seed), \(isUnit ? "entries" : "bytes")" }
    }

    static let cases: [Case] = PolicyKind.allCases.flatMap { kind in
        (0..<6 as Range<UInt64>).map { Case(kind: kind, seed: $0, isUnit: $0 % 2 == 0) }
    }

    struct Member {
        var weight: Int
        var isPinned: Bool
    }

    /// The policy beside its model.
    struct Pair {
        var policy: MemoryPolicy
        var members: [Int: Member] = [:]
        let name: String

        var weight: Int { members.values.reduce(0) { $0 + $1.weight } }

        mutating func evict() {
            let heavy = members.filter { $0.value.weight > policy.capacity && !$0.value.isPinned }
            let isOver = weight > policy.capacity || !heavy.isEmpty
            var left: [Int] = []
            while let slot = policy.victim() {
                #expect(members[slot] != nil, "\(name): \(slot) left and was not in")
                #expect(members[slot]?.isPinned == false, "\(name): \(slot) is pinned and left")
                // The weight before this victim went was too much, or it was the one that alone is too much.
                let isNeeded = weight > policy.capacity || (members[slot]?.weight ?? 0) > policy.capacity
                #expect(isNeeded, "\(name): \(slot) left without need")
                members[slot] = nil
                left.append(slot)
            }
            #expect(isOver || left.isEmpty, "\(name)")
            let rest = members.values.contains { !$0.isPinned }
            #expect(weight <= policy.capacity || !rest, "\(name): too much is in")
        }

        func check() {
            #expect(policy.weight == weight, "\(name)")
            #expect(policy.count == members.count, "\(name)")
            let hottest = policy.hottest(.max)
            #expect(hottest.sorted() == members.keys.sorted(), "\(name): not what is in, or not once each")
            let firstLoose = hottest.firstIndex { members[$0]?.isPinned == false } ?? hottest.count
            #expect(
                hottest[firstLoose...].allSatisfy { members[$0]?.isPinned == false }, "\(name): pinned ones come first")
            #expect(policy.hottest(3) == Array(hottest.prefix(3)), "\(name)")
        }
    }

    @Test(arguments: cases)
    func keepsItsPromises(_ test: Case) {
        var random = SplitMix(test.seed)
        let capacity =
            test.isUnit ? Int.random(in: 1...200, using: &random) : Int.random(in: 500...20000, using: &random)
        var pair = Pair(
            policy: MemoryPolicy(test.kind, capacity: capacity, expectedEntries: 100), name: test.testDescription)
        func weight(_ random: inout SplitMix) -> Int {
            test.isUnit
                ? 1 : Int.random(in: 1...(Int.random(in: 0..<50, using: &random) == 0 ? 30000 : 200), using: &random)
        }
        for step in 0..<3000 {
            let slot = Int.random(in: 0..<400, using: &random)
            let hash = UInt64(slot % 300) &* 0x9E37_79B9_7F4A_7C15
            let isPinned = Int.random(in: 0..<25, using: &random) == 0
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<8 where pair.members[slot] == nil:
                pair.members[slot] = Member(weight: weight(&random), isPinned: isPinned)
                pair.policy.admit(slot, hash: hash, weight: pair.members[slot]?.weight ?? 0, isPinned: isPinned)
                pair.evict()
            case 0..<16 where pair.members[slot] != nil: pair.policy.hit(slot)
            case 16 where pair.members[slot] != nil:
                pair.policy.remove(slot)
                pair.members[slot] = nil
            case 17 where pair.members[slot] != nil:
                let new = Member(weight: weight(&random), isPinned: isPinned)
                pair.members[slot] = new
                pair.policy.update(slot, weight: new.weight, isPinned: new.isPinned)
                pair.evict()
            case 18: pair.policy.recordMiss(hash: hash)
            case 19 where step % 40 == 0:
                pair.policy.capacity = Int.random(in: 0...capacity, using: &random)
                // What is in already is not too heavy: it leaves in its turn.
                while let left = pair.policy.victim() { pair.members[left] = nil }
            default: break
            }
            if step % 50 == 0 { pair.check() }
        }
        pair.check()
    }

    @Test(arguments: PolicyKind.allCases)
    func nothingFitsIntoNothing(_ kind: PolicyKind) {
        var policy = MemoryPolicy(kind, capacity: 0, expectedEntries: 0)
        for slot in 0..<10 {
            policy.admit(slot, hash: UInt64(slot), weight: 1)
            #expect(policy.victim() == slot)
            #expect(policy.victim() == nil)
        }
        #expect(policy.weight == 0)
    }

    @Test(arguments: PolicyKind.allCases)
    func whatIsHeavierThanTheCapacityDrivesNothingOut(_ kind: PolicyKind) {
        var policy = MemoryPolicy(kind, capacity: 100, expectedEntries: 10)
        for slot in 0..<10 { policy.admit(slot, hash: UInt64(slot), weight: 10) }
        policy.admit(10, hash: 10, weight: 101)
        #expect(policy.victim() == 10)
        policy.update(3, weight: 5000, isPinned: false)
        #expect(policy.victim() == 3)
        #expect(policy.victim() == nil)
        #expect(policy.count == 9)
    }

    @Test(arguments: PolicyKind.allCases)
    func pinnedOnesStayAndCanBeLetGo(_ kind: PolicyKind) {
        var policy = MemoryPolicy(kind, capacity: 4, expectedEntries: 4)
        for slot in 0..<4 { policy.admit(slot, hash: UInt64(slot), weight: 1, isPinned: true) }
        policy.admit(4, hash: 4, weight: 1)
        #expect(policy.victim() == 4, "the only one that may leave")
        policy.capacity = 2
        #expect(policy.victim() == nil, "all that is left is pinned")
        policy.update(1, weight: 1, isPinned: false)
        #expect(policy.victim() == 1)
        #expect(policy.victim() == nil)
    }

    /// Bytes and entries are one thing: weights and capacity a thousand times as large change nothing but the rounding of
    /// shares.
    @Test(arguments: PolicyKind.allCases, 0..<2 as Range<UInt64>)
    func theUnitOfWeightDoesNotMatter(_ kind: PolicyKind, _ seed: UInt64) {
        var random = SplitMix(seed)
        var small = Driver(kind, capacity: 1024, weight: 1)
        var large = Driver(kind, capacity: 1024 * 1024, weight: 1024)
        for _ in 0..<12_000 {
            let key = UInt64(Double(6000).squareRoot() * Double(Int.random(in: 0..<6000, using: &random)).squareRoot())
            let half = Bool.random(using: &random) ? key : key % 900
            small.request(half)
            large.request(half)
        }
        #expect(abs(small.ratio - large.ratio) < 0.003, "seed \(seed)")
        #expect(small.ratio > 0.2, "seed \(seed)")
    }
}
