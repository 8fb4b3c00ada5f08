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

    public init(from: LogPosition, to: LogPosition, bytes: UInt64, stoppedBefore: LSN?) {
        self.from = from
        self.to = to
        self.bytes = bytes
        self.stoppedBefore = stoppedBefore
    }
}

/// Applying another store's log, byte for byte: what followers and restore stand on.
extension Engine {
    /// The place in the log that this store has reached.
    public var position: LogPosition { writing?.pipeline.position ?? openedAt }

    /// Applies the log of `source`, an open store, up to a target. This store must have been opened with `openFollower`;
    /// its log must be a prefix of the source's: that is checked by position and running hash before anything is
    /// applied. A store that was none before is a copy of the source's from then on. Blocks.
    /// - Throws: `.notContinuing` where the histories differ, `.logGap` where the source no longer holds what comes next:
    ///   this store is then as it was.
    @discardableResult
    public func apply(from source: Engine, upTo target: ApplyTarget = .end) throws(VarveError) -> ApplyReport {
        let from = position
        try source.checkHistory(of: from)
        let reader: LogReader
        if let writing = source.writing {
            try writing.log.sync()
            reader = try LogReader(writing.log, after: from.lsn, alignment: .restartFrame)
        } else {
            try source.makeLogDurable()
            reader = try LogReader(
                source.catalog, through: source.openedAt.lsn, after: from.lsn, alignment: .restartFrame)
        }
        let stream = LogStream(reader, upTo: target.bound)
        var bytes: UInt64 = 0
        while let piece = try stream.next() {
            if case .frames(let frames, _, _) = piece { bytes += UInt64(frames.count) }
            try follow(piece)
        }
        try sync()
        try versions.markAsCopy(at: from)
        return ApplyReport(from: from, to: position, bytes: bytes, stoppedBefore: stream.beyond?.firstLSN)
    }

    /// Syncs the log of a store that nobody writes: its last writer may have died before it did, and what leaves a store
    /// must not be lost there.
    func makeLogDurable() throws(VarveError) {
        for segment in catalog.segments {
            try lifted { () throws(IOError) in
                let file = try context.files.open(segment.path, .read)
                defer { file.close() }
                try file.sync()
            }
        }
    }

    /// Applies the log of a store that another process has open, over its socket, as `apply(from:upTo:)` does. With
    /// `follows` it goes on as that log grows, until the target is reached, `progress` returns false, or the connection
    /// ends (`.closed`). `progress` gets how far the source has synced, each time all of that was taken.
    @discardableResult
    package func apply(
        from owner: OwnerClient, upTo target: ApplyTarget = .end, follows: Bool,
        progress: (_ source: LSN) -> Bool = { _ in true }
    ) throws(VarveError) -> ApplyReport {
        let from = position
        var bytes: UInt64 = 0
        try owner.streamLog(from: from, upTo: target, follows: follows) { (chunk) throws(VarveError) in
            switch chunk {
            case .segment(let header): try follow(segmentHeader: unsafe Array(header))
            case .frames(let frames, _):
                bytes += UInt64(frames.count)
                try follow(frames: unsafe Array(frames))
            case .heartbeat(let synced): return progress(synced)
            }
            return true
        }
        try sync()
        try versions.markAsCopy(at: from)
        return ApplyReport(from: from, to: position, bytes: bytes, stoppedBefore: nil)
    }

    /// Takes one piece of a source's log.
    func follow(_ piece: LogPiece) throws(VarveError) {
        guard role == .follower, let writing else {
            throw VarveError(.invalidArgument, "a store takes another one's log only when it was opened to follow")
        }
        var wait: WriteGate.Wait?
        while true {
            // A follower must not run ahead of its own compaction either.
            try gate.pass(&wait)
            let seen = gate.changed.generation
            do throws(CommitPipeline.Refusal) {
                let begun = try writing.pipeline.follow(piece) { (position) throws(VarveError) in
                    try versions.markAsCopy(at: position)
                }
                if !begun.isEmpty { try learn(begun) }
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

    private func learn(_ origins: [TimelineOrigin]) throws(CommitPipeline.Refusal) {
        do throws(VarveError) { try versions.learn(origins) } catch { throw .failed(error) }
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
        guard let contents = unsafe bytes.withBytes({ bytes in unsafe RawFrameHeader.contents(of: bytes) }) else {
            throw VarveError(.corruption, "what the source sent are no frames", path: "the source's log")
        }
        try follow(.frames(bytes, rawBytes: contents.rawBytes, records: contents.records))
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
}
