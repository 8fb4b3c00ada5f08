import CLZ4

@testable import VarveEngine

/// Makes mutated frames whole again: length, LSN, position, running hash and checksum, as far as what the frame says lets
/// them be computed. What the fuzzer changed in kind, flags, codec, counts and payload stays.
struct FrameRepair {
    private var position: LogPosition
    private var time: Timestamp
    private var window: [UInt8] = []
    private let salt: UInt64

    static func repairSegment(_ bytes: inout [UInt8], magic: UInt64 = LogFormat.logMagic) {
        guard bytes.count >= LogFormat.headerBytes else { return }
        bytes.setNumber(magic, at: 0)
        bytes.setNumber(LogFormat.version, at: 8)
        let end = LogFormat.headerBytes - 8
        bytes.setNumber(bytes.hash(0..<end), at: end)
        let header: SegmentHeader? = bytes.withBytes { try? SegmentHeader(decoding: $0, magic: magic) }
        if let header { repairFrames(&bytes, from: LogFormat.headerBytes, header) }
    }

    static func repairFrames(_ bytes: inout [UInt8], from start: Int, _ header: SegmentHeader) {
        var repair = FrameRepair(position: header.position, time: header.time, salt: header.salt)
        var offset = start
        while bytes.count - offset > LogFormat.fixedFrameBytes {
            var length = Int(bytes.number(at: offset + 8, UInt32.self))
            if length <= LogFormat.fixedFrameBytes || length > bytes.count - offset { length = bytes.count - offset }
            var frame = Array(bytes[offset..<offset + length])
            repair.mend(&frame)
            bytes.replaceSubrange(offset..<offset + length, with: frame)
            offset += length
        }
    }

    private mutating func mend(_ frame: inout [UInt8]) {
        frame.setNumber(UInt32(frame.count), at: 8)
        let first = position.lsn.rawValue &+ 1
        frame.setNumber(UInt32(truncatingIfNeeded: first), at: 16)
        fillIn(&frame, first)
        frame.setNumber(frame.withBytes { FrameChecksum(salt: salt).whole($0) }, at: 0)
    }

    /// Position and running hash, where the header can be followed.
    private mutating func fillIn(_ frame: inout [UInt8], _ first: UInt64) {
        let flags = FrameFlags(rawValue: frame[13])
        if flags.contains(.restart) {
            guard frame.count > LogFormat.fixedFrameBytes + LogFormat.restartBytes else { return }
            frame.setNumber(position.timeline.ordinal, at: 24)
            frame.setNumber(position.timeline.unique.high, at: 28)
            frame.setNumber(position.timeline.unique.low, at: 36)
            frame.setNumber(first, at: 44)
            if frame.number(at: 52, Timestamp.self) <= time { frame.setNumber(time &+ 1, at: 52) }
            frame.setNumber(position.runningHash, at: 60)
            if frame.number(at: 68, UInt64.self) >= first { frame.setNumber(first &- 1, at: 68) }
            window = []
        }
        let bytes = frame
        guard let (count, commitTime, raw) = follow(bytes, flags) else { return }
        let kind = FrameKind(rawValue: frame[12])
        let before = position.runningHash
        let hash = raw.withBytes { raw in
            RunningHash.after(before, kind, flags, count: count, commitTime: commitTime, payload: raw)
        }
        frame.setNumber(UInt32(truncatingIfNeeded: hash), at: 20)
        window += raw
        time = commitTime
        var after = LogPosition(
            timeline: position.timeline, lsn: LSN(position.lsn.rawValue &+ count), runningHash: hash)
        if kind == .timeline, let origin = raw.withBytes({ try? TimelineRecord.decode($0) }) {
            after = LogPosition(
                timeline: origin.timeline, lsn: after.lsn, runningHash: RunningHash.reseeded(hash, origin.timeline))
        }
        position = after
    }

    /// Count, commit time and raw payload.
    private func follow(_ frame: [UInt8], _ flags: FrameFlags) -> (UInt64, Timestamp, [UInt8])? {
        frame.withBytes { bytes -> (UInt64, Timestamp, [UInt8])? in
            do throws(DecodeError) {
                var reader = ByteReader(bytes)
                _ = try reader.bytes(24)
                var commitTime = time
                if flags.contains(.restart) {
                    _ = try reader.bytes(28)
                    commitTime = try reader.fixed()
                    _ = try reader.bytes(16)
                } else {
                    commitTime = time &+ Timestamp(truncatingIfNeeded: try reader.varint())
                    _ = try reader.varint()
                }
                let count = try reader.varint()
                guard count <= LogFormat.segmentLSNs else { return nil }
                guard frame[14] != FrameCodec.stored else { return (count, commitTime, Array(reader.rest())) }
                let length = try reader.length(atMost: LogFormat.windowBytes)
                return unpacked(reader.rest(), length).map { (count, commitTime, $0) }
            } catch {
                return nil
            }
        }
    }

    private func unpacked(_ stored: UnsafeRawBufferPointer, _ length: Int) -> [UInt8]? {
        var raw = [UInt8](repeating: 0, count: length)
        let size = raw.withUnsafeMutableBytes { raw in
            window.withUnsafeBytes { window in
                LZ4_decompress_safe_usingDict(
                    stored.baseAddress?.assumingMemoryBound(to: CChar.self),
                    raw.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(stored.count), Int32(length),
                    window.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(window.count))
            }
        }
        return Int(size) == length ? raw : nil
    }
}

extension FrameRepair {
    private init(position: LogPosition, time: Timestamp, salt: UInt64) {
        self.position = position
        self.time = time
        self.salt = salt
    }
}
