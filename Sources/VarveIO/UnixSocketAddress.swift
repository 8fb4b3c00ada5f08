import Glibc

/// Where the sockets of this user's stores live: a folder that only this user can enter.
///
/// `$XDG_RUNTIME_DIR/varve` where that variable names a folder of ours, else `/tmp/varve-UID`. A socket stands outside
/// the store because a socket's path is at most 107 bytes long and a store's may be longer, and because a store can lie
/// on a file system that has no sockets.
public enum UnixSocketFolder {
    /// The folder's path; made where it is missing. Fails with EACCES where the name is taken by something that another
    /// user could have put there.
    public static func prepare() throws(IOError) -> String {
        try prepare(runtimeDirectory: environment("XDG_RUNTIME_DIR"), fallback: "/tmp", user: geteuid())
    }

    /// The same with its inputs given: `runtimeDirectory` is used if it is absolute, ours, and short enough.
    public static func prepare(
        runtimeDirectory: String?, fallback: String, user: UInt32
    ) throws(IOError) -> String {
        if let base = runtimeDirectory, base.utf8.first == UInt8(ascii: "/"), isOwned(base, by: user) {
            let folder = base + "/varve"
            // Leaves 40 bytes for the socket's own name.
            if folder.utf8.count + 40 <= UnixSocketAddress.pathBytes {
                try secure(folder, user: user)
                return folder
            }
        }
        let folder = "\(fallback)/varve-\(user)"
        try secure(folder, user: user)
        return folder
    }

    /// Makes the folder with mode 0700, or checks that the one that is there is a real folder, ours, and closed to all
    /// others. Looking without following links and never loosening a mode: /tmp is everybody's.
    private static func secure(_ folder: String, user: UInt32) throws(IOError) {
        if unsafe mkdir(folder, 0o700) != 0, errno != EEXIST {
            throw IOError(code: errno, operation: "create the socket folder", path: folder)
        }
        var status = stat()
        guard unsafe lstat(folder, &status) == 0 else {
            throw IOError(code: errno, operation: "inspect the socket folder", path: folder)
        }
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        guard isFolder, status.st_uid == user, status.st_mode & 0o077 == 0 else {
            throw IOError(code: EACCES, operation: "trust the socket folder (not ours alone)", path: folder)
        }
    }

    private static func isOwned(_ path: String, by user: UInt32) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == user
    }

    private static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}

/// A socket's path as the kernel takes it.
enum UnixSocketAddress {
    /// The longest path in bytes; the kernel's field has room for one more, the closing zero.
    static let pathBytes = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    /// Calls `body` with the address of `path`.
    static func with<T>(
        _ path: String, operation: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T
    ) throws(IOError) -> T {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count <= pathBytes, !bytes.contains(0) else {
            throw IOError(code: ENAMETOOLONG, operation: operation, path: path)
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// A new stream socket that does not outlive an exec and never blocks by itself.
    static func makeSocket(for path: String) throws(IOError) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { throw IOError(code: errno, operation: "make a socket", path: path) }
        return descriptor
    }
}

/// Waiting for sockets: poll with a limit, taken up again after a signal.
@safe
enum SocketWait {
    /// True once one of `entries` has an event; false when `limit` ran out. Nil waits for ever.
    static func poll(_ entries: inout [pollfd], limit: Duration?) throws(IOError) -> Bool {
        let clock = ContinuousClock()
        let deadline = limit.map { clock.now.advanced(by: $0) }
        while true {
            let rest = deadline.map { clock.now.duration(to: $0) }
            let count = unsafe Glibc.poll(&entries, nfds_t(entries.count), milliseconds(rest))
            if count > 0 { return true }
            if count == 0 {
                guard let deadline, clock.now >= deadline else { continue }
                return false
            }
            guard errno == EINTR else { throw IOError(code: errno, operation: "wait for a socket", path: "") }
        }
    }

    /// Rounded up, so that a short rest does not spin; -1 for ever.
    private static func milliseconds(_ rest: Duration?) -> Int32 {
        guard let rest else { return -1 }
        if rest <= .zero { return 0 }
        let (seconds, attoseconds) = rest.components
        guard seconds < 1_000_000 else { return 1_000_000_000 }
        return Int32(seconds) * 1000 + Int32((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

extension IOError {
    /// Somebody listens at that path already (EADDRINUSE).
    public var isAddressInUse: Bool { code == EADDRINUSE }
}
