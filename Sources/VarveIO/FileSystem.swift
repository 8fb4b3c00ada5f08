/// The only door to the kernel's files. Everything that Varve stores passes through one of these, so that tests can cut
/// the power, fill the disk or fail a call at any single place.
///
/// Durability is explicit, as POSIX has it: bytes survive a power cut once the file's `sync` has returned, and a name
/// (created, renamed, linked, removed) survives once its folder's `syncDirectory` has returned. Nothing else promises
/// either. All members may be called from any thread.
public protocol FileSystem: Sendable {
    /// Opens the file at `path`.
    func open(_ path: String, _ mode: OpenMode) throws(IOError) -> any File
    func exists(_ path: String) throws(IOError) -> Bool
    /// The names in a folder, unsorted, without "." and "..".
    func list(_ directory: String) throws(IOError) -> [String]
    /// Creates one folder; its parent must exist. A folder that is there already is fine.
    func createDirectory(_ path: String) throws(IOError)
    /// Removes a file's name.
    func remove(_ path: String) throws(IOError)
    /// Removes an empty folder.
    func removeDirectory(_ path: String) throws(IOError)
    /// Replaces `destination` atomically.
    func rename(_ source: String, to destination: String) throws(IOError)
    /// Gives the file a second name; fails with EEXIST where `destination` exists, with EXDEV across file systems.
    func link(_ source: String, to destination: String) throws(IOError)
    /// How many names the file has.
    func linkCount(_ path: String) throws(IOError) -> Int
    /// Makes the folder's present names durable.
    func syncDirectory(_ path: String) throws(IOError)
    /// Takes the advisory lock on a file; nil while another process, or another opener in this one, holds it so that both
    /// cannot. Dropping the returned lock, or the process's death, releases it.
    func lock(_ path: String, _ mode: LockMode) throws(IOError) -> (any FileLock)?
    /// Bytes that this process may still allocate on the file system that holds `path`.
    func freeBytes(_ path: String) throws(IOError) -> UInt64
}

extension FileSystem {
    /// Takes the lock for one holder alone.
    public func lock(_ path: String) throws(IOError) -> (any FileLock)? { try lock(path, .exclusive) }
}

/// Whom a lock keeps out.
public enum LockMode: Sendable {
    /// Everybody else. The file is created where it is missing.
    case exclusive
    /// Who asks for it alone. The file must be there, and nothing on disk changes: it may lie on a read-only mount.
    case shared
}

/// How a file is opened.
public enum OpenMode: Sendable {
    /// Existing, to read.
    case read
    /// Existing, to read and write.
    case readWrite
    /// New, to read and write; fails with EEXIST where the name is taken.
    case createNew
}

/// An open file. Reads and writes are positional, so there is no shared cursor; any thread may call any member, and
/// ranges written at the same time must not overlap.
public protocol File: AnyObject, Sendable {
    var path: String { get }
    func size() throws(IOError) -> UInt64
    /// Reads up to `buffer.count` bytes from `offset`; returns fewer only at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(IOError) -> Int
    /// Fills `buffer` from `offset` if the kernel has those bytes in memory; false, and nothing to rely on in the buffer,
    /// where it would have to wait for the device, or for any other reason: `read` tells which.
    func readIfInMemory(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(IOError)
    /// Makes [0, length) really allocated, so that later writes and stores into it cannot meet a full disk. Grows the
    /// file to `length`; never shrinks it. What was not written before reads as zeros.
    func allocate(_ length: UInt64) throws(IOError)
    func truncate(to length: UInt64) throws(IOError)
    /// Makes the file's bytes and length durable (fdatasync). After an error the outcome is unknown, and calling again
    /// proves nothing.
    func sync() throws(IOError)
    /// Maps [0, length) to read. Made for sealed files that never change or shrink while mapped.
    func map(length: UInt64, advice: MapAdvice) throws(IOError) -> any FileMap
    /// Maps [0, length), which must be allocated, for stores that reach the page cache at once and thus survive the
    /// process; `sync` makes them durable. Nil where this file system cannot promise that a store into allocated space
    /// succeeds (copy on write, network): write instead.
    func mapForStores(length: UInt64) throws(IOError) -> (any StoreMap)?
    /// Closes the descriptor; maps stay valid. Closing twice is fine. Other calls after it fail with EBADF.
    func close()
}

extension File {
    /// A file of which nobody can tell what is in memory.
    public func readIfInMemory(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool { false }
}

/// What the kernel is told of the access to come.
public enum MapAdvice: Sendable {
    case normal, random, sequential
}

/// A file mapped to read: base address and length, valid as long as this object lives.
///
/// Truncation or an I/O error under the map does not kill the process: the fault is caught, the page reads as zeros from
/// then on, and `isDamaged` turns true. Who reads through the map checks it after reading and before trusting.
public protocol FileMap: AnyObject, Sendable {
    var base: UnsafeRawPointer { get }
    var count: Int { get }
    /// A fault was caught under this map.
    var isDamaged: Bool { get }
    /// Whether [offset, offset + length) is in memory now (mincore).
    func isResident(offset: Int, length: Int) -> Bool
    /// Asks the kernel to read [offset, offset + length) ahead.
    func willNeed(offset: Int, length: Int)
}

/// A file mapped for stores.
public protocol StoreMap: AnyObject, Sendable {
    var count: Int { get }
    /// Copies `bytes` to `offset`. In bounds by the caller's care; it traps otherwise.
    /// Returns false if the store faulted (the device failed): the bytes are not in the file.
    func store(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool
}

/// An advisory lock that is held.
public protocol FileLock: AnyObject, Sendable {
    /// The locked file, to read and (for a holder alone) write what it says of its holder.
    var file: any File { get }
    func release()
}
