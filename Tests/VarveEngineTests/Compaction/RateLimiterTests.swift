import Synchronization
import Testing

@testable import VarveEngine

@Suite("Rate limiter")
struct RateLimiterTests {
    private static let second: UInt64 = 1_000_000_000

    @Test func aBurstPassesAndThenTheRateHolds() {
        var bucket = TokenBucket(rate: 1000, burst: 500, now: 0)
        #expect(bucket.take(500, now: 0) == 0)
        #expect(bucket.take(100, now: 0) == Self.second / 10)
        // The debt of those before is waited for as well.
        #expect(bucket.take(100, now: 0) == Self.second / 5)
        #expect(bucket.take(0, now: Self.second / 5) == 0)
        // A long pause gives no more than the burst.
        #expect(bucket.take(501, now: 100 * Self.second) == Self.second / 1000)
    }

    @Test func noRateMeansNoLimit() {
        var bucket = TokenBucket(rate: 0, burst: 1, now: 0)
        #expect(bucket.take(.max, now: 0) == 0)
        bucket.setRate(10, now: 0)
        #expect(bucket.take(11, now: 0) == Self.second)
        bucket.setRate(0, now: 0)
        #expect(bucket.take(1 << 40, now: 0) == 0)
    }

    @Test func aClockThatGoesBackStandsStill() {
        var bucket = TokenBucket(rate: 1000, burst: 0, now: Self.second)
        #expect(bucket.take(100, now: 0) == Self.second / 10)
        #expect(bucket.take(0, now: Self.second + Self.second / 10) == 0)
    }

    /// A job's bytes over a simulated clock: the time that passes is the bytes by the rate.
    @Test func aJobIsHeldToTheRate() throws {
        let clock = SharedTime()
        let limiter = RateLimiter(bytesPerSecond: 1 << 20, burst: 1 << 10, clock: { clock.now })
        let control = JobControl(limiter: limiter, sleep: { clock.advance(by: $0) })
        for _ in 0..<100 { try control.step(JobProgress(), newBytes: 64 << 10) }
        let seconds = Double(clock.now) / Double(Self.second)
        #expect(abs(seconds - 100.0 * 64 / 1024) < 0.01)
    }

    @Test func cancellingEndsTheWait() {
        let clock = SharedTime()
        let limiter = RateLimiter(bytesPerSecond: 1, burst: 0, clock: { clock.now })
        let holder = ControlHolder()
        let control = JobControl(
            limiter: limiter,
            sleep: { time in
                clock.advance(by: time)
                holder.cancel()
            })
        holder.hold(control)
        #expect { try control.step(JobProgress(), newBytes: 1 << 30) } throws: {
            ($0 as? VarveError)?.code == .cancelled
        }
        #expect(clock.now < Self.second)
    }

    private final class SharedTime: Sendable {
        private let time = Atomic<UInt64>(0)
        var now: UInt64 { time.load(ordering: .relaxed) }
        func advance(by nanoseconds: UInt64) { time.add(nanoseconds, ordering: .relaxed) }
    }

    private final class ControlHolder: Sendable {
        private let control = Mutex<JobControl?>(nil)
        func hold(_ control: JobControl) { self.control.withLock { $0 = control } }
        func cancel() { control.withLock { $0?.cancel() } }
    }
}
