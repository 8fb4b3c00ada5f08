internal import Synchronization

/// Reads the log and picks what a feed tells of, a chunk at a time.
///
/// It yields nothing beyond the durable LSN. Between two chunks it pins no segment, so that a feed whose reader is slow,
/// or has stopped to think, holds back no log: what goes meanwhile is a gap, and is said. One consumer at a time; `cancel`
/// from any thread.
@safe
final class ChangeReader: @unchecked Sendable {
    // Unchecked: one consumer at a time, by contract; `isCancelled` is atomic.

    enum Outcome: Sendable {
        case chunk(ChangeChunk)
        /// Nothing more is durable yet.
        case nothingYet
        /// It came to its bound.
        case ended
    }

    /// A chunk is full beyond this; its last record may be larger than all of it.
    static let chunkBytes = 256 << 10
    /// Log that is read through at most before the feed says how far it is.
    private static let scanBytes = 4 << 20

    private let openLog: @Sendable (_ after: LSN) throws(VarveError) -> LogReader
    private let sync: GroupSync?
    /// Nil where nobody writes the log.
    private let admission: FeedGate.Admission?
    private let filter: ChangeFilter
    private let end: LSN
    private var log: LogReader?
    private var batch: OpenBatch?
    /// Everything up to here was put into chunks, or is of no concern.
    private(set) var reached: ChangeCursor
    /// How far the chunks tell that the feed is.
    private var told: LSN
    private var commitTime: Timestamp = 0
    private let isCancelled = Atomic<Bool>(false)

    /// A batch that is not at its end. It points into the log reader's buffers, which stay as they are until its next frame.
    private struct OpenBatch {
        var records: BatchReader
        let first: LSN
        let after: ChangeCursor
        let commitTime: Timestamp
        var next: LSN
        /// A record that did not fit into the last chunk, and its LSN.
        var waiting: (match: ChangeFilter.Match, lsn: LSN)?
    }

    /// - Parameters:
    ///   - end: the last LSN to tell of.
    ///   - sync: what makes the log durable; nil where nobody writes it.
    ///   - admission: given before the log was looked at.
    ///   - openLog: a reader that goes on after an LSN.
    init(
        _ filter: ChangeFilter, after start: ChangeCursor, through end: LSN, sync: GroupSync?,
        admission: FeedGate.Admission?,
        openLog: @escaping @Sendable (_ after: LSN) throws(VarveError) -> LogReader
    ) {
        self.filter = filter
        self.sync = sync
        self.admission = admission
        self.end = end
        self.openLog = openLog
        reached = start
        told = start.lsn
    }

    /// Says where the feed stands.
    var beginning: ChangeChunk {
        var chunk = ChangeChunkBuilder(reached.timeline)
        chunk.begin(before: reached.lsn, after: reached.lsn, commitTime: commitTime)
        chunk.end(endsBatch: true)
        return chunk.finish()
    }

    /// The next chunk. May read the disk, but waits for nobody.
    func fill() throws(VarveError) -> Outcome {
        if isCancelled.load(ordering: .acquiring) { throw ChangeReader.cancelled }
        if let sync, sync.isEnded { throw VarveError(.closed, "the store was closed") }
        let outcome = try read()
        try admission?.check()
        return outcome
    }

    private func read() throws(VarveError) -> Outcome {
        defer { log?.letGo() }
        var chunk = ChangeChunkBuilder(reached.timeline)
        var scanned = 0
        while chunk.byteCount < ChangeReader.chunkBytes, scanned < ChangeReader.scanBytes {
            if batch == nil {
                guard reached.lsn < end, let frame = try nextFrame() else { break }
                scanned += frame.length
                try take(frame, &chunk)
                if reached.timeline != chunk.timeline {
                    // A chunk is of one timeline.
                    guard chunk.isEmpty else { break }
                    chunk = ChangeChunkBuilder(reached.timeline)
                }
            }
            try tell(&chunk)
        }
        return finish(chunk)
    }

    private func finish(_ chunk: consuming ChangeChunkBuilder) -> Outcome {
        var chunk = chunk
        if reached.lsn > told, batch == nil, reached.timeline == chunk.timeline {
            chunk.begin(before: reached.lsn, after: reached.lsn, commitTime: commitTime)
            chunk.end(endsBatch: true)
            told = reached.lsn
        }
        if !chunk.isEmpty { return .chunk(chunk.finish()) }
        return reached.lsn >= end || sync == nil ? .ended : .nothingYet
    }

    // MARK: The log

    private func nextFrame() throws(VarveError) -> DecodedFrame? {
        if let log, log.holdOn() { return try log.next() }
        log = nil
        let opened = try openLog(reached.lsn)
        log = opened
        return try opened.next()
    }

    private func take(_ frame: DecodedFrame, _ chunk: inout ChangeChunkBuilder) throws(VarveError) {
        let header = frame.header
        let after = ChangeCursor(timeline: frame.positionAfter.timeline, lsn: header.lastLSN)
        commitTime = header.commitTime
        switch header.kind {
        case .batch:
            batch = unsafe OpenBatch(
                records: BatchReader(frame.payload), first: header.firstLSN, after: after,
                commitTime: header.commitTime, next: header.firstLSN)
            return
        case .clock where filter.includesStoreRecords:
            let record: ClockRecord
            do { record = unsafe try ClockRecord.decode(frame.payload) } catch { throw malformed(error) }
            if record.change != .reading { unsafe tellOfStore(.clock, key: nil, frame.payload, header, &chunk) }
        case .mark where filter.includesStoreRecords:
            guard frame.rawLength <= Limits.keyBytes else { break }
            unsafe tellOfStore(.mark, key: frame.payload, nil, header, &chunk)
        default: break
        }
        reached = after
    }

    private func tellOfStore(
        _ tag: ChangeTag, key: UnsafeRawBufferPointer?, _ entry: UnsafeRawBufferPointer?, _ header: FrameHeader,
        _ chunk: inout ChangeChunkBuilder
    ) {
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        chunk.begin(before: reached.lsn, after: header.lastLSN, commitTime: header.commitTime)
        unsafe chunk.append(tag, namespace: 0, lsn: header.lastLSN, key: key ?? none, entry: entry ?? none)
        chunk.end(endsBatch: true)
        told = header.lastLSN
    }

    // MARK: Batches

    /// Puts what is of concern in the batch at hand into the chunk, as far as there is room.
    private func tell(_ chunk: inout ChangeChunkBuilder) throws(VarveError) {
        guard var open = batch else { return }
        while let (match, lsn) = try nextMatch(&open) {
            if !chunk.hasRecords {
                chunk.begin(before: reached.lsn, after: open.after.lsn, commitTime: open.commitTime)
            } else if chunk.byteCount >= ChangeReader.chunkBytes {
                open.waiting = (match, lsn)
                chunk.end(endsBatch: false)
                batch = open
                return
            }
            put(match, lsn, &chunk)
        }
        if chunk.hasRecords {
            chunk.end(endsBatch: true)
            told = open.after.lsn
        }
        reached = open.after
        batch = nil
    }

    private func put(_ match: ChangeFilter.Match, _ lsn: LSN, _ chunk: inout ChangeChunkBuilder) {
        guard match.tag == .rangeDelete else {
            unsafe chunk.append(match.tag, namespace: match.namespace, lsn: lsn, key: match.key, entry: match.entry)
            return
        }
        let range = unsafe filter.clipped(
            from: Array(match.key), to: match.entry.isEmpty ? nil : Array(match.entry))
        unsafe range.begin.withBytes { begin in
            unsafe (range.end ?? []).withBytes { end in
                unsafe chunk.append(.rangeDelete, namespace: match.namespace, lsn: lsn, key: begin, entry: end)
            }
        }
    }

    private func nextMatch(_ open: inout OpenBatch) throws(VarveError) -> (ChangeFilter.Match, LSN)? {
        if let waiting = open.waiting {
            open.waiting = nil
            return waiting
        }
        do throws(DecodeError) {
            while let record = try open.records.next() {
                let lsn = open.next
                guard lsn <= open.after.lsn else { throw .malformed("more records than LSNs") }
                open.next = lsn.next
                // A cursor never stands within a batch; whatever else does is passed over.
                if lsn > reached.lsn, let match = filter.match(record) { return (match, lsn) }
            }
        } catch {
            throw malformed(error)
        }
        return nil
    }

    private func malformed(_ error: DecodeError) -> VarveError {
        .corruption(error, in: "a record", path: log?.segment.path ?? "the log")
    }

    // MARK: Waiting

    /// Returns once `fill` may have something; what was appended is synced for it at once. Blocks this thread.
    func waitForMore() throws(VarveError) {
        guard let sync else { return }
        sync.beginUrgency()
        defer { sync.endUrgency() }
        let admission = admission
        do throws(VarveError) {
            try sync.waitForProgress(beyond: reached.lsn) {
                isCancelled.load(ordering: .acquiring) || admission?.isOver == true
            }
        } catch {
            // What it was woken for `fill` will say.
            guard error.code == .cancelled else { throw error }
        }
    }

    /// The same for a task, until it is cancelled.
    func waitForMore() async throws(VarveError) {
        guard let sync else { return }
        sync.beginUrgency()
        defer { sync.endUrgency() }
        let admission = admission
        try await sync.waitForProgress(beyond: reached.lsn) { admission?.isOver == true }
    }

    /// Ends every wait on a thread, now and later. Any thread.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        sync?.wakeFollowers()
    }

    static var cancelled: VarveError { VarveError(.cancelled, "the feed of changes was cancelled") }
}
