import Testing

@testable import VarvePolicy

/// Slots are taken one after the other as a shard fills: what is kept of them must not be copied for each.
@Suite struct GrowthTests {
    private static let slots: UInt32 = 20_000
    /// Somewhat more often than an array of them would double.
    private static let mostCopies = 20

    /// How often a room changed while every slot was taken once.
    private func copies(_ take: (UInt32) -> Int) -> Int {
        var copies = 0
        var room = 0
        for slot in 0..<Self.slots {
            let now = take(slot)
            if now != room { copies += 1 }
            room = now
        }
        #expect(room >= Int(Self.slots))
        return copies
    }

    @Test func aPolicyThatFillsCopiesItsRecordsSeldom() {
        let parts: [(SlotQueues) -> Int] = [{ $0.slotCapacities.nodes }, { $0.slotCapacities.marks }]
        for part in parts {
            var queues = SlotQueues()
            let copies = copies { slot in
                queues.add(slot, mixed: UInt64(slot), weight: 1, to: .main)
                return part(queues)
            }
            #expect(copies <= Self.mostCopies, "\(copies) times for \(Self.slots) slots")
        }
    }

    @Test func aWheelThatFillsCopiesItsRecordsSeldom() {
        var wheel = TimerWheel(now: 0)
        let copies = copies { slot in
            wheel.schedule(slot, at: 1 << 40)
            return wheel.slotCapacity
        }
        #expect(copies <= Self.mostCopies, "\(copies) times for \(Self.slots) slots")
    }
}
