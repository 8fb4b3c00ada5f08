internal import VarveIO

/// Judges a frame's payload by its header, before a byte of it is stored.
typealias FrameCheck = (FrameHeader, UnsafeRawBufferPointer) throws(VarveError) -> Void

/// A log that takes another log's frames byte for byte: followers and restore stand on it.
///
/// Everything handed in at once is verified first (checksums, LSNs, commit times, running hash); only then is a byte of
/// it stored, and only then do its frames reach the caller. What does not continue this log changes nothing.
@safe
final class LogFollower {
    // Owned by a writer and serialised with it.
    private var decoder: FrameDecoder
    /// Where this log stands: frames up to here are known already.
    private(set) var position: LogPosition
    private(set) var lastCommitTime: Timestamp
    /// Decodes what this log holds already, once more, up to where both must agree.
    private var comparer: FrameDecoder?
    /// The decoder stands where the log stands.
    private(set) var isJoined: Bool
    /// A segment of the source that was announced and begins here with its first frame.
    private(set) var announced: SegmentHeader?
    private var payloads = ByteBuffer(capacity: 64 << 10)
    private var frames: [Taken] = []

    private struct Taken {
        let header: FrameHeader
        let payload: Range<Int>
        let bytes: Range<Int>
        let after: LogPosition
    }

    /// - Parameter decoder: as recovery left it at the log's end; nil where this store has no log of its own yet.
    init(position: LogPosition, lastCommitTime: Timestamp, decoder: FrameDecoder?) {
        self.position = position
        self.lastCommitTime = lastCommitTime
        isJoined = decoder != nil
        // The stand-in decodes nothing: the first frames come with a segment that is announced.
        self.decoder = decoder ?? FrameDecoder(LogFollower.standIn(position, lastCommitTime))
    }

    private static func standIn(_ position: LogPosition, _ time: Timestamp) -> SegmentHeader {
        let none = UniqueID(high: 0, low: 0)
        return SegmentHeader(
            storeID: none, nodeID: none, timeline: position.timeline, firstLSN: position.lsn.next,
            runningHash: position.runningHash, time: time, salt: 0, fileNumber: 0)
    }

    /// The source's next segment. One that this log has joined already must be continued exactly.
    func announce(_ header: SegmentHeader) throws(VarveError) {
        if isJoined, header.position == position {
            try lifting(nil) { () throws(FrameFault) in try decoder.beginSegment(header) }
        } else if header.salt != decoder.salt || !isJoined {
            guard header.firstLSN <= position.lsn.next else {
                throw VarveError(
                    .notContinuing, "the segment begins at LSN \(header.firstLSN), this log is at \(position)")
            }
            guard !isJoined else {
                throw VarveError(.notContinuing, "the segment begins at \(header.position), this log is at \(position)")
            }
            decoder = FrameDecoder(startingWithin: header)
        } else {
            // The segment that this log stands in, announced again by another stream: what an earlier one had begun to
            // compare is over.
            comparer = nil
            return
        }
        announced = header
    }

    /// What `bytes` hold beyond this log, verified.
    struct Batch {
        /// What is to be stored: all of it where this log has none of its own yet (its first frame must be a restart
        /// frame), else what is new.
        let stored: Range<Int>
        /// The header of the segment that begins with it.
        let segment: SegmentHeader?
        let position: LogPosition
    }

    /// Verifies whole frames, and with `check` what those mean that are new. Nothing has changed where it throws.
    func verify(_ bytes: UnsafeRawBufferPointer, _ check: FrameCheck) throws(VarveError) -> Batch {
        decoder.mark()
        do throws(VarveError) {
            return try unsafe take(bytes, check)
        } catch {
            decoder.goBack()
            comparer = nil
            throw error
        }
    }

    /// The length of the frame at the beginning of `bytes` where this log holds it already: a source begins again at a
    /// restart frame before this log's end. Nil: the frame is new. At this log's end both histories must agree.
    private func compare(_ bytes: UnsafeRawBufferPointer, isFirst: Bool) throws(VarveError) -> Int? {
        if comparer == nil {
            guard isFirst, let raw = try? unsafe RawFrameHeader(verifying: bytes, salt: decoder.salt),
                let restart = raw.restart, restart.firstLSN <= position.lsn
            else { return nil }
            var header = LogFollower.standIn(position, lastCommitTime)
            header.salt = decoder.salt
            comparer = FrameDecoder(startingWithin: header)
        }
        guard let comparer else { return nil }
        let frame = try lifting(nil) { () throws(FrameFault) in unsafe try comparer.decode(bytes) }
        if frame.positionAfter.lsn >= position.lsn {
            guard frame.positionAfter == position else { throw diverged(frame.positionAfter) }
            self.comparer = nil
        }
        return frame.length
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ check: FrameCheck) throws(VarveError) -> Batch {
        frames.removeAll(keepingCapacity: true)
        payloads.removeAll()
        var offset = 0
        var known = 0
        var joined = isJoined
        var start = announced
        while offset < bytes.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset...])
            if isJoined, let length = unsafe try compare(rest, isFirst: offset == 0) {
                offset += length
                known = offset
                continue
            }
            let frame = try lifting(offset) { () throws(FrameFault) in unsafe try decoder.decode(rest) }
            let end = offset + frame.length
            let after = frame.positionAfter
            if offset == 0, let announced, announced.position != position {
                start = unsafe LogFollower.beginning(announced, frame.header, rest)
            }
            if !joined, frame.header.firstLSN > position.lsn { unsafe try checkJoin(frame, rest) }
            if after.lsn < position.lsn {
                known = end
            } else if after.lsn == position.lsn {
                guard after == position else { throw diverged(after) }
                known = end
                joined = true
            } else {
                guard frame.header.firstLSN > position.lsn else {
                    throw VarveError(
                        .notContinuing,
                        "a batch of LSNs \(frame.header.firstLSN) to \(after.lsn) spans LSN \(position.lsn)")
                }
                joined = true
                unsafe try check(frame.header, frame.payload)
                let begin = payloads.count
                unsafe payloads.append(frame.payload)
                frames.append(
                    Taken(header: frame.header, payload: begin..<payloads.count, bytes: offset..<end, after: after))
            }
            offset = end
        }
        return Batch(
            stored: (announced != nil && !isJoined ? 0 : known)..<bytes.count, segment: start,
            position: frames.last?.after ?? position)
    }

    /// The first frame beyond this log must follow it exactly: only a restart frame says what it follows.
    private func checkJoin(_ frame: DecodedFrame, _ bytes: UnsafeRawBufferPointer) throws(VarveError) {
        guard frame.header.firstLSN == position.lsn.next else {
            throw VarveError(
                .notContinuing, "the frames begin at LSN \(frame.header.firstLSN), this log is at \(position)")
        }
        let header = try? unsafe RawFrameHeader(verifying: bytes, salt: decoder.salt)
        guard let restart = header?.restart, restart.hashBefore == position.runningHash,
            restart.timeline == position.timeline
        else {
            throw VarveError(.notContinuing, "the frames do not follow \(position): the histories differ")
        }
    }

    private func diverged(_ other: LogPosition) -> VarveError {
        VarveError(.notContinuing, "the source was at \(other) where this log is at \(position): the histories differ")
    }

    /// The header under which a segment begins here in the middle of the source's.
    private static func beginning(
        _ header: SegmentHeader, _ first: FrameHeader, _ bytes: UnsafeRawBufferPointer
    ) -> SegmentHeader {
        var header = header
        if let restart = (try? unsafe RawFrameHeader(verifying: bytes, salt: header.salt))?.restart {
            header.firstLSN = restart.firstLSN
            header.runningHash = restart.hashBefore
            header.timeline = restart.timeline
            header.time = restart.commitTime - 1
        }
        return header
    }

    /// The batch is stored: this log stands behind it. Hands each new frame on, payloads valid during the call.
    func commit(
        _ batch: Batch, _ bytes: UnsafeRawBufferPointer, deliver: (DecodedFrame) throws(VarveError) -> Void
    ) throws(VarveError) {
        decoder.releaseMark()
        position = batch.position
        if let last = frames.last {
            lastCommitTime = last.header.commitTime
            isJoined = true
        } else if decoder.position == position {
            isJoined = true
        }
        if batch.stored.count > 0 { announced = nil }
        for frame in frames {
            let payload = unsafe UnsafeRawBufferPointer(rebasing: payloads.bytes[frame.payload])
            let raw = unsafe UnsafeRawBufferPointer(rebasing: bytes[frame.bytes])
            try deliver(
                unsafe DecodedFrame(header: frame.header, payload: payload, bytes: raw, positionAfter: frame.after))
        }
    }

    /// How far the frames go.
    var newFrames: Int { frames.count }
    var newRawBytes: Int { payloads.count }

    /// Storing failed: this log stands where it stood.
    func abandon() { decoder.goBack() }

    private func lifting<T>(_ offset: Int?, _ body: () throws(FrameFault) -> T) throws(VarveError) -> T {
        do {
            return try body()
        } catch {
            let place = offset.map { " at byte \($0) of what was handed in" } ?? ""
            switch error {
            case .unsupported: throw VarveError(.unsupportedFormat, error.text + place)
            case .discontinuous: throw VarveError(.notContinuing, error.text + place)
            case .absent, .incomplete, .headerCheck, .checksum, .malformed:
                throw VarveError(.corruption, error.text + place)
            }
        }
    }
}

extension LogWriter {
    /// Follows a source into its next segment: salt, timeline and boundaries are the source's, so that the frames are
    /// equal byte for byte. The file begins with the first frame that is appended to it.
    func beginSegment(mirroring source: SegmentHeader) throws(VarveError) {
        try sink.checkUsable()
        guard source.storeID == identity.storeID else {
            throw VarveError(.notContinuing, "the segment belongs to store \(source.storeID), not \(identity.storeID)")
        }
        try requireFollower().announce(source)
    }

    /// Appends whole frames of a source as they are, after all of them were verified, and then hands each that is new to
    /// `deliver`. Frames that this log holds already are compared and passed over. Where it throws before `deliver` was
    /// called, nothing was done.
    ///
    /// What `deliver` throws leaves the log ahead of the caller, who must then stop: what can be refused of a frame,
    /// `check` refuses, and with it all that came along. `admit` runs before the first new frame of a verified piece is
    /// stored, with the place that it follows.
    func appendVerbatim(
        _ bytes: UnsafeRawBufferPointer, via route: AppendRoute,
        check: FrameCheck = { (_, _) throws(VarveError) in },
        admit: (LogPosition) throws(VarveError) -> Void = { (_) throws(VarveError) in },
        deliver: (DecodedFrame) throws(VarveError) -> Void
    ) throws(VarveError) -> LogPosition {
        try sink.checkUsable()
        let follower = try requireFollower()
        let batch = unsafe try follower.verify(bytes, check)
        let stored = unsafe UnsafeRawBufferPointer(rebasing: bytes[batch.stored])
        do throws(VarveError) {
            if follower.newFrames > 0 { try admit(follower.position) }
            if stored.count > 0 {
                if var header = batch.segment {
                    header.nodeID = identity.nodeID
                    header.storeID = identity.storeID
                    try begin(header, minimum: stored.count)
                } else if sink.room < stored.count {
                    try sink.extend(by: stored.count)
                }
                unsafe try sink.append(stored, endingAt: batch.position.lsn, via: route)
            }
        } catch {
            follower.abandon()
            throw error
        }
        counters.count(
            frames: UInt64(follower.newFrames), rawBytes: follower.newRawBytes, frameBytes: stored.count)
        groupSync.didAppend()
        unsafe try follower.commit(batch, bytes, deliver: deliver)
        return follower.position
    }

    /// From here on this log makes its own frames (promotion), beginning with a segment of its own.
    func endFollowing() throws(VarveError) {
        let follower = try requireFollower()
        encoder.continueFrom(follower.position, lastCommitTime: follower.lastCommitTime)
        self.follower = nil
        do throws(VarveError) {
            try beginNextSegment(minimum: 0)
        } catch {
            self.follower = follower
            throw error
        }
    }

    private func requireFollower() throws(VarveError) -> LogFollower {
        guard let follower else {
            throw VarveError(.invalidArgument, "this log makes its own frames; it was not opened to follow")
        }
        return follower
    }
}
