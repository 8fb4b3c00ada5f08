internal import VarveIO

/// How far `apply` goes.
public struct ApplyTarget: Sendable, Hashable {
    /// The last LSN to apply; a batch that goes beyond it is left out.
    public var lsn: LSN?
    /// The last commit time to apply.
    public var time: Timestamp?

    public init(lsn: LSN? = nil, time: Timestamp? = nil) {
        self.lsn = lsn
        self.time = time
    }
    /// All there is.
    public static let end = ApplyTarget()

    var bound: LogStream.Bound { LogStream.Bound(lsn: lsn ?? .max, time: time ?? .max) }
}

/// What an `apply` did.
public struct ApplyReport: Sendable {
    /// The place before and after.
    public var from: LogPosition
    public var to: LogPosition
    /// Bytes of frames that came over.
    public var bytes: UInt64
    /// Where the first batch begins that the target left out; nil: the source held no more.
    public var stoppedBefore: LSN?
}

/// Applying another store's log, byte for byte: what followers and restore stand on.
extension Engine {
    /// The place in the log that this store has reached.
    public var position: LogPosition { writing?.pipeline.position ?? openedAt }

    /// Applies the log of `source`, an open store, up to a target. This store must have been opened with `openFollower`;
    /// its log must be a prefix of the source's: that is checked by position and running hash before anything is
    /// applied. Blocks.
    @discardableResult
    public func apply(from source: Engine, upTo target: ApplyTarget = .end) throws(VarveError) -> ApplyReport {
        let from = position
        try source.checkHistory(of: from)
        let reader: LogReader
        if let writing = source.writing {
            try writing.log.sync()
            reader = try LogReader(writing.log, after: from.lsn, alignment: .restartFrame)
        } else {
            reader = try LogReader(
                source.catalog, through: source.openedAt.lsn, after: from.lsn, alignment: .restartFrame)
        }
        let stream = LogStream(reader, upTo: target.bound)
        var bytes: UInt64 = 0
        while let piece = try stream.next() {
            if case .frames(let frames, _, _) = piece { bytes += UInt64(frames.count) }
            try follow(piece)
        }
        try learnTimelines(of: source.versions.state.timelines.origins)
        try sync()
        return ApplyReport(from: from, to: position, bytes: bytes, stoppedBefore: stream.beyond?.firstLSN)
    }

    /// Takes one piece of a source's log.
    func follow(_ piece: LogPiece) throws(VarveError) {
        guard role == .follower, let writing else {
            throw VarveError(.invalidArgument, "a store takes another one's log only when it was opened to follow")
        }
        var wait: WriteGate.Wait?
        while true {
            let seen = gate.changed.generation
            do throws(CommitPipeline.Refusal) {
                _ = try writing.pipeline.follow(piece)
                return
            } catch {
                guard case .noRoom = error else { throw CommitPipeline.lift(error) }
            }
            guard options.usesThreads else {
                try writing.flushing.runHere()
                continue
            }
            try gate.waitForRoom(&wait, since: seen)
        }
    }

    /// Takes a segment's header as it lies in the source's log.
    package func follow(segmentHeader bytes: [UInt8]) throws(VarveError) {
        let header: SegmentHeader
        do throws(DecodeError) {
            header = unsafe try bytes.withBytes { (bytes) throws(DecodeError) in
                unsafe try SegmentHeader(decoding: bytes)
            }
        } catch {
            throw .corruption(error, in: "the header of the source's segment", path: "the source's log")
        }
        try follow(.segment(header))
    }

    /// Takes whole frames as they lie in the source's log.
    package func follow(frames bytes: [UInt8]) throws(VarveError) {
        // What compressed frames may decode to is bounded by LZ4's best ratio; a piece of usual size takes little.
        try follow(
            .frames(bytes, rawBytes: min(bytes.count * 255, Limits.batchBytes + bytes.count * 16), records: bytes.count)
        )
    }

    /// Throws where `position` is not in this store's past, so that nothing is streamed to a store that diverged.
    func checkHistory(of position: LogPosition) throws(VarveError) {
        let own = self.position
        guard versions.state.timelines.contains(position.timeline, at: position.lsn) else {
            throw VarveError(
                .notContinuing,
                "position \(position) is on a timeline that this store does not have: the histories differ")
        }
        guard position.lsn <= own.lsn else {
            throw VarveError(.notContinuing, "position \(position) is ahead of this store's, \(own)")
        }
        if position.lsn == own.lsn, position != own {
            throw VarveError(.notContinuing, "position \(position) differs from this store's, \(own)")
        }
    }

    /// Takes over the timelines that the source has begun and that the log has reached.
    func learnTimelines(of origins: [TimelineOrigin]) throws(VarveError) {
        let reached = position.lsn
        try versions.learn(origins.filter { $0.forkLSN < reached })
    }
}
