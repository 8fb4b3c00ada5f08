internal import CVarveIO
internal import Glibc

/// The kernel's file systems.
///
/// Calls interrupted by a signal are tried again, except `close` (Linux has closed the descriptor all the same) and
/// `sync` (trying a sync again can call lost bytes durable). EBADF and EFAULT from the kernel are mistakes of ours and
/// trap; a file that was closed through its own `close` answers EBADF as an error.
public struct PosixFileSystem: FileSystem {
    public init() {}

    public func open(_ path: String, _ mode: OpenMode) throws(IOError) -> any File {
        let flags: Int32
        switch mode {
        case .read: flags = O_RDONLY
        case .readWrite: flags = O_RDWR
        case .createNew: flags = O_RDWR | O_CREAT | O_EXCL
        }
        let verb = mode == .createNew ? "create" : "open"
        return PosixFile(try Self.openDescriptor(path, flags, verb), path: path)
    }

    public func exists(_ path: String) throws(IOError) -> Bool {
        do {
            _ = try status(path, "look for")
            return true
        } catch {
            if error.code == ENOENT || error.code == ENOTDIR { return false }
            throw error
        }
    }

    public func list(_ directory: String) throws(IOError) -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw IOError(code: errno, operation: "list", path: directory)
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                if errno != 0 { throw IOError(code: errno, operation: "list", path: directory) }
                return names
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    public func createDirectory(_ path: String) throws(IOError) {
        if unsafe mkdir(path, 0o777) == 0 { return }
        let code = errno
        if code == EEXIST, try status(path, "create").st_mode & S_IFMT == S_IFDIR { return }
        throw IOError(code: code, operation: "create", path: path)
    }

    public func remove(_ path: String) throws(IOError) {
        try Self.check(unsafe unlink(path), "remove", path)
    }

    public func removeDirectory(_ path: String) throws(IOError) {
        try Self.check(unsafe rmdir(path), "remove", path)
    }

    public func rename(_ source: String, to destination: String) throws(IOError) {
        try Self.check(unsafe Glibc.rename(source, destination), "rename to \(destination)", source)
    }

    public func link(_ source: String, to destination: String) throws(IOError) {
        try Self.check(unsafe Glibc.link(source, destination), "link to \(destination)", source)
    }

    public func linkCount(_ path: String) throws(IOError) -> Int {
        Int(try status(path, "count links of").st_nlink)
    }

    public func syncDirectory(_ path: String) throws(IOError) {
        let descriptor = try Self.openDescriptor(path, O_RDONLY | O_DIRECTORY, "sync")
        defer { Glibc.close(descriptor) }
        try Self.check(fsync(descriptor), "sync", path)
    }

    public func lock(_ path: String, _ mode: LockMode) throws(IOError) -> (any FileLock)? {
        let isShared = mode == .shared
        while true {
            // An open file description lock: two openers in one process exclude each other too, and closing some other
            // descriptor of the file does not drop it, as it would a classic POSIX lock.
            let flags = isShared ? O_RDONLY : O_RDWR | O_CREAT
            let file = PosixFile(try Self.openDescriptor(path, flags, "lock"), path: path)
            let code = try file.withDescriptor("lock") { varve_try_lock($0, isShared) }
            if code == EWOULDBLOCK { return nil }
            if code != 0 { throw IOError(code: code, operation: "lock", path: path) }
            // The holder before may have removed the file between our open and our lock: then we hold a lock that
            // nobody else will ever meet.
            var same = false
            let compared = try file.withDescriptor("lock") { unsafe varve_names_same_file($0, path, &same) }
            if compared != 0 { throw IOError(code: compared, operation: "lock", path: path) }
            if same { return PosixLock(file) }
        }
    }

    /// What df calls available: the blocks kept for root do not count, whoever asks.
    public func freeBytes(_ path: String) throws(IOError) -> UInt64 {
        var bytes: UInt64 = 0
        let code = unsafe varve_free_bytes(path, &bytes)
        if code != 0 { throw IOError(code: code, operation: "measure the free space at", path: path) }
        return bytes
    }

    private func status(_ path: String, _ operation: String) throws(IOError) -> stat {
        var info = stat()
        try Self.check(unsafe stat(path, &info), operation, path)
        return info
    }

    private static func openDescriptor(_ path: String, _ flags: Int32, _ verb: String) throws(IOError) -> Int32 {
        while true {
            let descriptor = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o666)
            if descriptor >= 0 { return descriptor }
            let code = errno
            if code != EINTR { throw IOError(code: code, operation: verb, path: path) }
        }
    }

    private static func check(_ result: Int32, _ operation: String, _ path: String) throws(IOError) {
        if result != 0 { throw IOError(code: errno, operation: operation, path: path) }
    }
}

/// An advisory lock of the kernel; it lives as long as its file is open.
final class PosixLock: FileLock {
    let file: any File
    init(_ file: PosixFile) { self.file = file }
    func release() { file.close() }
}
