internal import CLZ4

/// Makes frames: numbers them, compresses them over one shared LZ4 stream, chains the running hash, seals them.
///
/// Small records alone do not shrink, so LZ4 looks back over the raw payloads of the frames before, to the last restart
/// frame. Raw payloads lie one after the other in `history`, which is as long as a stream may be, so the stream never
/// wraps and LZ4 stays in its fastest mode (everything before the input is its window). A frame that does not shrink is
/// stored; LZ4 has seen its bytes all the same, and a decoder keeps them in the same place, so both windows stay equal.
///
/// One thread at a time (the commit lock). Nothing is allocated per frame, but for payloads beyond 64 KiB.
@safe
final class FrameEncoder {
    /// The place after the last frame.
    private(set) var position: LogPosition
    private(set) var lastCommitTime: Timestamp
    /// Raw bytes since the last restart, and whether the next frame must restart.
    private var used = 0
    private var mustRestart = true
    private var salt: UInt64

    private let stream: UnsafeMutablePointer<LZ4_stream_t>?
    private let acceleration: Int32
    private let history: UnsafeMutableRawPointer
    private var out: UnsafeMutableRawPointer
    private var outCapacity: Int

    private static let usualOutput =
        LogFormat.maximumFrameHeaderBytes + LogFormat.windowBytes + LogFormat.windowBytes / 255 + 16

    /// - Parameter compresses: false for manifests, whose frames are stored.
    init(
        salt: UInt64, position: LogPosition, lastCommitTime: Timestamp, compresses: Bool = true, acceleration: Int = 1
    ) {
        self.salt = salt
        self.position = position
        self.lastCommitTime = lastCommitTime
        self.acceleration = Int32(clamping: acceleration)
        unsafe stream = compresses ? LZ4_createStream() : nil
        unsafe history = .allocate(byteCount: LogFormat.windowBytes, alignment: 64)
        outCapacity = FrameEncoder.usualOutput
        unsafe out = .allocate(byteCount: outCapacity, alignment: 64)
    }

    deinit {
        if let stream = unsafe stream { _ = unsafe LZ4_freeStream(stream) }
        unsafe history.deallocate()
        unsafe out.deallocate()
    }

    /// Begins a segment: its salt seals the frames to come, and its first frame restarts.
    func beginSegment(salt: UInt64) {
        self.salt = salt
        mustRestart = true
    }

    /// Makes the next frame a restart frame.
    func demandRestart() { mustRestart = true }

    /// Takes over a place that frames made elsewhere have reached (a follower's log), or goes back to the one before a
    /// frame that could not be stored.
    func continueFrom(_ position: LogPosition, lastCommitTime: Timestamp) {
        self.position = position
        self.lastCommitTime = lastCommitTime
        mustRestart = true
    }

    /// Makes the frame that follows. The bytes stay valid until the next call.
    ///
    /// A timeline record names the timeline that it begins, and the frame after it restarts.
    func encode(
        _ kind: FrameKind, _ payload: UnsafeRawBufferPointer, count: UInt64, commitTime: Timestamp,
        flags: FrameFlags = [], syncedLSN: LSN, beginning timeline: TimelineID? = nil
    ) -> UnsafeRawBufferPointer {
        precondition(count >= 1 && count <= LogFormat.segmentLSNs, "a frame spans at least one LSN")
        precondition(payload.count <= Limits.batchBytes, "a batch is checked at the door")
        precondition(commitTime > lastCommitTime, "commit times strictly increase")
        precondition((kind == .timeline) == (timeline != nil), "a timeline record begins a timeline, and only it does")
        let isLone = payload.count > LogFormat.lonePayloadBytes
        let restarts = mustRestart || isLone || used + payload.count > LogFormat.windowBytes
        if restarts { restart() }
        makeRoom(for: payload.count)

        let hash = unsafe RunningHash.after(
            position.runningHash, kind, flags, count: count, commitTime: commitTime, payload: payload)
        let stored = restarts ? flags.union(.restart) : flags.subtracting(.restart)
        var cursor = unsafe out + LogFormat.fixedFrameBytes
        if restarts {
            unsafe putRestartFields(&cursor, commitTime: commitTime, syncedLSN: syncedLSN)
        } else {
            unsafe putVarint(&cursor, UInt64(bitPattern: commitTime &- lastCommitTime))
            unsafe putVarint(&cursor, position.lsn.rawValue &- syncedLSN.rawValue)
        }
        unsafe putVarint(&cursor, count)
        let codec = unsafe putPayload(&cursor, payload, isLone: isLone)
        let length = unsafe cursor - out
        let lowLSN = UInt32(truncatingIfNeeded: position.lsn.rawValue &+ 1)
        putFixedPart(length, kind, stored, codec, lowLSN, hash)

        mustRestart = isLone || timeline != nil
        lastCommitTime = commitTime
        position = LogPosition(
            timeline: timeline ?? position.timeline, lsn: position.lsn.advanced(by: count),
            runningHash: timeline.map { RunningHash.reseeded(hash, $0) } ?? hash)
        return unsafe UnsafeRawBufferPointer(start: out, count: length)
    }

    private func restart() {
        used = 0
        if let stream = unsafe stream { unsafe LZ4_resetStream_fast(stream) }
    }

    /// An output buffer that any frame of `count` raw bytes fits, with the slack that makes LZ4 skip its bound checks;
    /// a large one is given back with the next frame of usual size.
    @inline(__always)
    private func makeRoom(for count: Int) {
        let usual = FrameEncoder.usualOutput
        if count <= LogFormat.windowBytes, outCapacity == usual { return }
        let wanted = max(usual, LogFormat.maximumFrameHeaderBytes + count + count / 255 + 16)
        if outCapacity == wanted { return }
        unsafe out.deallocate()
        unsafe out = .allocate(byteCount: wanted, alignment: 64)
        outCapacity = wanted
    }

    /// Puts raw length and LZ4 bytes, or the payload as it is where LZ4 would not shrink it. Returns the codec.
    @inline(__always)
    private func putPayload(
        _ cursor: inout UnsafeMutableRawPointer, _ payload: UnsafeRawBufferPointer, isLone: Bool
    ) -> UInt8 {
        guard let source = payload.baseAddress, payload.count > 0 else { return FrameCodec.stored }
        if let stream = unsafe stream {
            let lengthAt = unsafe cursor
            unsafe putVarint(&cursor, UInt64(payload.count))
            let room = unsafe outCapacity - (cursor - out)
            var input = unsafe UnsafeRawPointer(source)
            if !isLone {
                unsafe (history + used).copyMemory(from: source, byteCount: payload.count)
                unsafe input = UnsafeRawPointer(history + used)
                used += payload.count
            }
            let size = unsafe LZ4_compress_fast_continue(
                stream, input.assumingMemoryBound(to: CChar.self), cursor.assumingMemoryBound(to: CChar.self),
                Int32(payload.count), Int32(clamping: room), acceleration)
            if size > 0, unsafe cursor + Int(size) - lengthAt < payload.count {
                unsafe cursor += Int(size)
                return FrameCodec.lz4
            }
            unsafe cursor = lengthAt
        } else if !isLone {
            used += payload.count
        }
        unsafe cursor.copyMemory(from: source, byteCount: payload.count)
        unsafe cursor += payload.count
        return FrameCodec.stored
    }

    @inline(__always)
    private func putRestartFields(_ cursor: inout UnsafeMutableRawPointer, commitTime: Timestamp, syncedLSN: LSN) {
        unsafe put(&cursor, position.timeline.ordinal)
        unsafe put(&cursor, position.timeline.unique.high)
        unsafe put(&cursor, position.timeline.unique.low)
        unsafe put(&cursor, position.lsn.rawValue &+ 1)
        unsafe put(&cursor, commitTime)
        unsafe put(&cursor, position.runningHash)
        unsafe put(&cursor, syncedLSN.rawValue)
    }

    @inline(__always)
    private func putFixedPart(
        _ length: Int, _ kind: FrameKind, _ flags: FrameFlags, _ codec: UInt8, _ lowLSN: UInt32, _ hash: UInt64
    ) {
        var cursor = unsafe out + 8
        unsafe put(&cursor, UInt32(length))
        unsafe put(&cursor, kind.rawValue)
        unsafe put(&cursor, flags.rawValue)
        unsafe put(&cursor, codec)
        unsafe put(&cursor, UInt8(0))
        unsafe put(&cursor, lowLSN)
        unsafe put(&cursor, UInt32(truncatingIfNeeded: hash))
        let frame = unsafe UnsafeRawBufferPointer(start: out, count: length)
        let checksum = unsafe FrameChecksum(salt: salt).whole(frame)
        unsafe out.storeBytes(of: checksum.littleEndian, as: UInt64.self)
    }

    // The room for every header was made beforehand.
    @inline(__always)
    private func put<T: FixedWidthInteger & BitwiseCopyable>(_ cursor: inout UnsafeMutableRawPointer, _ value: T) {
        unsafe cursor.storeBytes(of: value.littleEndian, as: T.self)
        unsafe cursor += MemoryLayout<T>.size
    }

    @inline(__always)
    private func putVarint(_ cursor: inout UnsafeMutableRawPointer, _ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            unsafe put(&cursor, UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        unsafe put(&cursor, UInt8(truncatingIfNeeded: rest))
    }
}
