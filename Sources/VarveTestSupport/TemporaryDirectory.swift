internal import Glibc
internal import VarveIO

/// A folder of the real file system, removed with everything in it when the last reference goes.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init(under parent: String = "/tmp") throws {
        let system = PosixFileSystem()
        var random = SystemRandomNumberGenerator()
        path = "\(parent)/varve-io-\(getpid())-\(random.next())"
        try system.createDirectory(path)
    }

    deinit { Self.removeAll(path) }

    private static func removeAll(_ path: String) {
        let system = PosixFileSystem()
        for name in (try? system.list(path)) ?? [] {
            let child = "\(path)/\(name)"
            if (try? system.remove(child)) == nil { removeAll(child) }
        }
        try? system.removeDirectory(path)
    }
}
