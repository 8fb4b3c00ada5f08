internal import VarveIO

/// The advisory lock on a store's LOCK file, and the record in it that tells others whom to ask.
///
/// One thread at a time.
final class StoreLock: @unchecked Sendable {
    // Unchecked: one thread at a time, by contract: whoever opens the store, then its hold's mutex.
    let path: String
    /// What the previous holder left there, if it did not close: its socket is stale.
    private(set) var previous: LockRecord?
    /// Nil for a reader of a store that no writer ever had: there is nobody to keep out.
    private let lock: (any FileLock)?
    private var published: LockRecord?
    /// Whether others are kept out by it.
    var isHeld: Bool { lock != nil }
    /// Whether another engine of this process is to go on with the lock: then nobody lets go of it.
    private var isOnItsWay = false

    /// Takes the lock. Throws `.storeInUse`, naming program and process, where another holds it.
    ///
    /// Readers share it, keep writers out and change nothing on disk. Where a copied store has no LOCK they hold none: a
    /// writer that came then would not be kept out.
    static func take(
        _ fileSystem: any FileSystem, path: String, _ mode: LockMode = .exclusive
    ) throws(VarveError) -> StoreLock {
        if mode == .shared, try !lifted({ () throws(IOError) in try fileSystem.exists(path) }) {
            return StoreLock(nil, nil, path: path)
        }
        guard let lock = try lifted({ () throws(IOError) in try fileSystem.lock(path, mode) }) else {
            throw inUse(try? record(fileSystem, path: path), path: path)
        }
        // A record that cannot be read says nothing; the lock itself is what counts.
        let previous = try? LockRecord(decoding: try bytes(of: lock.file, path: path))
        return StoreLock(lock, previous, path: path)
    }

    private init(_ lock: (any FileLock)?, _ previous: LockRecord?, path: String) {
        self.lock = lock
        self.previous = previous
        self.path = path
    }

    /// Writes who holds the store, durably: after a power cut the boot id tells that it was one.
    func publish(_ record: LockRecord) throws(VarveError) {
        guard let lock else { preconditionFailure("a reader's hold on a store says nothing") }
        let bytes = record.encoded()
        try lifted { () throws(IOError) in
            unsafe try bytes.span.bytes.withUnsafeBytes { (bytes) throws(IOError) in
                unsafe try lock.file.write(bytes, at: 0)
            }
            try lock.file.truncate(to: UInt64(bytes.count))
            try lock.file.sync()
        }
        published = record
    }

    /// Another engine of this process is to go on with the lock; who has it now was the previous holder to that one.
    func passOn() {
        previous = published ?? previous
        isOnItsWay = true
    }

    /// The other engine has it, or there is none.
    func hasArrived() { isOnItsWay = false }

    /// Lets go of the lock, and empties the record if it is ours: what a process that died left there stays for the next
    /// writer, and so does ours where the store was not closed (`keepsRecord`): it names the boot under which the store
    /// was open. A record that cannot be emptied is stale, and readers allow for that.
    func release(keepsRecord: Bool = false) {
        if isOnItsWay { return }
        if published != nil, !keepsRecord { try? lock?.file.truncate(to: 0) }
        lock?.release()
    }

    /// What a store's LOCK file says of the process that has the store open, or died with it open.
    /// - Throws: `.io` where nobody has: a clean close empties the file, and a store that was never written lacks it.
    static func record(_ fileSystem: any FileSystem, path: String) throws(VarveError) -> LockRecord {
        let file = try lifted { () throws(IOError) in try fileSystem.open(path, .read) }
        defer { file.close() }
        let content = try bytes(of: file, path: path)
        guard !content.isEmpty else { throw VarveError(.io, "nobody has the store open to write", path: path) }
        do { return try LockRecord(decoding: content) } catch {
            throw .corruption(error, in: "the lock record", path: path)
        }
    }

    private static func inUse(_ record: LockRecord?, path: String) -> VarveError {
        guard let record else {
            return VarveError(.storeInUse, "another process has the store open; it has not said which", path: path)
        }
        let text = "\(record.holder) has the store open; close it there, or use a command that its owner answers"
        return VarveError(.storeInUse, text, path: path)
    }

    private static func bytes(of file: any File, path: String) throws(VarveError) -> [UInt8] {
        try lifted { () throws(IOError) in
            let size = Int(min(try file.size(), UInt64(Limits.lockRecordBytes + 1)))
            var content = ByteBuffer(capacity: size)
            unsafe try content.append(maximum: size) { (room) throws(IOError) in
                unsafe try file.read(into: room, at: 0)
            }
            return content.array()
        }
    }
}
