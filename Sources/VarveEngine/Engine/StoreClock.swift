internal import Synchronization
internal import VarveIO

/// The clock by which entries expire.
///
/// Within a process it advances with the boot clock, so a wall clock that steps does not touch it. At open it is anchored
/// to the wall, but never below its last logged reading: time that entries have lived through does not come back.
final class StoreClock: Sendable {
    private struct Anchor {
        var reading: Timestamp
        var boot: Int64
    }

    private let clock: any SystemClock
    private let anchor: Mutex<Anchor>

    /// `lastReading`: the largest reading that the log or manifest holds.
    init(clock: any SystemClock, lastReading: Timestamp) {
        self.clock = clock
        let start = max(clock.wallNanoseconds, lastReading)
        anchor = Mutex(Anchor(reading: start, boot: clock.bootNanoseconds))
    }

    /// Nanoseconds since 1970, as this store counts them.
    func now() -> Timestamp {
        let boot = clock.bootNanoseconds
        return anchor.withLock { $0.reading &+ max(0, boot &- $0.boot) }
    }

    /// Takes over a reading that came with the log of a primary: the clock never falls below it.
    func observe(_ reading: Timestamp) {
        let boot = clock.bootNanoseconds
        anchor.withLock { anchor in
            let now = anchor.reading &+ max(0, boot &- anchor.boot)
            if reading > now { anchor = Anchor(reading: reading, boot: boot) }
        }
    }
}

/// Gives each batch its commit time: strictly increasing, the wall clock's where that moves forward.
///
/// A wall clock that runs more than an hour ahead of the boot clock since open is not believed: the time is held back to
/// what the boot clock says, and counted. Guarded by the commit lock.
///
/// A time counts once the log has taken it: one that the log refused must reach no manifest.
struct CommitClock {
    static let tolerance: Int64 = 3_600_000_000_000

    private let clock: any SystemClock
    private let openWall: Timestamp
    private let openBoot: Int64
    private(set) var last: Timestamp
    /// How many commits were held back.
    private(set) var heldBack: UInt64 = 0

    init(clock: any SystemClock, last: Timestamp) {
        self.clock = clock
        self.last = last
        openWall = clock.wallNanoseconds
        openBoot = clock.bootNanoseconds
    }

    /// The time of the commit that follows: `observe` it once the log has taken it.
    mutating func next() -> Timestamp {
        var wall = clock.wallNanoseconds
        if wall &- last > CommitClock.tolerance {
            // Only a leap pays for the second reading.
            let expected = openWall &+ (clock.bootNanoseconds &- openBoot)
            if wall &- expected > CommitClock.tolerance {
                wall = expected
                heldBack += 1
            }
        }
        return max(wall, last &+ 1)
    }

    /// A time that the log took, from here or with the log of another store.
    mutating func observe(_ time: Timestamp) { last = max(last, time) }
}
