internal import Glibc

/// A value behind a lock, with a condition to wait on: for threads of ours that wait for work or for each other.
///
/// `Synchronization.Mutex` has no condition variable; where nobody waits, it is the better choice. Never call into a
/// monitor from the cooperative pool except for `withLock` and `notify`, which hold the lock briefly.
@safe
public final class Monitor<State: Sendable>: @unchecked Sendable {
    // Unchecked: `state` is touched with `mutex` held only.
    private var state: State
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    public init(_ state: State) {
        self.state = state
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        var attributes = pthread_condattr_t()
        var code = unsafe pthread_mutex_init(mutex, nil)
        unsafe code |= pthread_condattr_init(&attributes)
        // Timeouts must not move when somebody sets the wall clock.
        unsafe code |= pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe code |= pthread_cond_init(condition, &attributes)
        unsafe code |= pthread_condattr_destroy(&attributes)
        precondition(code == 0, "the kernel gives no mutex or condition variable")
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// Runs `body` with the lock held. Wakes nobody: call `notifyOne` or `notifyAll` when a waiter's condition may hold.
    public func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Runs `attempt` with the lock held, now and after every notification, until it returns a value.
    public func wait<Result>(for attempt: (inout State) -> Result?) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = attempt(&state) { return result }
            unsafe pthread_cond_wait(condition, mutex)
        }
    }

    /// The same, giving up after `timeout`: then nil.
    public func wait<Result>(atMost timeout: Duration, for attempt: (inout State) -> Result?) -> Result? {
        var deadline = Self.deadline(after: timeout)
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = attempt(&state) { return result }
            if unsafe pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { return attempt(&state) }
        }
    }

    public func notifyOne() { unsafe pthread_cond_signal(condition) }
    public func notifyAll() { unsafe pthread_cond_broadcast(condition) }

    private static func deadline(after timeout: Duration) -> timespec {
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        let (seconds, attoseconds) = timeout.components
        let nanoseconds = now.tv_nsec + Int(attoseconds / 1_000_000_000)
        // A century stands for "for ever", and cannot overflow.
        let whole = min(max(0, Int(seconds)), 3_000_000_000)
        return timespec(
            tv_sec: now.tv_sec + whole + nanoseconds / 1_000_000_000, tv_nsec: max(0, nanoseconds % 1_000_000_000))
    }
}
