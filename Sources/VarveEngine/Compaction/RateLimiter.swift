internal import Synchronization

/// Bytes that may pass per second, with a burst; pure, so that it can be tested without waiting.
///
/// Taking more than is there is allowed and makes a debt: the taker waits until it is paid, and so do those behind it.
struct TokenBucket: Sendable {
    /// Bytes per second; 0: no limit.
    private(set) var rate: UInt64
    private let burst: Double
    private var tokens: Double
    private var last: UInt64

    /// `burst`: bytes that may pass at once after a pause.
    init(rate: UInt64, burst: UInt64, now: UInt64) {
        self.rate = rate
        self.burst = Double(burst)
        tokens = Double(burst)
        last = now
    }

    /// Takes `bytes` at time `now` (nanoseconds of a clock that does not go back; one that does counts as standing
    /// still). Returns how long to wait before using them.
    mutating func take(_ bytes: UInt64, now: UInt64) -> UInt64 {
        refill(now)
        guard rate > 0 else { return 0 }
        tokens -= Double(bytes)
        if tokens >= 0 { return 0 }
        let wait = -tokens / Double(rate) * 1e9
        // A debt of centuries is still a number.
        return wait < 1e18 ? UInt64(wait) : 1_000_000_000_000_000_000
    }

    /// From now on at another rate. A debt stays, and is paid at the new one.
    mutating func setRate(_ rate: UInt64, now: UInt64) {
        refill(now)
        self.rate = rate
        if rate == 0 { tokens = burst }
    }

    private mutating func refill(_ now: UInt64) {
        guard now > last else { return }
        tokens = min(burst, tokens + Double(now - last) / 1e9 * Double(rate))
        last = now
    }
}

/// Holds back the writing of flushes and compactions, so that they leave the disk to reads and log syncs. One for a
/// store; any thread. Flushes pass it by default: they free memory that writers wait for.
final class RateLimiter: Sendable {
    private let bucket: Mutex<TokenBucket>
    private let clock: @Sendable () -> UInt64

    /// `bytesPerSecond`: 0 for no limit. `clock`: nanoseconds since whenever, not going back.
    init(bytesPerSecond: UInt64, burst: UInt64 = 4 << 20, clock: @escaping @Sendable () -> UInt64) {
        self.clock = clock
        bucket = Mutex(TokenBucket(rate: bytesPerSecond, burst: burst, now: clock()))
    }

    /// Accounts for bytes about to be written; returns the nanoseconds to wait first.
    func take(_ bytes: UInt64) -> UInt64 {
        let now = clock()
        return bucket.withLock { $0.take(bytes, now: now) }
    }

    func setRate(_ bytesPerSecond: UInt64) {
        let now = clock()
        bucket.withLock { $0.setRate(bytesPerSecond, now: now) }
    }
}
