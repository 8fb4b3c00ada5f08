internal import CLZ4

/// Takes frames apart, one after the other: verifies each, decodes its payload over the shared stream and checks that it
/// continues the position before it (LSN, commit time, running hash). The twin of `FrameEncoder`.
///
/// Never traps on any bytes; memory is bounded by the largest batch. One thread at a time. A frame that is refused
/// leaves the decoder as it was (under a mark: once gone back to it).
@safe
final class FrameDecoder {
    /// The place after the last frame; nil until the first restart frame where the decoder began in the middle.
    private(set) var position: LogPosition?
    private(set) var lastCommitTime: Timestamp
    private(set) var salt: UInt64
    /// A place at or before the next frame, to complete its LSN where no position is known.
    private var floor: LSN
    private var used = 0
    private var mustRestart = true
    /// Whether the stream still has a window: a payload beyond it closes the stream until the next restart.
    private var windowIsOpen = true

    // Two windows: a restart frame is decoded into the other one, so that one that is refused costs nothing, and so that
    // a mark can be gone back to (what it needs is not overwritten).
    private var window: UnsafeMutableRawPointer
    private var spare: UnsafeMutableRawPointer
    private var large: UnsafeMutableRawPointer
    private var largeCapacity = 0
    private var marked: Mark?

    private struct Mark {
        let position: LogPosition?
        let lastCommitTime: Timestamp
        let used: Int
        let mustRestart: Bool
        let windowIsOpen: Bool
        var hasOwnWindow = false
    }

    /// Begins at a segment's first frame.
    init(_ header: SegmentHeader) {
        position = header.position
        lastCommitTime = header.time
        salt = header.salt
        floor = header.firstLSN
        unsafe window = .allocate(byteCount: LogFormat.windowBytes, alignment: 64)
        unsafe spare = .allocate(byteCount: LogFormat.windowBytes, alignment: 64)
        unsafe large = .allocate(byteCount: 1, alignment: 1)
    }

    deinit {
        unsafe window.deallocate()
        unsafe spare.deallocate()
        unsafe large.deallocate()
    }

    /// Begins at a restart frame in the middle of a segment: that frame's own word gives the position.
    convenience init(startingWithin header: SegmentHeader) {
        self.init(header)
        position = nil
        lastCommitTime = .min
    }

    /// Goes on with the next segment, which must begin where this log stands.
    func beginSegment(_ header: SegmentHeader) throws(FrameFault) {
        if let position, position != header.position {
            throw .discontinuous("at \(position), but the segment begins at \(header.position)")
        }
        position = header.position
        lastCommitTime = max(lastCommitTime, header.time)
        salt = header.salt
        floor = header.firstLSN
        mustRestart = true
    }

    /// Decodes the frame at the beginning of `bytes`, which may go on beyond it.
    func decode(_ bytes: UnsafeRawBufferPointer) throws(FrameFault) -> DecodedFrame {
        let raw = try unsafe RawFrameHeader(verifying: bytes, salt: salt)
        try FrameDecoder.checkKnown(raw)
        let header = try resolve(raw)
        let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<raw.length])
        let stored = unsafe UnsafeRawBufferPointer(rebasing: frame[raw.payloadOffset...])
        let restarts = header.isRestart
        let start = restarts ? 0 : used
        let isLarge = raw.rawLength > LogFormat.windowBytes
        if !restarts, !windowIsOpen || isLarge || start + raw.rawLength > LogFormat.windowBytes {
            throw .malformed(.outOfRange("\(raw.rawLength) raw bytes beyond the stream's window"))
        }
        let usesSpare = restarts && marked?.hasOwnWindow != true
        let target = unsafe isLarge ? makeLarge(raw.rawLength) : (usesSpare ? spare : window) + start
        let payload = unsafe UnsafeRawBufferPointer(start: target, count: raw.rawLength)
        try unsafe FrameDecoder.unpack(stored, raw, into: target, window: start)

        let before = try positionBefore(raw)
        let hash = unsafe RunningHash.after(
            before.runningHash, raw.kind, raw.flags, count: raw.count, commitTime: header.commitTime, payload: payload)
        let after = try unsafe FrameDecoder.positionAfter(before, header, payload, hash)
        guard UInt32(truncatingIfNeeded: hash) == raw.lowHash else {
            throw .discontinuous("its running hash is another one")
        }
        if usesSpare {
            unsafe swap(&window, &spare)
            marked?.hasOwnWindow = true
        }
        used = isLarge ? 0 : start + raw.rawLength
        windowIsOpen = !isLarge
        mustRestart = header.kind == .timeline
        position = after
        lastCommitTime = header.commitTime
        return unsafe DecodedFrame(header: header, payload: payload, bytes: frame, positionAfter: after)
    }

    /// Remembers this place; `goBack` returns to it. A new mark replaces the old one.
    func mark() {
        marked = Mark(
            position: position, lastCommitTime: lastCommitTime, used: used, mustRestart: mustRestart,
            windowIsOpen: windowIsOpen)
    }

    func goBack() {
        guard let mark = marked else { preconditionFailure("going back needs a mark") }
        if mark.hasOwnWindow { unsafe swap(&window, &spare) }
        position = mark.position
        lastCommitTime = mark.lastCommitTime
        used = mark.used
        mustRestart = mark.mustRestart
        windowIsOpen = mark.windowIsOpen
        marked = nil
    }

    /// Forgets the mark.
    func releaseMark() { marked = nil }

    /// What is critical and unknown is refused by name.
    @inline(__always)
    private static func checkKnown(_ raw: RawFrameHeader) throws(FrameFault) {
        if raw.codec > FrameCodec.lz4 {
            let what = raw.codec >= FrameCodec.firstEncrypted ? "an encrypted payload, codec" : "a payload of codec"
            throw .unsupported("\(what) \(raw.codec)")
        }
        if raw.reserved != 0 { throw .unsupported("a nonzero reserved byte") }
        if raw.flags.contains(.critical) {
            if !raw.kind.isKnown { throw .unsupported("a critical record of kind \(raw.kind.rawValue)") }
            let unknown = raw.flags.subtracting(.known)
            if !unknown.isEmpty { throw .unsupported("a critical record with flags \(unknown.rawValue)") }
        }
    }

    /// Completes the header by what is known of the log before it, and checks that it continues that.
    @inline(__always)
    private func resolve(_ raw: RawFrameHeader) throws(FrameFault) -> FrameHeader {
        if raw.restart == nil, mustRestart { throw .discontinuous("a restart frame must stand here") }
        let first = raw.restart?.firstLSN ?? raw.firstLSN(notBefore: position?.lsn.next ?? floor)
        if let position, first != position.lsn.next {
            throw .discontinuous("LSN \(first) after \(position.lsn)")
        }
        guard first.rawValue <= LSN.max.rawValue &- raw.count else { throw .malformed(.outOfRange("LSN \(first)")) }
        let time: Timestamp
        if let restart = raw.restart {
            time = restart.commitTime
            guard time > lastCommitTime else { throw .discontinuous("commit time \(time) after \(lastCommitTime)") }
        } else {
            let delta = Timestamp(exactly: raw.timeDelta) ?? 0
            let (sum, overflow) = lastCommitTime.addingReportingOverflow(delta)
            guard delta > 0, !overflow else { throw .malformed(.outOfRange("a commit time")) }
            time = sum
            guard raw.unsynced < first.rawValue else { throw .malformed(.malformed("a synced LSN below zero")) }
        }
        guard time <= LogFormat.latestTime else { throw .malformed(.outOfRange("commit time \(time)")) }
        return FrameHeader(
            kind: raw.kind, flags: raw.flags, codec: raw.codec, firstLSN: first, count: raw.count, commitTime: time,
            syncedLSN: raw.syncedLSN(first: first))
    }

    @inline(__always)
    private func positionBefore(_ raw: RawFrameHeader) throws(FrameFault) -> LogPosition {
        guard let restart = raw.restart else {
            // Only a restart frame passes `resolve` while no position is known.
            guard let position else { throw .discontinuous("a restart frame must stand here") }
            return position
        }
        let stated = LogPosition(
            timeline: restart.timeline, lsn: LSN(restart.firstLSN.rawValue &- 1), runningHash: restart.hashBefore)
        if let position, position != stated { throw .discontinuous("it follows \(stated), the log is at \(position)") }
        return stated
    }

    @inline(__always)
    private static func positionAfter(
        _ before: LogPosition, _ header: FrameHeader, _ payload: UnsafeRawBufferPointer, _ hash: UInt64
    ) throws(FrameFault) -> LogPosition {
        if header.kind == .timeline {
            do {
                let origin = try unsafe TimelineRecord.decode(payload)
                return LogPosition(
                    timeline: origin.timeline, lsn: header.lastLSN,
                    runningHash: RunningHash.reseeded(hash, origin.timeline))
            } catch {
                throw .malformed(error)
            }
        }
        return LogPosition(timeline: before.timeline, lsn: header.lastLSN, runningHash: hash)
    }

    /// Decodes `stored` to exactly the raw length at `target`, `window` bytes of the stream standing right before it.
    @inline(__always)
    private static func unpack(
        _ stored: UnsafeRawBufferPointer, _ raw: RawFrameHeader, into target: UnsafeMutableRawPointer, window: Int
    ) throws(FrameFault) {
        guard let source = stored.baseAddress, stored.count > 0 else {
            guard raw.rawLength == 0 else { throw .malformed(.truncated) }
            return
        }
        if raw.codec == FrameCodec.stored {
            unsafe target.copyMemory(from: source, byteCount: stored.count)
            return
        }
        let size = unsafe LZ4_decompress_safe_usingDict(
            source.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self),
            Int32(stored.count), Int32(raw.rawLength),
            (target - window).assumingMemoryBound(to: CChar.self), Int32(window))
        guard Int(size) == raw.rawLength else { throw .malformed(.malformed("its payload does not decompress")) }
    }

    private func makeLarge(_ count: Int) -> UnsafeMutableRawPointer {
        if largeCapacity < count {
            unsafe large.deallocate()
            unsafe large = .allocate(byteCount: count, alignment: 64)
            largeCapacity = count
        }
        return unsafe large
    }
}
