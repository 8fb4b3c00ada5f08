/// The first sector of a log segment or manifest: whose file it is, where in which history it begins, and the salt under
/// which its frames are sealed. Layout: docs/formats/log.md.
///
/// It is written and synced before the file gets its final name, so a bad header under a final name is damage and never
/// an unfinished file.
struct SegmentHeader: Hashable, Sendable {
    /// The kind of file: `LogFormat.logMagic` or `.manifestMagic`.
    var magic: UInt64 = LogFormat.logMagic
    var requiredFeatures: UInt64 = 0
    var optionalFeatures: UInt64 = 0
    var storeID: UniqueID
    var nodeID: UniqueID
    /// The key that encrypts the frames; 0: none.
    var keyID: UInt32 = 0
    /// The position before the first frame: its timeline...
    var timeline: TimelineID
    /// ...the LSN of the first frame (one past the position's)...
    var firstLSN: LSN
    /// ...and the running hash.
    var runningHash: UInt64
    /// The last commit time before the first frame.
    var time: Timestamp
    /// Random per segment; stale bytes of a recycled file do not verify under it.
    var salt: UInt64
    var fileNumber: UInt64

    /// The features of the format that this version can read.
    static let knownRequiredFeatures: UInt64 = 0

    /// The place at which the segment begins.
    var position: LogPosition {
        LogPosition(timeline: timeline, lsn: LSN(firstLSN.rawValue &- 1), runningHash: runningHash)
    }
}

extension SegmentHeader {
    private static let checksumOffset = LogFormat.headerBytes - 8

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: LogFormat.headerBytes)
        encode(to: &buffer)
        return buffer.array()
    }

    /// Into an empty buffer.
    func encode(to buffer: inout ByteBuffer) {
        precondition(buffer.isEmpty, "a header stands at the beginning")
        buffer.appendFixed(magic)
        buffer.appendFixed(LogFormat.version)
        buffer.appendFixed(UInt32(LogFormat.headerBytes))
        buffer.appendFixed(requiredFeatures)
        buffer.appendFixed(optionalFeatures)
        buffer.appendID(storeID)
        buffer.appendID(nodeID)
        buffer.appendFixed(keyID)
        buffer.appendTimeline(timeline)
        buffer.appendFixed(firstLSN.rawValue)
        buffer.appendFixed(runningHash)
        buffer.appendFixed(time)
        buffer.appendFixed(salt)
        buffer.appendFixed(fileNumber)
        while buffer.count < SegmentHeader.checksumOffset { buffer.append(0) }
        buffer.appendFixed(unsafe XXH3.hash64(buffer.bytes))
    }

    /// Decodes a header of the given kind of file. Checks the checksum before anything but magic and version, so that a
    /// format that is newer, or older, is refused by name even where its header is another one. A header that is whole but
    /// for its version is a damaged one of this format.
    init(decoding bytes: UnsafeRawBufferPointer, magic expected: UInt64 = LogFormat.logMagic) throws(DecodeError) {
        var reader = unsafe ByteReader(bytes)
        magic = try reader.fixed()
        guard magic == expected else { throw .malformed("no magic at the beginning") }
        let version: UInt32 = try reader.fixed()
        guard version == LogFormat.version else {
            // A newer version may have another header; those before had this one.
            let isDamaged =
                unsafe SegmentHeader.isWhole(bytes, version: LogFormat.version)
                || (version < LogFormat.version && !SegmentHeader.isWhole(bytes, version: version))
            if isDamaged { throw .malformed("the header's version does not match its checksum") }
            throw .unknown("format version \(version)\(version < LogFormat.version ? " of an earlier build" : "")")
        }
        let length: UInt32 = try reader.fixed()
        guard length == UInt32(LogFormat.headerBytes) else { throw .malformed("a header length of \(length)") }
        guard bytes.count >= LogFormat.headerBytes else { throw .truncated }
        guard unsafe SegmentHeader.isWhole(bytes, version: version) else {
            throw .malformed("the header's checksum does not match")
        }
        requiredFeatures = try reader.fixed()
        optionalFeatures = try reader.fixed()
        storeID = try reader.uniqueID()
        nodeID = try reader.uniqueID()
        keyID = try reader.fixed()
        timeline = try reader.timeline()
        firstLSN = try reader.lsn()
        runningHash = try reader.fixed()
        time = try reader.fixed()
        salt = try reader.fixed()
        fileNumber = try reader.fixed()
        let unknown = requiredFeatures & ~SegmentHeader.knownRequiredFeatures
        guard unknown == 0 else { throw .unknown("required feature bits \(hexadecimal(unknown))") }
        guard keyID == 0 else { throw .unknown("frames encrypted under key \(keyID)") }
        guard firstLSN > .zero else { throw .malformed("a first LSN of zero") }
        guard time <= LogFormat.latestTime else { throw .outOfRange("commit time \(time)") }
    }

    /// Whether a refused header claims a later version and is not whole by the layout of this one: it is damaged, or of
    /// a version with another layout. What else is known of the store must tell which.
    static func mayBeOfLaterVersion(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 12 else { return false }
        let version = unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        return unsafe version > LogFormat.version && !isWhole(bytes, version: version)
    }

    /// Whether the bytes begin with a header whose checksum is right for this version.
    private static func isWhole(_ bytes: UnsafeRawBufferPointer, version: UInt32) -> Bool {
        guard bytes.count >= LogFormat.headerBytes else { return false }
        let stored = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: checksumOffset, as: UInt64.self))
        var covered = unsafe [UInt8](UnsafeRawBufferPointer(rebasing: bytes[..<checksumOffset]))
        for index in 0..<4 { covered[8 + index] = UInt8(truncatingIfNeeded: version &>> UInt32(8 * index)) }
        return unsafe covered.withUnsafeBytes { unsafe XXH3.hash64($0) } == stored
    }
}

extension ByteBuffer {
    mutating func appendID(_ id: UniqueID) {
        appendFixed(id.high)
        appendFixed(id.low)
    }
    mutating func appendTimeline(_ timeline: TimelineID) {
        appendFixed(timeline.ordinal)
        appendID(timeline.unique)
    }
}

extension ByteReader {
    mutating func uniqueID() throws(DecodeError) -> UniqueID {
        UniqueID(high: try fixed(), low: try fixed())
    }
    mutating func timeline() throws(DecodeError) -> TimelineID {
        TimelineID(ordinal: try fixed(), unique: try uniqueID())
    }
    mutating func lsn() throws(DecodeError) -> LSN {
        let value: UInt64 = try fixed()
        guard value <= LSN.max.rawValue else { throw .outOfRange("LSN \(value)") }
        return LSN(value)
    }
}
