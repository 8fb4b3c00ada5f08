internal import Glibc
internal import Synchronization
public import VarveIO

/// A file system in memory that loses power, fills up and fails on command.
///
/// It promises exactly what `FileSystem` promises: bytes and lengths survive a power cut after `sync`, names after
/// `syncDirectory`, and nothing else does. `crash` returns a new file system as the next boot would find it, any number
/// of times and at any moment, and costs what is dirty rather than what is stored: pages are shared.
///
/// What a crash may leave is wider than what one kernel does. Each sector of 512 bytes is as it was at some moment since
/// the file's last sync, each page independently; the length is that of some moment; a folder has a prefix of the
/// changes made to its names. A sector is never newer in one byte and older in another, and a shrink never undoes half.
///
/// Thread-safe: one lock, held for one call. Faults and observers are for the harness to set.
/// After the idea of RocksDB's fault-injection Env, Pebble's in-memory FS and SQLite's test VFS.
public final class SimulatedFileSystem: FileSystem {
    let state: Mutex<SimulatedState>

    /// An empty disk with the folder "/". `capacity` in bytes, in pages of 4 KiB; nil for no bound.
    public init(capacity: UInt64? = nil) {
        var state = SimulatedState(root: SimulatedDirectory(number: 0))
        state.capacity = capacity
        self.state = Mutex(state)
    }

    init(state: SimulatedState) { self.state = Mutex(state) }

    /// One numbered call. `failed` is what an injected failure does besides being reported; `promises` is true for
    /// calls whose only effect is a promise, which one that the power cuts short never makes.
    func perform<Result>(
        _ operation: SimulatedOperation, _ path: String, promises: Bool = false,
        failed: (inout SimulatedState, Bool) -> Void = { _, _ in },
        _ body: (inout SimulatedState) throws(IOError) -> Result
    ) throws(IOError) -> Result {
        let ((call, verdict), observer) = state.withLock { ($0.begin(operation, path), $0.observer) }
        observer?(call)
        let failure = IOError(code: EIO, operation: operation.rawValue, path: path)
        switch verdict {
        case .proceed:
            return try state.withLock { state throws(IOError) in
                // Another thread's call may have cut the power in between.
                if state.isPowerCut { throw failure }
                return try body(&state)
            }
        case .fail(let code, let isPartial):
            state.withLock { if !$0.isPowerCut { failed(&$0, isPartial) } }
            throw IOError(code: code, operation: operation.rawValue, path: path)
        case .lastBreath:
            if !promises { _ = try state.withLock { state throws(IOError) in try body(&state) } }
            throw failure
        }
    }

    public func open(_ path: String, _ mode: OpenMode) throws(IOError) -> any File {
        let operation: SimulatedOperation = mode == .createNew ? .create : .open
        let inode = try perform(operation, path) { state throws(IOError) in
            let inode = mode == .createNew ? try state.create(path) : try state.findFile(path, .open)
            inode.users += 1
            return inode
        }
        return SimulatedFile(self, inode, path: path, isWritable: mode != .read)
    }

    public func exists(_ path: String) throws(IOError) -> Bool {
        try perform(.exists, path) { state throws(IOError) in
            do {
                _ = try state.find(path, .exists)
                return true
            } catch {
                return false
            }
        }
    }

    /// Sorted, so that a run can be repeated.
    public func list(_ directory: String) throws(IOError) -> [String] {
        try perform(.list, directory) { state throws(IOError) in
            try state.findDirectory(directory, .list).names.keys.sorted()
        }
    }

    public func linkCount(_ path: String) throws(IOError) -> Int {
        try perform(.linkCount, path) { state throws(IOError) in
            try state.findFile(path, .linkCount).linkCount
        }
    }

    public func freeBytes(_ path: String) throws(IOError) -> UInt64 {
        try perform(.freeBytes, path) { state throws(IOError) in
            _ = try state.find(path, .freeBytes)
            return state.capacity == nil ? 1 << 40 : UInt64(state.pageBudget * SimulatedPage.size)
        }
    }

    public func createDirectory(_ path: String) throws(IOError) {
        try perform(.createDirectory, path) { state throws(IOError) in try state.createDirectory(path) }
    }

    public func remove(_ path: String) throws(IOError) {
        try perform(.remove, path) { state throws(IOError) in try state.remove(path) }
    }

    public func removeDirectory(_ path: String) throws(IOError) {
        try perform(.removeDirectory, path) { state throws(IOError) in try state.removeDirectory(path) }
    }

    public func rename(_ source: String, to destination: String) throws(IOError) {
        try perform(.rename, source) { state throws(IOError) in try state.rename(source, to: destination) }
    }

    public func link(_ source: String, to destination: String) throws(IOError) {
        try perform(.link, source) { state throws(IOError) in try state.link(source, to: destination) }
    }

    public func syncDirectory(_ path: String) throws(IOError) {
        try perform(.syncDirectory, path, promises: true) { state throws(IOError) in
            let directory = try state.findDirectory(path, .syncDirectory)
            if state.dropsDirectorySync?(path) != true { directory.sync() }
        }
    }

    public func lock(_ path: String, _ mode: LockMode) throws(IOError) -> (any FileLock)? {
        // A shared lock changes nothing: it counts as an opening.
        let inode: SimulatedInode? = try perform(mode == .shared ? .open : .lock, path) { state throws(IOError) in
            let inode: SimulatedInode
            do throws(IOError) {
                inode = try state.findFile(path, .lock)
            } catch {
                guard error.isNotFound, mode == .exclusive else { throw error }
                inode = try state.create(path)
            }
            guard state.lock(inode, mode) else { return nil }
            inode.users += 1
            return inode
        }
        return inode.map {
            SimulatedLock(SimulatedFile(self, $0, path: path, isWritable: mode == .exclusive, holdsLock: true))
        }
    }
}
