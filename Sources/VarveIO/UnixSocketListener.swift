internal import CVarveSocket
import Glibc
import Synchronization

/// A listening stream socket, and the one place where a server waits: for callers, for the hang-up of connections that
/// are busy, and for a word from its own threads.
///
/// `wait` and `accept` belong to one thread; `wake` and `close` may come from any. The socket's name is removed by
/// `close`, the descriptors go with the object.
public final class UnixListener: Sendable {
    /// POLLRDHUP: the peer closed, or will write nothing more. Glibc's module does not have it.
    private static let hangUp: Int16 = 0x2000

    /// Why `wait` returned.
    public struct Wakeup: Sendable {
        /// Somebody calls: `accept` until it returns nil.
        public var hasCaller = false
        /// Indices of the watched connections whose peers have closed (or closed their writing side).
        public var hungUp: [Int] = []
    }

    public let path: String
    private let descriptor: Int32
    private let bell: Int32
    private let closed = Atomic(false)
    /// The accepting thread's own: a descriptor to give up when there is none left, and whether to leave callers
    /// waiting for a moment. The lock is never contended.
    private let reserve: Mutex<Reserve>

    private struct Reserve {
        var spare: Int32
        var isResting = false
    }

    /// Listens at `path`, for this user alone (mode 0600). A socket left there by a process that is gone is replaced;
    /// EADDRINUSE where somebody still answers.
    public init(path: String, backlog: Int32 = 64) throws(IOError) {
        // Everything that can fail comes before the first property is set: `deinit` must not undo what was not done.
        let descriptor = try UnixSocketAddress.makeSocket(for: path)
        let bell = varve_event_create()
        do throws(IOError) {
            guard bell >= 0 else { throw IOError(code: errno, operation: "make an event for", path: path) }
            try UnixListener.bind(descriptor, to: path)
            guard unsafe chmod(path, 0o600) == 0, listen(descriptor, backlog) == 0 else {
                let failure = IOError(code: errno, operation: "listen at", path: path)
                _ = unsafe unlink(path)
                throw failure
            }
        } catch {
            _ = Glibc.close(descriptor)
            if bell >= 0 { _ = Glibc.close(bell) }
            throw error
        }
        self.path = path
        self.descriptor = descriptor
        self.bell = bell
        reserve = Mutex(Reserve(spare: varve_event_create()))
    }

    deinit {
        close()
        _ = Glibc.close(descriptor)
        _ = Glibc.close(bell)
        let spare = reserve.withLock { $0.spare }
        if spare >= 0 { _ = Glibc.close(spare) }
    }

    /// Blocks until somebody calls, one of `watched` hangs up, or `wake` or `close` is called.
    public func wait(watching watched: [UnixConnection]) throws(IOError) -> Wakeup {
        // Short of memory or descriptors, callers stay in the queue for a moment instead of being polled in a circle.
        let resting = reserve.withLock { reserve in
            if reserve.spare < 0 { reserve.spare = varve_event_create() }
            defer { reserve.isResting = false }
            return reserve.isResting
        }
        var entries = [
            pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
            pollfd(fd: resting ? -1 : descriptor, events: Int16(POLLIN), revents: 0),
        ]
        for connection in watched {
            entries.append(pollfd(fd: connection.descriptor, events: UnixListener.hangUp, revents: 0))
        }
        var wakeup = Wakeup()
        guard try SocketWait.poll(&entries, limit: resting ? .milliseconds(100) : nil) else { return wakeup }
        if entries[0].revents != 0 {
            var count: UInt64 = 0
            _ = unsafe Glibc.read(bell, &count, MemoryLayout<UInt64>.size)
        }
        wakeup.hasCaller = entries[1].revents != 0
        for index in watched.indices where entries[index + 2].revents != 0 { wakeup.hungUp.append(index) }
        return wakeup
    }

    /// The next caller; nil where none waits.
    public func accept() throws(IOError) -> UnixConnection? {
        while true {
            let caller = varve_socket_accept(descriptor)
            if caller >= 0 { return try UnixConnection(adopting: caller, path: path) }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return nil
            case EMFILE, ENFILE: turnAway()
            case ENOBUFS, ENOMEM:
                reserve.withLock { $0.isResting = true }
                return nil
            default: throw IOError(code: errno, operation: "accept at", path: path)
            }
            if reserve.withLock({ $0.isResting }) { return nil }
        }
    }

    /// Makes `wait` return.
    public func wake() {
        var one: UInt64 = 1
        _ = unsafe Glibc.write(bell, &one, MemoryLayout<UInt64>.size)
    }

    /// Removes the socket's name, refuses new callers and wakes `wait`. Closing twice is fine.
    public func close() {
        guard !closed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        _ = unsafe unlink(path)
        _ = shutdown(descriptor, Int32(SHUT_RDWR))
        wake()
    }

    public var isClosed: Bool { closed.load(ordering: .acquiring) }

    /// Out of descriptors: gives up the spare one to take the caller and hang up on it, so that it is not left waiting
    /// and the queue does not stay ready for ever.
    private func turnAway() {
        reserve.withLock { reserve in
            if reserve.spare >= 0 { _ = Glibc.close(reserve.spare) }
            let caller = varve_socket_accept(descriptor)
            if caller >= 0 { _ = Glibc.close(caller) }
            reserve.spare = varve_event_create()
            if caller < 0 || reserve.spare < 0 { reserve.isResting = true }
        }
    }

    /// Removes a socket that nobody listens on. One that somebody answers at, and anything else, stays.
    public static func removeStale(_ path: String) {
        if isStale(path) { _ = unsafe unlink(path) }
    }

    private static func bind(_ descriptor: Int32, to path: String) throws(IOError) {
        for attempt in 0..<2 {
            let code = unsafe try UnixSocketAddress.with(path, operation: "listen at") { address, length in
                unsafe Glibc.bind(descriptor, address, length) == 0 ? 0 : errno
            }
            if code == 0 { return }
            guard code == EADDRINUSE, attempt == 0, isStale(path) else {
                throw IOError(code: code, operation: "listen at", path: path)
            }
            _ = unsafe unlink(path)
        }
    }

    /// A socket that nobody listens on any more. Anything that is not a socket is not ours to replace.
    private static func isStale(_ path: String) -> Bool {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return false }
        do {
            try UnixConnection.connect(to: path, limit: .zero).close()
            return false
        } catch {
            return error.code == ECONNREFUSED
        }
    }
}
