import Glibc

/// An operation on the file system that failed: what was tried, on which path, and the kernel's reason.
///
/// The description names the remedy for the codes an operator meets (disk full, no permission, too many open files).
public struct IOError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kernel's error number.
    public let code: Int32
    /// The operation as a verb: "open", "read", "sync", ...
    public let operation: String
    /// The path it was tried on; empty where there is none.
    public let path: String

    public init(code: Int32, operation: String, path: String) {
        self.code = code
        self.operation = operation
        self.path = path
    }

    /// The device has no room left (ENOSPC or EDQUOT). Freed space lets the operation succeed.
    public var isDiskFull: Bool { code == ENOSPC || code == EDQUOT }
    /// The device failed, or takes no writes any more: not what was asked of it is to blame.
    public var isOfDevice: Bool { [EIO, ENXIO, ENODEV, EROFS, EUCLEAN].contains(code) }
    /// The file system takes no writes (EROFS).
    public var isReadOnly: Bool { code == EROFS }
    /// The path does not exist (ENOENT).
    public var isNotFound: Bool { code == ENOENT }

    /// A peer did not answer within the caller's limit (ETIMEDOUT), or took no connection (EAGAIN).
    public var isTimeout: Bool { code == ETIMEDOUT || code == EAGAIN }

    /// A hard link cannot be made here: across file systems, or on one that has none (EXDEV, EPERM, EOPNOTSUPP).
    public var isNoLinkPossible: Bool { code == EXDEV || code == EPERM || code == EOPNOTSUPP }

    /// A folder that should go holds what is not ours.
    public static func notEmpty(operation: String, path: String) -> IOError {
        IOError(code: ENOTEMPTY, operation: operation, path: path)
    }

    /// A file ended before the length that it had.
    public static func endedEarly(path: String) -> IOError { IOError(code: EIO, operation: "read", path: path) }

    /// What failed and why, without a remedy.
    public var reason: String {
        let place = path.isEmpty ? "" : " \(path)"
        return "cannot \(operation)\(place): \(unsafe String(cString: strerror(code)))"
    }

    public var description: String {
        var text = reason
        switch code {
        case ENOSPC, EDQUOT: text += " (free space on this file system; writes resume by themselves)"
        case EMFILE, ENFILE: text += " (raise the limit of open files, ulimit -n)"
        case EACCES, EPERM: text += " (check owner and mode)"
        default: break
        }
        return text
    }
}
