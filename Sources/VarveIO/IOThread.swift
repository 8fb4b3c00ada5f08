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

    /// Runs `body` once on a thread of its own, for work that ends the threads it might otherwise run on. Does not block
    /// the caller's thread.
    public static func run<Value: Sendable, Failure: Error>(
        name: String, _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let outcome: Result<Value, Failure> = await withCheckedContinuation { continuation in
            let work: @Sendable () -> Void = {
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
            // Where the kernel gives no thread the caller's has to do.
            if (try? IOThread(name: name, work)) == nil { work() }
        }
        return try outcome.get()
    }

    /// Whether the caller runs on any thread of ours.
    public static var isOnOne: Bool { unsafe pthread_getspecific(ThreadBody.mark) != nil }

    /// Whether the caller runs on this thread.
    public var isCurrent: Bool { pthread_equal(thread, pthread_self()) != 0 }
}

/// Carries the closure through C's context pointer.
private final class ThreadBody: Sendable {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    /// Set on every thread of ours while it runs.
    static let mark: pthread_key_t = {
        var key = pthread_key_t()
        let code = unsafe pthread_key_create(&key, nil)
        precondition(code == 0, "the process has no thread-specific key left")
        return key
    }()

    func run() {
        unsafe pthread_setspecific(ThreadBody.mark, UnsafeRawPointer(bitPattern: 1))
        body()
    }
}
