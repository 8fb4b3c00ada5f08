internal import Glibc
internal import VarveIO

/// A folder of the real file system, removed with everything in it when the last reference goes.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init(under parent: String = TemporaryDirectory.parent) throws {
        let system = PosixFileSystem()
        var random = SystemRandomNumberGenerator()
        path = "\(parent)/varve-io-\(getpid())-\(random.next())"
        try system.createDirectory(path)
    }

    deinit { remove() }

    /// TMPDIR, which tools/test removes with all that a test which died left in it, or /tmp. A longer one leaves no room
    /// for a socket's path.
    public static let parent: String = {
        guard let value = unsafe getenv("TMPDIR") else { return "/tmp" }
        let path = unsafe String(cString: value)
        return path.utf8.count <= 40 && path.utf8.first == UInt8(ascii: "/") ? path : "/tmp"
    }()

    /// Ahead of time: where the process is about to die.
    public func remove() { Self.removeAll(path) }

    private static func removeAll(_ path: String) {
        let system = PosixFileSystem()
        for name in (try? system.list(path)) ?? [] {
            let child = "\(path)/\(name)"
            if (try? system.remove(child)) == nil { removeAll(child) }
        }
        try? system.removeDirectory(path)
    }
}
