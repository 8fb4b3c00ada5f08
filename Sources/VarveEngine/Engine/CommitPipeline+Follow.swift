internal import Synchronization

// The other way into log and memtable: frames of another store's log, as they are.

extension CommitPipeline {
    /// A follower's way in: what the source's log holds next, verified to continue this log, then as if written here.
    /// Returns the timelines that begin in it. Nothing has changed where it throws before the first frame was taken.
    ///
    /// `admit` runs under the commit lock, with the log's position, once all of the piece is verified and before anything
    /// new of it is stored; it may wait for the manifest's disk, and what it throws refuses the piece.
    func follow(
        _ piece: LogPiece, admit: (LogPosition) throws(VarveError) -> Void
    ) throws(Refusal) -> [TimelineOrigin] {
        try state.withLock { (state) throws(Refusal) in
            if state.isClosed { throw .failed(VarveError(.closed, "the store was closed")) }
            do throws(VarveError) { try health.checkWrites() } catch { throw .failed(error) }
            switch piece {
            case .segment(let header):
                do throws(VarveError) { try log.beginSegment(mirroring: header) } catch { throw .failed(error) }
                return []
            case .frames(let bytes, let rawBytes, let records):
                if isFull(state.active) || !state.active.hasRoom(records: records, bytes: rawBytes) {
                    try rotate(&state, rawBytes, records)
                }
                return try follow(&state, bytes, admit)
            }
        }
    }

    private func follow(
        _ state: inout State, _ bytes: [UInt8], _ admit: (LogPosition) throws(VarveError) -> Void
    ) throws(Refusal) -> [TimelineOrigin] {
        var taken = FollowedFrames(into: state.active, state.statistics.traffic)
        state.statistics.traffic = NamespaceTraffic()
        defer { state.statistics.traffic = taken.statistics.traffic }
        do throws(VarveError) {
            unsafe try bytes.withBytes { (bytes) throws(VarveError) in
                _ = unsafe try log.appendVerbatim(bytes, via: .map, check: FollowedFrames.check, admit: admit) {
                    (frame) throws(VarveError) in
                    try taken.take(frame)
                }
            }
        } catch {
            // Once the log has taken frames that the memtable has not, no state after them may be shown.
            if log.appendedLSN.rawValue > visible.load(ordering: .relaxed) {
                state.isTorn = true
                health.stop(error)
            }
            throw .failed(error)
        }
        if let times = taken.times {
            state.activeTimes = (state.activeTimes?.lowerBound ?? times.lowerBound)...times.upperBound
        }
        state.clock.observe(log.lastCommitTime)
        if let reading = taken.clockReading { storeClock.observe(reading) }
        state.activeTimelines += taken.timelines
        state.statistics.batches &+= taken.statistics.batches
        state.statistics.records &+= taken.statistics.records
        state.statistics.payloadBytes &+= taken.statistics.payloadBytes
        visible.store(log.appendedLSN.rawValue, ordering: .releasing)
        return taken.timelines
    }
}

/// Takes verified frames of a source's log into a memtable.
private struct FollowedFrames: ~Copyable {
    private let memtable: Memtable
    private var key = ByteBuffer(capacity: 256)
    private(set) var times: ClosedRange<Timestamp>?
    private(set) var clockReading: Timestamp?
    private(set) var timelines: [TimelineOrigin] = []
    private(set) var statistics = CommitStatistics()

    init(into memtable: Memtable, _ traffic: NamespaceTraffic) {
        self.memtable = memtable
        statistics.traffic = traffic
    }

    /// A batch that a memtable would not take whole must not stand in this log: no opening would read it.
    static func check(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws(VarveError) {
        guard header.kind == .batch else { return }
        guard unsafe (try? MemtableInserter.count(payload)) == header.count else { throw malformed(header) }
    }

    private static func malformed(_ header: FrameHeader) -> VarveError {
        VarveError(.corruption, "the batch at LSN \(header.firstLSN) is malformed, though its frame is whole")
    }

    mutating func take(_ frame: DecodedFrame) throws(VarveError) {
        let header = frame.header
        times = (times?.lowerBound ?? header.commitTime)...header.commitTime
        statistics.batches &+= 1
        statistics.records &+= header.count
        statistics.payloadBytes &+= UInt64(frame.rawLength)
        if header.kind == .clock {
            clockReading = unsafe (try? ClockRecord.decode(frame.payload))?.reading
        } else if header.kind == .timeline {
            if let origin = unsafe try? TimelineRecord.decode(frame.payload) { timelines.append(origin) }
        } else if header.kind == .batch,
            unsafe !MemtableInserter.insert(
                frame.payload, from: header.firstLSN, count: header.count, into: memtable, key: &key,
                traffic: &statistics.traffic)
        {
            throw FollowedFrames.malformed(header)
        }
    }
}

/// What a follower takes from its source.
enum LogPiece: Sendable {
    /// The source begins a segment.
    case segment(SegmentHeader)
    /// Whole frames. `rawBytes` and `records` bound what they decode to.
    case frames([UInt8], rawBytes: Int, records: Int)
}
