import Testing

@testable import VarvePolicy

/// Slots are taken one after the other as a shard fills: what is kept of them must not be copied for each.
@Suite struct GrowthTests {
    private static let slots: UInt32 = 20_000
    /// About as often as the two arrays of a policy would double one after the other.
    private static let mostCopies = 32

    /// How often a room changed while every slot was taken once.
    private func copies(_ take: (UInt32) -> Int) -> Int {
        var copies = 0
        var room = 0
        for slot in 0..<Self.slots {
            let now = take(slot)
            if now != room { copies += 1 }
            room = now
        }
        return copies
    }

    @Test func aPolicyThatFillsCopiesItsRecordsSeldom() {
        var queues = SlotQueues()
        let copies = copies { slot in
            queues.add(slot, mixed: UInt64(slot), weight: 1, to: .main)
            return queues.slotCapacity
        }
        #expect(queues.slotCapacity >= Int(Self.slots))
        #expect(copies <= Self.mostCopies, "\(copies) times for \(Self.slots) slots")
    }

    @Test func aWheelThatFillsCopiesItsRecordsSeldom() {
        var wheel = TimerWheel(now: 0)
        let copies = copies { slot in
            wheel.schedule(slot, at: 1 << 40)
            return wheel.slotCapacity
        }
        #expect(wheel.slotCapacity >= Int(Self.slots))
        #expect(copies <= Self.mostCopies, "\(copies) times for \(Self.slots) slots")
    }
}
