import Testing
import VarvePolicy
import VarveTestSupport

/// What a policy remembers beyond its process.
@Suite struct WarmRestartTests {
    private func warm(_ kind: PolicyKind) -> Driver {
        var random = SplitMix(11)
        var driver = Driver(kind, capacity: 500)
        for _ in 0..<12_000 {
            let fraction = Double.random(in: 0..<1, using: &random)
            driver.request(UInt64(5000 * fraction * fraction * fraction))
        }
        return driver
    }

    @Test(arguments: PolicyKind.allCases)
    func stateGoesIntoAnotherPolicyOfItsKind(_ kind: PolicyKind) {
        let bytes = warm(kind).policy.exportState()
        for other in PolicyKind.allCases {
            var policy = MemoryPolicy(other, capacity: 500, expectedEntries: 500)
            let isTaken = policy.importState(bytes)
            #expect(isTaken == (other == kind))
        }
        var used = MemoryPolicy(kind, capacity: 500, expectedEntries: 500)
        used.admit(0, hash: 0, weight: 1)
        let isTaken = used.importState(bytes)
        #expect(!isTaken, "a policy that holds something takes nothing up")
    }

    @Test func theDefaultKnowsWhatWasIn() {
        let before = warm(.adaptive)
        var after = MemoryPolicy(.adaptive, capacity: 500, expectedEntries: 500)
        let isTaken = after.importState(before.policy.exportState())
        #expect(isTaken)
        let known = before.keys.filter { after.frequency(hash: Driver.hash($0)) > 0 }
        #expect(known.count > before.keys.count * 9 / 10)
        let strangers = (1_000_000..<1_001_000 as Range<UInt64>).filter { after.frequency(hash: Driver.hash($0)) > 0 }
        #expect(strangers.count < 10)
    }

    @Test func theSketchIsTheSame() {
        let before = warm(.wTinyLFU)
        var after = MemoryPolicy(.wTinyLFU, capacity: 500, expectedEntries: 500)
        let isTaken = after.importState(before.policy.exportState())
        #expect(isTaken)
        for key in 0..<5000 as Range<UInt64> {
            #expect(after.frequency(hash: Driver.hash(key)) == before.policy.frequency(hash: Driver.hash(key)))
        }
    }

    @Test(arguments: PolicyKind.allCases)
    func damagedBytesDoNoHarm(_ kind: PolicyKind) {
        let good = warm(kind).policy.exportState()
        var random = SplitMix(13)
        for round in 0..<60 {
            var bytes = good
            if round % 2 == 0 { bytes.removeLast(Int.random(in: 1...bytes.count, using: &random)) }
            for _ in 0..<Int.random(in: 0..<8, using: &random) where !bytes.isEmpty {
                let place = min(
                    bytes.count - 1, Int.random(in: 0..<(round % 3 == 0 ? 24 : bytes.count), using: &random))
                bytes[place] = random.byte()
            }
            var driver = Driver(kind, capacity: 500)
            _ = driver.policy.importState(bytes)
            for _ in 0..<600 { driver.request(random.next() % 700) }
            #expect(driver.policy.weight <= 500)
            #expect(driver.hits > 0)
        }
    }
}
