import Testing
import VarveTestSupport

@testable import VarveEngine

/// What the policy admits, keeps and lets go, without a store.
@Suite struct S3FIFOEvictionTests {
    private func hash(_ id: UInt64) -> UInt64 { XXH3.seed(id, 99) }

    private func full(_ policy: S3FIFOEviction) -> S3FIFOEviction {
        policy.noteOccupancy(1)
        return policy
    }

    /// The ids that a pass over entries of equal size lets go.
    private func pass(
        _ policy: S3FIFOEviction, _ ids: some Sequence<UInt64>, _ kind: EvictionGoal.Kind, share: Double = 0.1,
        isFromAbove: Bool = false, storeEntries: UInt64 = 0
    ) -> Set<UInt64> {
        let ids = Array(ids)
        let goal = EvictionGoal(
            inputBytes: UInt64(ids.count) * 100, share: share, oldest: LSN(1), newest: LSN(9), kind: kind,
            storeEntries: storeEntries)
        let pass = policy.makePass(goal)
        return Set(
            ids.filter {
                pass.shouldEvict(
                    EvictionCandidate(
                        keyHash: hash($0), namespace: 16, bytes: 100, version: LSN(2), isFromAbove: isFromAbove))
            })
    }

    @Test("While there is room all is admitted; then what was seen before")
    func admission() {
        let policy = S3FIFOEviction(expectedEntries: 1000)
        for id in 0..<100 as Range<UInt64> { #expect(policy.admits(keyHash: hash(id))) }
        policy.noteOccupancy(0.98)
        #expect(!policy.isFull)
        policy.noteOccupancy(0.995)
        #expect(policy.isFull)
        // A sweep makes room, which is not for what is seen once.
        policy.noteOccupancy(0.7)
        #expect(!policy.admits(keyHash: hash(7000)))
        #expect(policy.wasSeenLately(keyHash: hash(7000)))
        #expect(policy.admits(keyHash: hash(7000)))
        #expect(!policy.admits(keyHash: hash(7001)))
        #expect(policy.counts == S3FIFOEviction.Counts(evicted: 0, kept: 0, ghostHits: 1, sightings: 2))
        policy.noteOccupancy(0.4)
        #expect(policy.admits(keyHash: hash(7002)))
    }

    @Test("The ghost remembers about its capacity, and nothing else", arguments: [100, 5000])
    func ghost(capacity: Int) {
        let policy = full(S3FIFOEviction(expectedEntries: capacity))
        for id in 0..<UInt64(capacity * 3) { _ = policy.admits(keyHash: hash(id)) }
        let range = UInt64(capacity * 3)
        let old = (0..<range / 2).count { policy.wasSeenLately(keyHash: hash($0)) }
        let young = (range - UInt64(capacity) * 9 / 10..<range).count { policy.wasSeenLately(keyHash: hash($0)) }
        #expect(old == 0)
        #expect(young > capacity * 8 / 10, "\(young) of \(capacity * 9 / 10)")
        let strangers = (1 << 30..<1 << 30 + 100_000 as Range<UInt64>).count { policy.wasSeenLately(keyHash: hash($0)) }
        #expect(strangers < 5)
    }

    @Test("A pass that makes room tells that the store is full, one that brings entries down does not")
    func passes() {
        let policy = S3FIFOEviction(expectedEntries: 1000)
        _ = pass(policy, 0..<10, .entering)
        #expect(!policy.isFull)
        _ = pass(policy, 0..<10, .sweep)
        #expect(policy.isFull)
    }

    /// A full policy in whose store sweeps go through everything once for each thousand sightings.
    private func paced(_ kind: EvictionGoal.Kind = .sweep) -> S3FIFOEviction {
        let policy = full(S3FIFOEviction(expectedEntries: 1000, ghostShare: 4))
        for step in 0..<50 as Range<UInt64> {
            for id in 0..<100 as Range<UInt64> { _ = policy.admits(keyHash: hash(1 << 20 + step * 100 + id)) }
            _ = pass(policy, 0..<100, kind, storeEntries: 1000)
        }
        return policy
    }

    /// Whether a key is admitted that comes back after so many sightings of others.
    private func admits(_ policy: S3FIFOEviction, after distance: UInt64, from first: UInt64) -> Bool {
        #expect(!policy.admits(keyHash: hash(first)))
        for id in 1...distance { _ = policy.admits(keyHash: hash(first + id)) }
        return policy.admits(keyHash: hash(first))
    }

    @Test("What comes back so late that it would be gone before it came again is not admitted")
    func horizon() {
        let policy = paced()
        #expect((300...366).contains(policy.horizon), "\(policy.horizon)")
        #expect(admits(policy, after: 200, from: 1 << 30))
        #expect(policy.wasSeenLately(keyHash: hash(1 << 20 + 4000)), "the ghost still knows of older ones")
        #expect(!admits(paced(), after: 1200, from: 1 << 30))
        // At first, and where only the fresh are gone through, nothing is known but what the ghost holds.
        #expect(admits(full(S3FIFOEviction(expectedEntries: 1000, ghostShare: 4)), after: 1200, from: 1 << 30))
        #expect(admits(paced(.fresh), after: 1200, from: 1 << 30))
    }

    @Test("Where so little is admitted that sweeps stop, more is by and by")
    func standstill() {
        let policy = paced()
        for id in 0..<6000 as Range<UInt64> { _ = policy.admits(keyHash: hash(1 << 25 + id)) }
        #expect(admits(policy, after: 1200, from: 1 << 30))
        // And less again once they go on.
        for id in 0..<3000 as Range<UInt64> {
            _ = policy.admits(keyHash: hash(1 << 26 + id))
            if id % 50 == 0 { _ = pass(policy, 0..<100, .sweep, storeEntries: 1000) }
        }
        #expect(policy.horizon < 250)
    }

    @Test("What was read is kept once for a credit, and goes when it is not read again")
    func credits() {
        let policy = full(S3FIFOEviction(expectedEntries: 10_000))
        for id in stride(from: 0, to: 10_000, by: 3) as StrideTo<UInt64> { policy.recordRead(keyHash: hash(id)) }
        let first = pass(policy, 0..<10_000, .sweep)
        #expect(first.count { $0 % 3 == 0 } < 40, "those met in one word with four others")
        // Few are taken for read that were not.
        #expect(first.count > 6600, "\(first.count)")
        let second = pass(policy, (0..<10_000).filter { !first.contains($0) }, .sweep)
        #expect(second.count == 10_000 - first.count)
        #expect(policy.counts.evicted == 10_000)
    }

    @Test("More credits keep longer", arguments: [1, 2, 3])
    func moreCredits(limit: Int) {
        let policy = full(S3FIFOEviction(expectedEntries: 1000, credits: limit))
        for _ in 0..<10 { policy.recordRead(keyHash: hash(1)) }
        var passes = 0
        while pass(policy, 1...1, .fresh).isEmpty { passes += 1 }
        #expect(passes == limit)
    }

    @Test("A sweep over what was all read makes room all the same")
    func progress() {
        let policy = full(S3FIFOEviction(expectedEntries: 4000, credits: 3))
        for _ in 0..<4 { for id in 0..<1000 as Range<UInt64> { policy.recordRead(keyHash: hash(id)) } }
        var left = Array(0..<1000 as Range<UInt64>)
        var passes = 0
        while !left.isEmpty, passes < 20 {
            let gone = pass(policy, left, .sweep)
            left.removeAll { gone.contains($0) }
            passes += 1
            for id in left { policy.recordRead(keyHash: hash(id)) }
            #expect(left.count < 1000 - 20 * passes)
        }
        let single = full(S3FIFOEviction(expectedEntries: 4000))
        for id in 0..<1000 as Range<UInt64> { single.recordRead(keyHash: hash(id)) }
        let share = Double(pass(single, 0..<1000, .sweep, share: 0.3).count) / 1000
        #expect(share > 0.25 && share < 0.35, "\(share)")
    }

    @Test("Who goes without having been read leaves a ghost, who had his time does not")
    func ghosts() {
        let policy = full(S3FIFOEviction(expectedEntries: 1000))
        #expect(pass(policy, 0..<50, .fresh).count == 50)
        #expect(pass(policy, 100..<150, .sweep).count == 50)
        #expect((0..<50).allSatisfy { policy.wasSeenLately(keyHash: hash($0)) })
        #expect(!(100..<150).contains { policy.wasSeenLately(keyHash: hash($0)) })
        // A merge into the last level asks only of those that come.
        #expect(pass(policy, 200..<250, .entering, share: 0).isEmpty)
        policy.recordRead(keyHash: hash(300))
        #expect(pass(policy, 300..<302, .entering, share: 0, isFromAbove: true) == [301])
    }

    @Test("Fresh tables go first where most was written unasked")
    func preference() {
        let policy = full(S3FIFOEviction(expectedEntries: 1000))
        #expect(!policy.prefersFresh)
        policy.noteWritten(entries: 200)
        #expect(policy.prefersFresh)
        for id in 0..<400 as Range<UInt64> {
            _ = policy.admits(keyHash: hash(id))
            if policy.admits(keyHash: hash(id)) { policy.noteWritten(entries: 1) }
        }
        #expect(!policy.prefersFresh)
    }

    @Test func state() {
        let policy = full(S3FIFOEviction(expectedEntries: 3000))
        for id in 0..<2000 as Range<UInt64> {
            policy.recordRead(keyHash: hash(id))
            _ = policy.admits(keyHash: hash(10_000 + id))
        }
        let state = policy.encodedState()
        let other = S3FIFOEviction(expectedEntries: 3000)
        #expect(other.restore(state))
        #expect(other.horizon == 3000, "what the ghost holds, until sweeps tell more")
        #expect(other.isFull && other.encodedState() == state)
        #expect(pass(other, 0..<2000, .fresh).count < 100)
        let known = (10_000..<12_000 as Range<UInt64>).count { other.wasSeenLately(keyHash: hash($0)) }
        #expect(known > 1900)
        #expect(!S3FIFOEviction(expectedEntries: 3001).restore(state))
        #expect(S3FIFOEviction(expectedEntries: 100).encodedState().count < 500, "an empty one is short")
    }

    @Test("A store that comes to hold more than was expected is remembered as well, with what was known before")
    func growth() {
        let policy = S3FIFOEviction(expectedEntries: 500, mostEntries: 5000)
        policy.noteEntries(500)
        #expect(policy.expectedEntries == 500)
        policy.noteOccupancy(1)
        for id in 0..<300 as Range<UInt64> {
            policy.recordRead(keyHash: hash(id))
            _ = policy.admits(keyHash: hash(10_000 + id))
        }
        policy.noteEntries(1_000_000)
        #expect(policy.expectedEntries == 4000, "as far as doubling leads")
        let before = (10_000..<10_300 as Range<UInt64>).count { policy.wasSeenLately(keyHash: hash($0)) }
        #expect(before > 280, "\(before)")
        #expect((20_000..<21_000 as Range<UInt64>).count { policy.wasSeenLately(keyHash: hash($0)) } < 5)
        #expect(pass(policy, 0..<300, .fresh).count < 30)
        // A credit is used up though it was in two places.
        #expect(pass(policy, 0..<300, .fresh).count > 200)

        for id in 0..<3000 as Range<UInt64> { policy.recordRead(keyHash: hash(30_000 + id)) }
        for id in 0..<3000 as Range<UInt64> { _ = policy.admits(keyHash: hash(40_000 + id)) }
        let seen = (40_000..<43_000 as Range<UInt64>).count { policy.wasSeenLately(keyHash: hash($0)) }
        #expect(seen > 2700, "\(seen) of 3000")
        #expect(pass(policy, 30_000..<33_000, .fresh).count < 600)

        let state = policy.encodedState()
        let other = S3FIFOEviction(expectedEntries: 500, mostEntries: 4000)
        #expect(other.restore(state) && other.expectedEntries == 4000 && other.encodedState() == state)
        #expect(!S3FIFOEviction(expectedEntries: 500, mostEntries: 3999).restore(state), "it may not become so large")
        #expect(!S3FIFOEviction(expectedEntries: 600, mostEntries: 5000).restore(state))
    }

    @Test("What was used in front of the store stays, and has a credit for the next pass")
    func used() {
        let policy = full(S3FIFOEviction(expectedEntries: 1000))
        for id in 0..<200 as Range<UInt64> { policy.recordRead(keyHash: hash(id)) }
        func left(_ share: Double, every: UInt64 = 4) -> [UInt64] {
            let goal = EvictionGoal(inputBytes: 40_000, share: share, oldest: LSN(1), newest: LSN(9))
            let pass = policy.makePass(goal)
            return (0..<400 as Range<UInt64>).filter {
                var candidate = EvictionCandidate(keyHash: hash($0), namespace: 16, bytes: 100, version: LSN(2))
                candidate.wasUsed = $0 % every == 0
                return !pass.shouldEvict(candidate)
            }
        }
        let first = left(0)
        #expect((0..<400).filter { $0 % 4 == 0 }.allSatisfy { first.contains($0) })
        #expect(first.count { $0 >= 200 && $0 % 4 != 0 } < 5 && first.count >= 240)
        // The reads have had their turn.
        #expect(left(1).count { $0 % 4 == 0 } == 100)
        #expect(left(1, every: 1).count == 400)
        // Nobody tells of use any more.
        #expect(left(0, every: 1000).count > 380)
        #expect(left(0, every: 1000).count < 20)
    }

    @Test("Damaged state is refused and leaves a usable policy", arguments: 1...200 as ClosedRange<UInt64>)
    func damage(seed: UInt64) {
        var random = SplitMix(seed)
        let policy = full(S3FIFOEviction(expectedEntries: 64))
        for id in 0..<100 as Range<UInt64> {
            policy.recordRead(keyHash: hash(id))
            _ = policy.admits(keyHash: hash(id))
        }
        var state = policy.encodedState()
        switch seed % 3 {
        case 0: state.removeLast(Int.random(in: 1...state.count, using: &random))
        case 1: state[Int.random(in: 0..<state.count, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
        default:
            // Damaged before the checksum was made.
            let place = Int.random(in: 0..<state.count - 8, using: &random)
            state[place] ^= UInt8.random(in: 1...255, using: &random)
            let sum = unsafe state.dropLast(8).withUnsafeBytes { unsafe XXH3.hash64($0) }
            state.removeLast(8)
            for byte in 0..<8 { state.append(UInt8(truncatingIfNeeded: sum >> UInt64(8 * byte))) }
        }
        let other = S3FIFOEviction(expectedEntries: 64)
        let taken = other.restore(state)
        #expect(!taken || seed % 3 == 2, "seed \(seed)")
        for id in 0..<200 as Range<UInt64> {
            other.recordRead(keyHash: hash(id))
            _ = other.admits(keyHash: hash(id))
        }
        _ = pass(other, 0..<300, .sweep)
    }
}
