internal import CVarveSocket
import Glibc
import Synchronization

/// Who is at the other end of a unix socket, as the kernel says and not as they say.
public struct UnixPeer: Sendable, Equatable {
    public let process: Int32
    public let user: UInt32
    public let group: UInt32

    public init(process: Int32, user: UInt32, group: UInt32) {
        self.process = process
        self.user = user
        self.group = group
    }

    /// The same user as this process, or root.
    public var isTrusted: Bool { user == geteuid() || user == 0 }
}

/// A connected stream socket.
///
/// Calls block the calling thread, up to a limit. One thread may read while another writes; `close` may come from any
/// thread at any time and ends the waits of both. The descriptor itself goes with the object, so that a thread which is
/// still inside a call can never meet a descriptor that was given to another file. A peer that went away is an error
/// (EPIPE, ECONNRESET) and never a signal.
public final class UnixConnection: Sendable {
    let descriptor: Int32
    /// The path that was connected to, for messages.
    public let path: String
    public let peer: UnixPeer
    private let closed = Atomic(false)

    /// Takes over a connected descriptor; closes it where the peer cannot be told.
    init(adopting descriptor: Int32, path: String) throws(IOError) {
        var (process, user, group): (Int32, UInt32, UInt32) = (0, 0, 0)
        guard unsafe varve_socket_peer(descriptor, &process, &user, &group) == 0 else {
            let code = errno
            _ = Glibc.close(descriptor)
            throw IOError(code: code, operation: "identify the peer of", path: path)
        }
        self.descriptor = descriptor
        self.path = path
        peer = UnixPeer(process: process, user: user, group: group)
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Connects to the socket at `path`. ENOENT and ECONNREFUSED: nobody listens there. EAGAIN: more callers were
    /// waiting than the listener takes, for the whole of `limit`.
    public static func connect(to path: String, limit: Duration = .seconds(10)) throws(IOError) -> UnixConnection {
        let descriptor = try UnixSocketAddress.makeSocket(for: path)
        do throws(IOError) {
            // A local connect waits only for room in the listener's queue, and the sending limit bounds that.
            if limit > .zero { try setWaiting(descriptor, limit, path) }
            while true {
                let code = unsafe try UnixSocketAddress.with(path, operation: "connect to") { address, length in
                    unsafe Glibc.connect(descriptor, address, length) == 0 ? 0 : errno
                }
                if code == 0 { break }
                guard code == EINTR else { throw IOError(code: code, operation: "connect to", path: path) }
            }
        } catch {
            _ = Glibc.close(descriptor)
            throw error
        }
        return try UnixConnection(adopting: descriptor, path: path)
    }

    /// Lets calls on the descriptor wait, up to `limit`. (Reading and writing say for themselves that they do not.)
    private static func setWaiting(_ descriptor: Int32, _ limit: Duration, _ path: String) throws(IOError) {
        let (seconds, attoseconds) = limit.components
        var time = timeval(tv_sec: Int(clamping: seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size) == 0,
            fcntl(descriptor, F_SETFL, 0) == 0
        else { throw IOError(code: errno, operation: "connect to", path: path) }
    }

    /// Reads what has come, at least one byte, waiting for it up to `limit` (nil: for ever; then ETIMEDOUT). Zero: the
    /// peer has closed, or this end was.
    public func read(into buffer: UnsafeMutableRawBufferPointer, limit: Duration?) throws(IOError) -> Int {
        guard buffer.count > 0 else { return 0 }
        while true {
            let count = unsafe recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
            if count >= 0 { return count }
            switch errno {
            case EINTR: continue
            case EAGAIN: try wait(for: POLLIN, limit: limit, operation: "read from")
            default: throw IOError(code: errno, operation: "read from", path: path)
            }
        }
    }

    /// Fills `buffer`. Returns how much came: less than asked for only where the peer closed. `limit` holds for each
    /// wait without a byte.
    public func readFully(into buffer: UnsafeMutableRawBufferPointer, limit: Duration?) throws(IOError) -> Int {
        var filled = 0
        while filled < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let count = unsafe try read(into: rest, limit: limit)
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    /// Writes all of `bytes`. A reader that takes nothing for `limit` is given up (ETIMEDOUT); one that is merely slow
    /// is waited for.
    public func write(_ bytes: UnsafeRawBufferPointer, limit: Duration?) throws(IOError) {
        var sent = 0
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        while sent < bytes.count {
            // Not empty, so it has an address.
            let start = unsafe bytes.baseAddress.unsafelyUnwrapped + sent
            let count = unsafe send(descriptor, start, bytes.count - sent, flags)
            if count >= 0 {
                sent += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: try wait(for: POLLOUT, limit: limit, operation: "write to")
            default: throw IOError(code: errno, operation: "write to", path: path)
            }
        }
    }

    /// Writes what fits at once and no more: for a last word to a peer that must not be waited for.
    public func writeWithoutWaiting(_ bytes: UnsafeRawBufferPointer) {
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        _ = unsafe send(descriptor, bytes.baseAddress, bytes.count, flags)
    }

    /// Says that nothing more will be written; reading goes on.
    public func finishWriting() {
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Ends the connection for both sides and wakes whoever waits on it here. Closing twice is fine.
    public func close() {
        guard !closed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        _ = shutdown(descriptor, Int32(SHUT_RDWR))
    }

    public var isClosed: Bool { closed.load(ordering: .acquiring) }

    private func wait(for event: Int32, limit: Duration?, operation: String) throws(IOError) {
        var entries = [pollfd(fd: descriptor, events: Int16(event), revents: 0)]
        guard try SocketWait.poll(&entries, limit: limit) else {
            throw IOError(code: ETIMEDOUT, operation: operation, path: path)
        }
    }
}
