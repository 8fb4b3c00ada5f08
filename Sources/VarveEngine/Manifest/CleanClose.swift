internal import VarveIO

/// The file CLOSED: the record that a store was closed with everything synced, and where log and manifest then ended.
/// It lets the next open tell damage at the very end from an unsynced tail. Removed, durably, before the first write.
///
///     magic "VARVECLS" u64, version u32, timeline, LSN u64, running hash u64, manifest number u64, manifest bytes u64,
///     XXH3-64 of all before
struct CleanClose: Hashable, Sendable {
    var log: LogPosition
    var manifest: FileNumber
    var manifestBytes: UInt64

    // "VARVECLS", little-endian.
    private static let magic: UInt64 = 0x534C_4345_5652_4156
    private static let version: UInt32 = 0

    func write(in directory: String, _ files: any FileSystem) throws(VarveError) {
        var buffer = ByteBuffer(capacity: 128)
        buffer.appendFixed(CleanClose.magic)
        buffer.appendFixed(CleanClose.version)
        buffer.appendTimeline(log.timeline)
        buffer.appendFixed(log.lsn.rawValue)
        buffer.appendFixed(log.runningHash)
        buffer.appendFixed(manifest)
        buffer.appendFixed(manifestBytes)
        buffer.appendFixed(unsafe XXH3.hash64(buffer.bytes))
        try AtomicFile.replace(.closed, with: buffer.array(), in: directory, files)
    }

    /// Nil where the store was not closed.
    static func read(in directory: String, _ files: any FileSystem) throws(VarveError) -> CleanClose? {
        let path = FileName.closed.path(in: directory)
        guard try lifted({ () throws(IOError) in try files.exists(path) }) else { return nil }
        return try read(atPath: path, files)
    }

    /// The same of a file by its path, which must be there.
    static func read(atPath path: String, _ files: any FileSystem) throws(VarveError) -> CleanClose {
        let bytes = try AtomicFile.read(atPath: path, files, limit: 4096)
        let outcome: Result<CleanClose, DecodeError> = unsafe bytes.withBytes { bytes in
            do throws(DecodeError) { return .success(unsafe try CleanClose(decoding: bytes)) } catch {
                return .failure(error)
            }
        }
        do { return try outcome.get() } catch { throw .corruption(error, in: "the record of the close", path: path) }
    }

    init(log: LogPosition, manifest: FileNumber, manifestBytes: UInt64) {
        self.log = log
        self.manifest = manifest
        self.manifestBytes = manifestBytes
    }

    init(decoding bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = unsafe ByteReader(bytes)
        guard try reader.fixed(UInt64.self) == CleanClose.magic else { throw .malformed("it has another magic") }
        let version = try reader.fixed(UInt32.self)
        guard version == CleanClose.version else { throw .unknown("format version \(version)") }
        let timeline = try reader.timeline()
        let lsn = try reader.lsn()
        log = LogPosition(timeline: timeline, lsn: lsn, runningHash: try reader.fixed())
        manifest = try reader.fixed()
        manifestBytes = try reader.fixed()
        let covered = bytes.count - reader.remaining
        let check = unsafe XXH3.hash64(UnsafeRawBufferPointer(rebasing: bytes[..<covered]))
        guard try reader.fixed(UInt64.self) == check, reader.isAtEnd else {
            throw .malformed("its checksum does not match")
        }
    }

    static func remove(in directory: String, _ files: any FileSystem) throws(VarveError) {
        let path = FileName.closed.path(in: directory)
        try lifted { () throws(IOError) in
            guard try files.exists(path) else { return }
            try files.remove(path)
            try files.syncDirectory(directory)
        }
    }
}
