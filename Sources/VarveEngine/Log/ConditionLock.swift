internal import Glibc

/// A lock with several conditions to wait on, so that a wake reaches those whom it concerns and no others.
/// `VarveIO.Monitor` is the simpler choice where one condition does.
///
/// The owner's fields are guarded by convention: each says so where it is declared. Waits time out on the monotonic
/// clock. Nothing but short work is done under the lock.
@safe
final class ConditionLock: @unchecked Sendable {
    // Unchecked: constants; the kernel's objects behind them are made to be shared.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let conditions: UnsafeMutableBufferPointer<pthread_cond_t>

    init(conditions count: Int = 1) {
        unsafe mutex = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe conditions = .allocate(capacity: count)
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        for index in 0..<count {
            unsafe pthread_cond_init(conditions.baseAddress.unsafelyUnwrapped + index, &attributes)
        }
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        for index in unsafe conditions.indices { unsafe pthread_cond_destroy(condition(index)) }
        unsafe conditions.deallocate()
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    func lock() { unsafe pthread_mutex_lock(mutex) }
    func unlock() { unsafe pthread_mutex_unlock(mutex) }

    func withLock<T, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
        lock()
        defer { unlock() }
        return try body()
    }

    /// Gives the lock away until woken; wakes for no reason are possible, so the caller looks again.
    func wait(_ index: Int = 0) { unsafe pthread_cond_wait(condition(index), mutex) }

    /// The same, no longer than until `deadline` on the clock of `now`.
    func wait(_ index: Int = 0, until deadline: Int64) {
        var time = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
        unsafe pthread_cond_timedwait(condition(index), mutex, &time)
    }

    func signal(_ index: Int = 0) { unsafe pthread_cond_signal(condition(index)) }
    func broadcast(_ index: Int = 0) { unsafe pthread_cond_broadcast(condition(index)) }

    private func condition(_ index: Int) -> UnsafeMutablePointer<pthread_cond_t> {
        precondition(unsafe index >= 0 && index < conditions.count, "a condition of this lock")
        return unsafe conditions.baseAddress.unsafelyUnwrapped + index
    }

    /// Nanoseconds on a clock that nobody sets.
    static func now() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
