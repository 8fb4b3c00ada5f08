internal import VarveEngine
internal import VarveIO

/// The store's clock, read without its lock: it advances with the boot clock, so one distance between the two is enough.
/// A cache without a disk counts from the wall at its opening.
final class CacheClock: Sendable {
    private let clock: any SystemClock
    private let isKernel: Bool
    private let distance: Int64

    init(_ clock: any SystemClock, storeTime: Int64?) {
        self.clock = clock
        isKernel = clock is KernelClock
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
}
