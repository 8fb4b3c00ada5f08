import Testing
import VarvePolicy
import VarveTestSupport

/// The wheel against a dictionary of deadlines, under clocks that creep, leap and step back.
@Suite struct TimerWheelTests {
    static let second: Int64 = 1_000_000_000
    /// The width of the narrowest bucket: how late an expiry may be reported.
    static let width: Int64 = 1 << 30

    @Test(arguments: 0..<20 as Range<UInt64>)
    func expiresWhatIsDueAndNothingElse(_ seed: UInt64) {
        var random = SplitMix(seed)
        var now: Int64 = seed % 3 == 0 ? -5_000 * Self.second : 1_790_000_000 * Self.second
        var wheel = TimerWheel(now: now)
        var model: [UInt32: Int64] = [:]
        for step in 0..<4000 {
            let slot = UInt32.random(in: 0..<200, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<6:
                let reach = Int64(1) << Int64.random(in: 20..<58, using: &random)
                let deadline = now &+ Int64.random(in: -reach / 8..<reach, using: &random)
                wheel.schedule(slot, at: deadline)
                model[slot] = deadline
            case 6:
                wheel.cancel(slot)
                model[slot] = nil
            default:
                let leap = Int64(1) << Int64.random(in: 20..<(step % 100 == 0 ? 56 : 40), using: &random)
                now += Bool.random(using: &random) ? leap : leap / 3
                if Int.random(in: 0..<20, using: &random) == 0 { now -= leap * 2 }
                var steps = 0
                while true {
                    if steps == 0 { steps = .random(in: 1...20, using: &random) }
                    guard let expired = wheel.nextExpired(at: now, steps: &steps) else {
                        if steps > 0 { break } else { continue }
                    }
                    let deadline = model.removeValue(forKey: expired)
                    #expect(deadline != nil, "seed \(seed): slot \(expired) came twice or was cancelled")
                    #expect((deadline ?? now) <= now, "seed \(seed): slot \(expired) came early")
                }
                for (slot, deadline) in model {
                    #expect(deadline > now - Self.width, "seed \(seed), step \(step): slot \(slot) was forgotten")
                }
            }
            #expect(wheel.count == model.count, "seed \(seed)")
        }
    }

    @Test func aBucketOfManyIsTakenApartInBoundedSteps() {
        let many: UInt32 = 20_000
        var wheel = TimerWheel(now: 0)
        for slot in 0..<many { wheel.schedule(slot, at: 300 * Self.second + Int64(slot)) }
        // They come down from the minutes' level to the seconds', and then are due.
        for time in [299 * Self.second, 302 * Self.second] {
            var calls = 0
            var found = 0
            var isDone = false
            while !isDone {
                var steps = 100
                while wheel.nextExpired(at: time, steps: &steps) != nil { found += 1 }
                #expect(steps >= 0)
                isDone = steps > 0
                calls += 1
                // What is scheduled and cancelled between two calls is not lost.
                if calls == 50 {
                    wheel.cancel(7)
                    wheel.schedule(many + 1, at: time)
                    wheel.schedule(11, at: 10_000 * Self.second)
                }
            }
            #expect(calls >= Int(many) / 100, "no more than 100 in a call")
            #expect(found == (time < 300 * Self.second ? 1 : Int(many) - 1), "all but two, and the late one")
        }
        #expect(wheel.count == 1 && wheel.isScheduled(11))
    }

    @Test func aClockThatStepsBackExpiresNothingThatIsNotDueByIt() {
        var wheel = TimerWheel(now: 3600 * Self.second)
        // Due by the old time, an hour away by the new one.
        wheel.schedule(1, at: 3000 * Self.second)
        #expect(wheel.nextExpired(at: 0) == nil)
        #expect(wheel.nextExpired(at: 2999 * Self.second) == nil)
        #expect(wheel.nextExpired(at: 3000 * Self.second + Self.width) == 1)
    }

    @Test func extremesAreSafe() {
        var wheel = TimerWheel(now: .min)
        wheel.schedule(0, at: .max)
        #expect(!wheel.isScheduled(0), "the farthest time is no deadline")
        wheel.schedule(1, at: .max - 1)
        wheel.schedule(2, at: .min)
        #expect(wheel.nextExpired(at: .min) == 2)
        #expect(wheel.nextExpired(at: 0) == nil)
        #expect(wheel.nextExpired(at: .max) == 1)
        wheel.schedule(3, at: 5)
        #expect(wheel.nextExpired(at: .min) == nil)
        #expect(wheel.nextExpired(at: .max) == 3)
        #expect(wheel.count == 0)
    }

    @Test func aSlotCanBeMovedAndCancelledWhileOthersExpire() {
        var wheel = TimerWheel(now: 0)
        for slot in UInt32(0)..<3 { wheel.schedule(slot, at: Self.second) }
        let first = wheel.nextExpired(at: 10 * Self.second)
        let others = (UInt32(0)..<3).filter { $0 != first }
        wheel.cancel(others[0])
        wheel.schedule(others[1], at: 20 * Self.second)
        #expect(wheel.nextExpired(at: 10 * Self.second) == nil)
        #expect(wheel.nextExpired(at: 22 * Self.second) == others[1])
    }
}
