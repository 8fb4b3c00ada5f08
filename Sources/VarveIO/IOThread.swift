internal import CVarveIO
internal import Glibc

/// One thread of ours, outside Swift's cooperative pool, so that it may block.
///
/// It runs `body` once. Its owner joins it: a thread that outlives its owner touches freed files.
public final class IOThread: Sendable {
    private let thread: pthread_t
    private let joined = Monitor(false)

    /// Starts the thread. The kernel keeps 15 bytes of `name`.
    public init(name: String, _ body: @escaping @Sendable () -> Void) throws(IOError) {
        let context = unsafe Unmanaged.passRetained(ThreadBody(body))
        var thread = pthread_t()
        let code = unsafe varve_thread_start(
            &thread, name,
            { context in
                guard let context = unsafe context else { return }
                unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
            }, context.toOpaque())
        if code != 0 {
            unsafe context.release()
            throw IOError(code: code, operation: "start a thread", path: "")
        }
        self.thread = thread
    }

    deinit {
        // Dropped without a join, as by the thread itself: the kernel tidies up after it.
        if !joined.withLock({ $0 }) { pthread_detach(thread) }
    }

    /// Waits until the body has returned. Joining twice is fine; a thread cannot join itself.
    public func join() {
        precondition(!isCurrent, "a thread cannot wait for its own end")
        joined.withLock { done in
            if !done { pthread_join(thread, nil) }
            done = true
        }
    }

    /// Whether the caller runs on this thread.
    public var isCurrent: Bool { pthread_equal(thread, pthread_self()) != 0 }
}

/// Carries the closure through C's context pointer.
private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
