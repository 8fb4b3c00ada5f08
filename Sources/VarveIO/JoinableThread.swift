internal import CVarveSocket
import Glibc
import Synchronization

/// A thread of its own for work that blocks for as long as it likes, and that somebody joins.
///
/// For a few long-lived loops; short jobs belong to the I/O threads. Never joined is fine: the thread is then detached
/// when the object goes.
public final class JoinableThread: Sendable {
    // Zero once joined or detached.
    private let handle: Mutex<pthread_t?>

    /// Starts a thread that runs `body` once. `name` shows in `ps -L` and debuggers, cut to 15 bytes.
    public init(name: String, _ body: @escaping @Sendable () -> Void) throws(IOError) {
        let start = unsafe Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread, nil,
            { argument in
                // Passed by the creator below, who always gives one.
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                unsafe varve_thread_set_name(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        guard code == 0 else {
            unsafe start.release()
            throw IOError(code: code, operation: "start the thread \(name)", path: "")
        }
        handle = Mutex(thread)
    }

    /// Waits until the thread has ended. Not from the thread itself; joining twice is fine.
    public func join() {
        guard let thread = take() else { return }
        precondition(pthread_equal(thread, pthread_self()) == 0, "a thread cannot join itself")
        _ = pthread_join(thread, nil)
    }

    deinit {
        if let thread = take() { _ = pthread_detach(thread) }
    }

    private func take() -> pthread_t? {
        handle.withLock { handle in
            defer { handle = nil }
            return handle
        }
    }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
