internal import Synchronization
public import VarveIO

/// A clock that moves only when told: for tests of expiry, commit time and recovery after a power cut.
public final class ManualClock: SystemClock {
    private struct Hands {
        var wall: Int64
        var boot: Int64
        var bootCount: Int
    }

    private let hands: Mutex<Hands>

    /// Begins in the year 2033, one hour after boot, so that subtractions in tests stay positive.
    public init(wallNanoseconds: Int64 = 2_000_000_000_000_000_000, bootNanoseconds: Int64 = 3_600_000_000_000) {
        hands = Mutex(Hands(wall: wallNanoseconds, boot: bootNanoseconds, bootCount: 1))
    }

    public var wallNanoseconds: Int64 { hands.withLock { $0.wall } }
    public var bootNanoseconds: Int64 { hands.withLock { $0.boot } }
    public var bootID: String { hands.withLock { "manual-boot-\($0.bootCount)" } }

    /// Time passes: both clocks move.
    public func advance(by duration: Duration) {
        let nanoseconds = Self.nanoseconds(duration)
        hands.withLock {
            $0.wall += nanoseconds
            $0.boot += nanoseconds
        }
    }

    /// Somebody sets the wall clock, forwards or backwards; the boot clock does not notice.
    public func setWall(nanoseconds: Int64) {
        hands.withLock { $0.wall = nanoseconds }
    }

    /// The machine boots again: a new boot id, the boot clock near zero, the wall clock `downtime` later.
    public func reboot(downtime: Duration = .seconds(60)) {
        let nanoseconds = Self.nanoseconds(downtime)
        hands.withLock {
            $0.wall += nanoseconds
            $0.boot = 1_000_000_000
            $0.bootCount += 1
        }
    }

    private static func nanoseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
