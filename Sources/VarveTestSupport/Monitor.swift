import Glibc

/// A value that threads change and wait for: how tests meet another thread without sleeping.
@safe
public final class Monitor<Value>: @unchecked Sendable {
    // Unchecked: `mutex` guards `value`.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var value: Value

    public init(_ value: Value) {
        self.value = value
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(condition)
        unsafe mutex.deallocate()
        unsafe condition.deallocate()
    }

    /// Changes the value and wakes everybody who waits.
    @discardableResult
    public func update<T>(_ body: (inout Value) throws -> T) rethrows -> T {
        unsafe pthread_mutex_lock(mutex)
        defer {
            unsafe pthread_cond_broadcast(condition)
            unsafe pthread_mutex_unlock(mutex)
        }
        return try body(&value)
    }

    public var current: Value {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return value
    }

    /// Waits until `body` returns something, and returns that. A test that waits for two minutes has failed: nil.
    public func wait<T>(for body: (inout Value) -> T?) -> T? {
        var deadline = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_sec += 120
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&value) {
                unsafe pthread_cond_broadcast(condition)
                return result
            }
            if unsafe pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { return nil }
        }
    }

    /// Waits until `condition` holds.
    @discardableResult
    public func wait(until condition: (Value) -> Bool) -> Bool {
        wait(for: { condition($0) ? true : nil }) ?? false
    }
}
