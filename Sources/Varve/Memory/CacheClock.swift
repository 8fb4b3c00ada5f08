internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// The store's clock, read without its lock: it advances with the boot clock, so one distance between the two is enough.
/// A cache without a disk counts from the wall at its opening.
final class CacheClock: Sendable {
    private let clock: any SystemClock
    private let isKernel: Bool
    private let distance: Int64
    private let hasTicks: Bool
    /// The latest tick of the kernel's that a read has met, and what the clock said then. Both only grow, and the time is
    /// stored first: whoever finds the tick finds a time that is not before it.
    private let tick = Atomic<Int64>(.min)
    private let timeAtTick = Atomic<Int64>(.min)

    init(_ clock: any SystemClock, storeTime: Int64?) {
        self.clock = clock
        isKernel = clock is KernelClock
        hasTicks = isKernel && KernelClock.lastTick > 0
        distance = (storeTime ?? clock.wallNanoseconds) &- clock.bootNanoseconds
    }

    /// A deadline of the boot clock as this clock counts it.
    func deadline(ofBoot time: Int64) -> Int64 {
        if time == .max { return .max }
        let (sum, overflow) = time.addingReportingOverflow(distance)
        return overflow ? .max : sum
    }

    /// Nanoseconds since 1970, as the store counts them.
    func now() -> Int64 {
        // The kernel's clock is asked without a detour over the protocol: hits read it.
        if isKernel { return KernelClock.nowSinceBoot &+ distance }
        return clock.bootNanoseconds &+ distance
    }

    /// Two times between which the present lies: that of the kernel's last tick, and one so long after it that a processor which
    /// is held up ticks in between. Hits ask for no more where no deadline is so near: the processor's clock costs five times as
    /// much, and holds up what it was doing beside.
    func recent() -> (earliest: Int64, latest: Int64) {
        guard hasTicks else {
            let now = now()
            return (now, now)
        }
        let last = KernelClock.lastTick
        if tick.load(ordering: .acquiring) != last {
            // The first one after a tick asks the clock itself: the ticks do not count what a suspend lasted.
            timeAtTick.max(now(), ordering: .acquiringAndReleasing)
            tick.max(last, ordering: .acquiringAndReleasing)
        }
        let time = timeAtTick.load(ordering: .acquiring)
        return (time, time &+ CacheClock.margin)
    }

    /// A hundred ticks and more.
    static var margin: Int64 { 1_000_000_000 }
}
