internal import VarveIO

/// Reads the log that a store was left with, verifies it, judges its end, and makes it ready to be written again.
///
/// Recovery decodes on a thread of its own ahead of the consumer, so that inserting into the memtable overlaps.
struct LogRecovery {
    let fileSystem: any FileSystem
    let directory: String
    var storeID: UniqueID?
    /// Tables hold everything up to here: frames after it are delivered, and the log must hold them.
    var flushed: LSN
    /// Where the record of a clean close says that the log ends.
    var closedEnd: LogPosition?
    /// False: everything happens on the calling thread.
    var usesThread = true
    /// False (a store opened to read): nothing on disk is changed.
    var repairsTail = true
    /// The power went since the log was last opened: it may have brought back names of segments that had been let go.
    var mayHoldStale = true

    struct Result {
        let catalog: LogCatalog
        /// Where the log ends.
        let position: LogPosition
        let lastCommitTime: Timestamp
        /// The last segment and where its frames end. A writer goes on there after a clean close, and a follower always;
        /// a primary that was not closed begins a new segment.
        let end: LogEnd
        /// The decoder as it stands at the end: what a follower goes on with.
        let decoder: FrameDecoder
        /// Segments with frames beyond the flushed LSN: after a kill the kernel may still have to write them.
        let unsynced: [LogSegment]
        let cut: Cut?
    }

    /// What was cut off, for the report.
    struct Cut: Equatable, Sendable {
        let path: String
        let offset: UInt64
        let bytes: UInt64
        /// Names of segments that were removed whole.
        let removed: [String]
        /// What was met at the cut.
        let reason: String
    }

    struct Progress: Sendable {
        let bytesDone: UInt64
        let bytesTotal: UInt64
        let lsn: LSN
    }

    /// Runs it. Frames come in order, each valid during the call; what `deliver` throws ends the recovery.
    func run(
        progress: (Progress) -> Void = { _ in }, deliver: (DecodedFrame) throws(VarveError) -> Void
    ) throws(VarveError) -> Result {
        let segments = try LogSegment.list(fileSystem, directory: directory, storeID: storeID)
        guard let index = segments.lastIndex(where: { $0.firstLSN <= flushed.next }) else {
            let held = segments.first.map { "the oldest segment, \($0.path), begins at LSN \($0.firstLSN)" }
            throw VarveError(
                .missingFile,
                "the log in \(directory) lacks LSN \(flushed.next): \(held ?? "no segment is there")", path: directory)
        }
        let scanner = try LogScanner(fileSystem, segments, from: index)
        let total = try totalBytes(segments[index...])
        var done = UInt64(0)
        let feed = RecoveryFeed(scanner, after: flushed, usesThread: usesThread)
        try feed.run { frame throws(VarveError) in
            try deliver(frame)
        } progress: { bytes, lsn in
            done += UInt64(bytes)
            progress(Progress(bytesDone: min(done, total), bytesTotal: total, lsn: lsn))
        }
        guard let stop = scanner.stop else { preconditionFailure("a scan ends at a stop") }
        try judge(stop, scanner)
        let cut = repairsTail ? try cutTail(stop, segments) : nil
        let oldest = mayHoldStale ? try LogContinuity.start(of: segments, before: index, fileSystem) : 0
        if repairsTail { try remove(segments[..<oldest]) }
        let kept = Array(segments[oldest...stop.index])
        progress(Progress(bytesDone: total, bytesTotal: total, lsn: scanner.position.lsn))
        return Result(
            catalog: LogCatalog(fileSystem: fileSystem, directory: directory, segments: kept),
            position: scanner.position, lastCommitTime: scanner.decoder.lastCommitTime,
            end: LogEnd(segment: segments[stop.index], offset: stop.offset), decoder: scanner.decoder,
            unsynced: scanner.position.lsn > flushed ? Array(segments[index...stop.index]) : [], cut: cut)
    }

    /// Needs no sync: a name that comes back once more is found once more.
    private func remove(_ stale: ArraySlice<LogSegment>) throws(VarveError) {
        for segment in stale { try lifted { () throws(IOError) in try fileSystem.remove(segment.path) } }
    }

    private func totalBytes(_ segments: ArraySlice<LogSegment>) throws(VarveError) -> UInt64 {
        var total = UInt64(0)
        for segment in segments { total &+= UInt64(try SegmentFile(fileSystem, segment.path).size()) }
        return total
    }

    /// Throws where the stop is damage.
    private func judge(_ stop: LogScanner.Stop, _ scanner: LogScanner) throws(VarveError) {
        let position = scanner.position
        var judge = TailJudge(expected: position.lsn.next, flushed: flushed)
        if let closedEnd {
            judge.closedEnd = closedEnd.lsn
            if closedEnd.lsn == position.lsn, closedEnd != position {
                throw .corruption(
                    "the log ends at \(position), but the store was closed at \(closedEnd)",
                    path: scanner.segments[stop.index].path, offset: UInt64(stop.offset))
            }
        }
        for index in stop.index..<scanner.segments.count where judge.verdict == .tail {
            let segment = scanner.segments[index]
            let offset = index == stop.index ? stop.offset : LogFormat.headerBytes
            let rest = try SegmentFile(fileSystem, segment.path, at: offset).rest()
            let evidence = unsafe FrameSearch.evidence(
                in: rest.bytes, salt: segment.header.salt, floor: max(position.lsn.next, segment.firstLSN))
            judge.laterSynced = max(judge.laterSynced, evidence.synced)
            judge.searchGaveUp = judge.searchGaveUp || evidence.gaveUp
        }
        if case .damage(let proof) = judge.verdict {
            throw LogScanner.error(stop.fault, scanner.segments[stop.index], offset: stop.offset, proof: proof)
        }
    }

    /// Cuts the log at the stop, durably: later segments from the last backwards, so that what is left is always a log
    /// with one hole at most, then the rest of the segment itself.
    private func cutTail(_ stop: LogScanner.Stop, _ segments: [LogSegment]) throws(VarveError) -> Cut? {
        let segment = segments[stop.index]
        var removed: [String] = []
        do throws(IOError) {
            for later in segments[(stop.index + 1)...].reversed() {
                try fileSystem.remove(later.path)
                removed.append(FileName.log(later.number).text)
            }
            if !removed.isEmpty { try fileSystem.syncDirectory(directory) }
            let file = try fileSystem.open(segment.path, .readWrite)
            defer { file.close() }
            let size = try file.size()
            let offset = UInt64(stop.offset)
            if size > offset {
                try file.truncate(to: offset)
                try file.sync()
            }
            if removed.isEmpty, stop.fault == .absent { return nil }
            return Cut(
                path: segment.path, offset: offset, bytes: size - min(size, offset), removed: removed,
                reason: stop.fault.text)
        } catch {
            throw VarveError(error)
        }
    }
}
