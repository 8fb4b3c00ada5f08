/// Why no frame could be taken from a place in a log.
enum FrameFault: Error, Equatable {
    /// Zero length and checksum: never written.
    case absent
    /// The bytes at hand end before the frame does; it wants this many.
    case incomplete(Int)
    /// The header check does not fit: nothing that stands here is believed, the length neither.
    case headerCheck(expected: UInt16, found: UInt16)
    case checksum(expected: UInt64, found: UInt64)
    case malformed(DecodeError)
    /// The frame is whole but does not continue the position before it.
    case discontinuous(String)
    /// The frame is whole and means something that this version must not pass over.
    case unsupported(String)

    var text: String {
        switch self {
        case .absent: return "no frame was written here"
        case .incomplete(let wanted): return "the frame ends beyond the file (it wants \(wanted) bytes)"
        case .headerCheck(let expected, let found):
            let (stated, given) = (hexadecimal(UInt64(expected)).suffix(4), hexadecimal(UInt64(found)).suffix(4))
            return "the check of the frame's header is \(stated), its bytes give \(given)"
        case .checksum(let expected, let found):
            return "the frame's checksum is \(hexadecimal(expected)), its bytes give \(hexadecimal(found))"
        case .malformed(.truncated): return "the frame's header ends too soon"
        case .malformed(.badVarint): return "the frame's header holds a malformed integer"
        case .malformed(.outOfRange(let detail)), .malformed(.malformed(let detail)), .malformed(.unknown(let detail)):
            return "the frame is malformed: \(detail)"
        case .discontinuous(let detail): return "the frame does not continue the log: \(detail)"
        case .unsupported(let detail): return "the frame holds \(detail), which this version of Varve does not know"
        }
    }
}

/// What a restart frame says in full: the position before it.
struct RestartFields: Hashable, Sendable {
    let timeline: TimelineID
    let firstLSN: LSN
    let commitTime: Timestamp
    let hashBefore: UInt64
    let syncedLSN: LSN
}

/// A frame's header as it lies in the log, before it is set in relation to the frame before it.
struct RawFrameHeader {
    let checksum: UInt64
    /// Bytes of the whole frame.
    let length: Int
    let kind: FrameKind
    let flags: FrameFlags
    let codec: UInt8
    let reserved: UInt8
    /// The low 32 bits of the first LSN and of the running hash after the frame.
    let lowLSN: UInt32
    let lowHash: UInt32
    let restart: RestartFields?
    /// Of frames without restart part: nanoseconds since the frame before, and how many LSNs before this frame's first
    /// were not yet synced.
    let timeDelta: UInt64
    let unsynced: UInt64
    let count: UInt64
    /// Length of the payload once decoded.
    let rawLength: Int
    /// Where the payload begins in the frame.
    let payloadOffset: Int

    /// The length that a frame at the beginning of `bytes` claims, if such a frame can be. Only who knows where frames
    /// begin may believe it; else the one under a salt.
    @inline(__always)
    static func unverifiedLength(_ bytes: UnsafeRawBufferPointer) throws(FrameFault) -> Int {
        guard bytes.count >= LogFormat.fixedFrameBytes else { throw .incomplete(LogFormat.fixedFrameBytes) }
        let length = Int(unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
        if length == 0, unsafe bytes.loadUnaligned(as: UInt64.self) == 0 { throw .absent }
        guard length > LogFormat.fixedFrameBytes, length <= Limits.frameBytes else {
            throw .malformed(.outOfRange("a length of \(length)"))
        }
        return length
    }

    /// The same once the header check has said that the segment's writer made it.
    @inline(__always)
    static func claimedLength(_ bytes: UnsafeRawBufferPointer, salt: UInt64) throws(FrameFault) -> Int {
        try unsafe checkedHeader(bytes, FrameChecksum(salt: salt)).length
    }

    @inline(__always)
    private static func checkedHeader(
        _ bytes: UnsafeRawBufferPointer, _ checksum: FrameChecksum
    ) throws(FrameFault) -> (length: Int, stored: UInt64, hash: UInt64) {
        let length = try unsafe unverifiedLength(bytes)
        let stored = unsafe UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        let hash = unsafe checksum.headerHash(bytes)
        let (expected, found) = (FrameChecksum.headerCheck(of: stored), UInt16(truncatingIfNeeded: hash))
        guard found == expected else { throw .headerCheck(expected: expected, found: found) }
        return (length, stored, hash)
    }

    /// Takes the header of the frame at the beginning of `bytes` after checking the frame's checksum.
    init(verifying bytes: UnsafeRawBufferPointer, salt: UInt64) throws(FrameFault) {
        let checksum = FrameChecksum(salt: salt)
        let (length, stored, headerHash) = try unsafe RawFrameHeader.checkedHeader(bytes, checksum)
        guard bytes.count >= length else { throw .incomplete(length) }
        let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<length])
        let found = unsafe checksum.whole(frame, headerHash: headerHash)
        guard found == stored else { throw .checksum(expected: stored, found: found) }
        do {
            try unsafe self.init(unverified: frame)
        } catch {
            throw .malformed(error)
        }
    }

    /// Takes the header of exactly one frame, whatever its checksum says.
    @inline(__always)
    init(unverified frame: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = unsafe ByteReader(frame)
        checksum = try reader.fixed()
        length = Int(try reader.fixed(UInt32.self))
        kind = FrameKind(rawValue: try reader.byte())
        flags = FrameFlags(rawValue: try reader.byte())
        codec = try reader.byte()
        reserved = try reader.byte()
        lowLSN = try reader.fixed()
        lowHash = try reader.fixed()
        if flags.contains(.restart) {
            let fields = try RestartFields(&reader)
            restart = fields
            timeDelta = 0
            unsynced = 0
            guard UInt32(truncatingIfNeeded: fields.firstLSN.rawValue) == lowLSN else {
                throw .malformed("its two first LSNs differ")
            }
        } else {
            restart = nil
            timeDelta = try reader.varint()
            unsynced = try reader.varint()
        }
        count = try reader.varint()
        guard count >= 1, count <= LogFormat.segmentLSNs else { throw .outOfRange("\(count) LSNs") }
        if codec == FrameCodec.stored {
            rawLength = reader.remaining
        } else {
            rawLength = try reader.length(atMost: Limits.batchBytes, "a raw payload length")
            // Believed only as far as LZ4 can shrink: no memory is taken for a claim that cannot be.
            guard codec != FrameCodec.lz4 || rawLength <= FrameCodec.lz4Bound(stored: reader.remaining) else {
                throw .outOfRange("\(rawLength) raw bytes in \(reader.remaining)")
            }
        }
        payloadOffset = frame.count - reader.remaining
    }

    /// What whole frames, one behind the other, decode to by what their headers say; whoever decodes them checks it. Nil
    /// where a header cannot be. A frame of an unknown codec counts for nothing: its raw length has no bound, and who
    /// decodes it refuses it by name.
    static func contents(of bytes: UnsafeRawBufferPointer) -> (rawBytes: Int, records: Int)? {
        var (offset, rawBytes, records) = (0, 0, 0)
        while offset < bytes.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset...])
            guard let length = try? unsafe unverifiedLength(rest), length <= rest.count,
                let header = try? unsafe RawFrameHeader(unverified: UnsafeRawBufferPointer(rebasing: rest[..<length]))
            else { return nil }
            offset += length
            if header.codec > FrameCodec.lz4 { continue }
            guard
                let count = BatchReader.records(of: header.kind, count: header.count, rawLength: header.rawLength)
            else { return nil }
            rawBytes += header.rawLength
            records += count
        }
        return (rawBytes, records)
    }

    /// The whole first LSN, for a reader that knows an LSN before it, at most 2^32 - 1 away.
    @inline(__always)
    func firstLSN(notBefore floor: LSN) -> LSN {
        LSN(floor.rawValue &+ UInt64(lowLSN &- UInt32(truncatingIfNeeded: floor.rawValue)))
    }

    /// The LSN that was synced when the frame was written.
    @inline(__always)
    func syncedLSN(first: LSN) -> LSN {
        if let restart { return restart.syncedLSN }
        let (value, below) = (first.rawValue &- 1).subtractingReportingOverflow(unsynced)
        return below ? .zero : LSN(value)
    }
}

extension RestartFields {
    fileprivate init(_ reader: inout ByteReader) throws(DecodeError) {
        timeline = try reader.timeline()
        firstLSN = try reader.lsn()
        commitTime = try reader.fixed()
        hashBefore = try reader.fixed()
        syncedLSN = try reader.lsn()
        guard firstLSN > .zero, syncedLSN < firstLSN else { throw .malformed("a synced LSN beyond the frame") }
    }
}

/// A verified frame set in relation to the log before it.
struct FrameHeader: Hashable, Sendable {
    let kind: FrameKind
    let flags: FrameFlags
    let codec: UInt8
    let firstLSN: LSN
    let count: UInt64
    let commitTime: Timestamp
    /// What was synced when it was written.
    let syncedLSN: LSN

    @inline(__always)
    var lastLSN: LSN { firstLSN.advanced(by: count - 1) }
    var isRestart: Bool { flags.contains(.restart) }
}

/// A frame with its payload decoded. What it points to stays valid until its decoder or source moves on.
@safe
struct DecodedFrame {
    let header: FrameHeader
    /// The payload as it was before compression.
    let payload: UnsafeRawBufferPointer
    /// The frame as it lies in the log.
    let bytes: UnsafeRawBufferPointer
    /// Bytes of the whole frame, and of its payload.
    var length: Int { unsafe bytes.count }
    var rawLength: Int { unsafe payload.count }
    /// See `BatchReader.records`.
    var records: Int? { BatchReader.records(of: header.kind, count: header.count, rawLength: rawLength) }
    /// The place after the frame; a timeline record's is in the timeline that it begins.
    let positionAfter: LogPosition
}
