import Testing

@testable import VarveEngine

/// When sweeps go by what is used in front of the store, and when that would leave no room.
@Suite struct FrontTrustTests {
    /// How many of so many sweeps over a hundredth of the store each ask.
    private func asking(
        _ trust: inout FrontTrust, _ sweeps: Int, spared: UInt64, of asked: UInt64 = 100, poor: Int = 0
    ) -> Int {
        (0..<sweeps).count { _ in
            defer {
                trust.note(
                    read: 100, asked: asked, spared: trust.asks ? spared : 0, storeEntries: 10_000, poor: poor)
            }
            return trust.asks
        }
    }

    @Test("As long as sweeps find a quarter that was not used, they ask")
    func asks() {
        var trust = FrontTrust()
        #expect(asking(&trust, 1000, spared: 75) == 1000)
        // Some tables may be used as a whole.
        for _ in 0..<100 {
            #expect(asking(&trust, 40, spared: 100) == 40)
            #expect(asking(&trust, 1, spared: 0) == 1)
        }
    }

    @Test("Where most of the store is used, they ask for half a turn in eight")
    func rests() {
        var trust = FrontTrust()
        #expect(asking(&trust, 51, spared: 100) == 51)
        #expect(asking(&trust, 800, spared: 100) == 0)
        #expect(asking(&trust, 851, spared: 100) == 51)
    }

    @Test("While nothing is written, sixteen sweeps without room are enough")
    func poor() {
        var trust = FrontTrust()
        #expect(asking(&trust, 15, spared: 100, poor: 15) == 15)
        #expect(asking(&trust, 2, spared: 100, poor: 16) == 1)
    }

    @Test("Whatever else has to stay, pinned or held by a snapshot")
    func besidePinned() {
        var trust = FrontTrust()
        #expect(asking(&trust, 100, spared: 60, of: 60) == 84, "more than half of the store was spared")
        trust = FrontTrust()
        #expect(asking(&trust, 40, spared: 10, of: 100, poor: 20) == 1)
    }
}
