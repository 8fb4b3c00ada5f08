internal import Synchronization
internal import VarveIO

struct LogOptions: Sendable {
    /// Length of a segment's file; a batch that is larger gets a segment of its own size.
    var segmentBytes = 16 << 20
    var compresses = true
    /// LZ4's: higher is faster and shrinks less. 2 took a seventh less time than 1 for records of 121 bytes and gave the
    /// same size; 3 shrank them hardly at all.
    var acceleration = 2
    /// Obsolete segments kept to be used again.
    var recycledSegments = 1
    /// Nanoseconds at most between a write and its sync; nil: syncs happen only on request.
    var syncInterval: Duration? = .milliseconds(100)
    /// False: no threads of the log's own; segments are made when needed, and only blocking waiters lead syncs. For
    /// tests that must not depend on scheduling.
    var usesThreads = true
    /// Gives each segment its salt. For tests that compare bytes: anything but random lets stale bytes of a recycled
    /// segment pass for frames.
    var makeSalt: @Sendable () -> UInt64 = { .random(in: .min ... .max) }
}

/// Whose log it is.
struct LogIdentity: Hashable, Sendable {
    let storeID: UniqueID
    let nodeID: UniqueID
}

/// Where a writer goes on.
struct LogStart {
    let position: LogPosition
    let lastCommitTime: Timestamp
    /// Everything up to here is durable.
    var syncedLSN: LSN
    /// Segments that recovery found beyond that: the first sync makes them durable.
    var unsynced: [LogSegment] = []
    /// After a clean close, and for a follower: the segment to go on in, and where its frames end. Nil: a new one begins.
    var resume: LogEnd?
    /// Whether the log takes another log's frames (`beginSegment(mirroring:)`, `appendVerbatim`) and makes none itself.
    var follows = false
    /// A follower's: the decoder as recovery left it at the log's end; nil where it has no log yet.
    var decoder: FrameDecoder?

    init(position: LogPosition, lastCommitTime: Timestamp, syncedLSN: LSN? = nil) {
        self.position = position
        self.lastCommitTime = lastCommitTime
        self.syncedLSN = syncedLSN ?? position.lsn
    }
}

/// The end of the log in its last segment.
struct LogEnd: Sendable {
    let segment: LogSegment
    let offset: Int
}

/// Appends to the log: makes frames, puts them into segments, and syncs for groups of writers.
///
/// `append`, `roll`, `appendVerbatim` and their like are serialised by the caller (the commit lock); `sync`, waiting and
/// the properties marked so are for any thread. An append that throws `.diskFull` did nothing, and a later one may
/// succeed; after any other failure of a write or sync the writer takes nothing more.
@safe
final class LogWriter: @unchecked Sendable {
    // Unchecked: `encoder`, `follower` and the counters' writing side belong to the caller's commit lock.
    let catalog: LogCatalog
    /// Syncs shared by a group; waiters of any kind. Any thread.
    let groupSync: GroupSync
    let preparer: SegmentPreparer
    let identity: LogIdentity
    let sink: LogSink
    let encoder: FrameEncoder
    /// A follower's: verifies what it is given. Nil while this writer makes its own frames.
    var follower: LogFollower?
    let counters = LogCounters()
    /// Told of each sync before those who wait for it are woken. Any thread.
    let didSync: LogHook<LSN>
    private let fileSystem: any FileSystem
    private let makeSalt: @Sendable () -> UInt64
    private let isClosed = Atomic<Bool>(false)

    init(
        identity: LogIdentity, catalog: LogCatalog, start: LogStart, options: LogOptions,
        nextFileNumber: @escaping @Sendable () -> UInt64
    ) throws(VarveError) {
        self.identity = identity
        self.catalog = catalog
        fileSystem = catalog.fileSystem
        makeSalt = options.makeSalt
        for segment in start.unsynced { try LogSink.rewrite(segment, in: fileSystem) }
        let sink = try LogSink(
            fileSystem: fileSystem, directory: catalog.directory, lsn: start.position.lsn, synced: start.syncedLSN,
            unsynced: start.unsynced.filter { $0 !== start.resume?.segment })
        self.sink = sink
        let didSync = LogHook<LSN>()
        self.didSync = didSync
        if start.follows {
            follower = LogFollower(
                position: start.position, lastCommitTime: start.lastCommitTime, decoder: start.decoder)
        }
        encoder = FrameEncoder(
            salt: 0, position: start.position, lastCommitTime: start.lastCommitTime, compresses: options.compresses,
            acceleration: options.acceleration)
        preparer = try SegmentPreparer(
            fileSystem: fileSystem, directory: catalog.directory, segmentBytes: options.segmentBytes,
            maximumRecycled: options.recycledSegments, preparesAhead: options.usesThreads,
            nextFileNumber: nextFileNumber)
        do throws(VarveError) {
            groupSync = try GroupSync(
                synced: start.syncedLSN, interval: options.syncInterval, startsThread: options.usesThreads,
                appended: { sink.appendedLSN },
                perform: { () throws(VarveError) in
                    let reached = try sink.sync()
                    didSync.call(reached)
                    return reached
                })
        } catch {
            try? preparer.stop()
            throw error
        }
        do throws(VarveError) {
            if let end = start.resume {
                try resume(end, capacity: options.segmentBytes)
            } else if !start.follows {
                try beginNextSegment(minimum: 0)
            }
        } catch {
            groupSync.stop()
            try? preparer.stop()
            throw error
        }
    }

    // MARK: Appending

    /// Appends one frame and returns the place after it. The bytes are taken before it returns.
    @inline(__always)
    func append(
        _ kind: FrameKind, payload: UnsafeRawBufferPointer, count: UInt64, commitTime: Timestamp,
        flags: FrameFlags = [], via route: AppendRoute
    ) throws(VarveError) -> LogPosition {
        unsafe try append(
            kind, payload: payload, count: count, commitTime: commitTime, flags: flags, via: route, beginning: nil)
    }

    /// Begins a timeline: the record that names it is its parent's last, and the next frame restarts.
    func appendTimeline(
        _ origin: TimelineOrigin, commitTime: Timestamp, via route: AppendRoute
    ) throws(VarveError) -> LogPosition {
        var payload = ByteBuffer()
        TimelineRecord.encode(origin, to: &payload)
        return unsafe try append(
            .timeline, payload: payload.bytes, count: 1, commitTime: commitTime, flags: .critical, via: route,
            beginning: origin.timeline)
    }

    private func append(
        _ kind: FrameKind, payload: UnsafeRawBufferPointer, count: UInt64, commitTime: Timestamp, flags: FrameFlags,
        via route: AppendRoute, beginning timeline: TimelineID?
    ) throws(VarveError) -> LogPosition {
        do throws(VarveError) { try sink.checkUsable() } catch { throw error.at(.admission) }
        precondition(follower == nil, "a follower's log takes its source's frames only")
        // What is beyond either would not be read back.
        guard commitTime <= LogFormat.latestTime else {
            throw VarveError(
                .limitExceeded,
                "commit time \(commitTime) is beyond the last that a log takes, \(LogFormat.latestTime): the machine's "
                    + "clock is wrong, or was when the log's last frame was written")
        }
        guard count < LSN.max.rawValue &- position.lsn.rawValue else {
            throw VarveError(.limitExceeded, "the log is at \(position), and no log reaches LSN \(LSN.max)")
        }
        let bound = LogFormat.frameBound(payload.count)
        if sink.room < bound || spansTooManyLSNs(count) { try beginNextSegment(minimum: bound) }
        let (before, timeBefore) = (encoder.position, encoder.lastCommitTime)
        let bytes = unsafe encoder.encode(
            kind, payload, count: count, commitTime: commitTime, flags: flags, syncedLSN: sink.syncedLSN,
            beginning: timeline)
        let position = encoder.position
        do throws(VarveError) {
            unsafe try sink.append(bytes, endingAt: position.lsn, via: route)
        } catch {
            // The frame is not there; the next one restarts, for the shared stream has seen this one.
            encoder.continueFrom(before, lastCommitTime: timeBefore)
            throw error
        }
        counters.count(rawBytes: payload.count, frameBytes: bytes.count)
        groupSync.didAppend()
        return position
    }

    /// A frame spells out 32 bits of its LSN, so a segment must not span more.
    @inline(__always)
    private func spansTooManyLSNs(_ count: UInt64) -> Bool {
        guard let first = sink.current?.segment.firstLSN else { return false }
        return encoder.position.lsn.rawValue &+ 1 &- first.rawValue > LogFormat.segmentLSNs &- count
    }

    /// Writes what was appended by `.buffer` with one call.
    func writeBuffered() throws(VarveError) { try sink.writeBuffered() }

    /// Makes the next frame a restart frame, so that a reader may begin there.
    func demandRestart() { encoder.demandRestart() }

    /// Ends the segment; the next frame opens another. Does nothing where the segment has no frame yet.
    func roll() throws(VarveError) {
        try sink.checkUsable()
        guard sink.end > LogFormat.headerBytes else { return }
        try beginNextSegment(minimum: 0)
    }

    // MARK: State, for any thread

    /// The end of the log. For the holder of the commit lock.
    var position: LogPosition { follower?.position ?? encoder.position }
    var lastCommitTime: Timestamp { follower?.lastCommitTime ?? encoder.lastCommitTime }
    var appendedLSN: LSN { sink.appendedLSN }
    /// Whether a failed append or sync has stopped the log for good.
    var hasFailed: Bool { sink.hasFailed }
    /// What has.
    var failure: VarveError? { sink.failure }
    /// Everything up to here is durable; what leaves the node stays at or below it.
    var syncedLSN: LSN { groupSync.syncedLSN }

    var statistics: LogStatistics {
        LogStatistics(counters, segments: preparer.counts, sync: groupSync.statistics)
    }

    /// Makes everything appended before the call durable.
    func sync() throws(VarveError) { try groupSync.wait(upTo: appendedLSN) }

    func sync() async throws(VarveError) { try await groupSync.wait(upTo: appendedLSN) }

    /// Ends the log: everything durable, the last file no longer than its frames, no thread left. Call it once, with no
    /// append under way; where it throws the files are as after a crash.
    func close() throws(VarveError) {
        guard !isClosed.exchange(true, ordering: .relaxed) else { return }
        var failure: VarveError?
        do throws(VarveError) { try groupSync.wait(upTo: appendedLSN) } catch { failure = error }
        groupSync.stop()
        do throws(VarveError) { try preparer.stop() } catch { if failure == nil { failure = error } }
        do throws(VarveError) { try sink.close() } catch { if failure == nil { failure = error } }
        if let failure { throw failure }
    }

    // MARK: Segments

    /// Opens the next segment at the log's end, with a salt of its own.
    func beginNextSegment(minimum: Int) throws(VarveError) {
        let position = self.position
        let header = SegmentHeader(
            storeID: identity.storeID, nodeID: identity.nodeID, timeline: position.timeline,
            firstLSN: position.lsn.next, runningHash: position.runningHash, time: lastCommitTime,
            salt: makeSalt(), fileNumber: 0)
        try begin(header, minimum: minimum)
        encoder.beginSegment(salt: header.salt)
    }

    /// Gives a prepared file its header and its name and goes on in it. Nothing has changed where it throws.
    func begin(_ template: SegmentHeader, minimum: Int) throws(VarveError) {
        try sink.writeBuffered()
        let prepared = try preparer.take(minimum: minimum + LogFormat.headerBytes)
        var header = template
        header.fileNumber = prepared.number
        var bytes = ByteBuffer(capacity: LogFormat.headerBytes)
        header.encode(to: &bytes)
        do throws(IOError) {
            unsafe try prepared.file.write(bytes.bytes, at: 0)
            // The header is durable before the name is: a bad header under a final name is damage.
            try prepared.file.sync()
            try fileSystem.rename(prepared.temporaryPath, to: prepared.path)
        } catch {
            // The first failure is the one to tell; an unfinished file is removed at the next open.
            try? preparer.discard(prepared)
            throw error.isDiskFull ? VarveError(error) : sink.poison(VarveError(error))
        }
        let segment = LogSegment(header: header, path: prepared.path)
        let writable = WritableSegment(
            segment: segment, file: prepared.file, map: prepared.map, capacity: prepared.capacity)
        try sink.begin(writable, at: LogFormat.headerBytes)
        catalog.add(segment)
        preparer.prepareAhead()
    }

    /// Goes on in the last segment of a log that was closed cleanly. The first frame restarts.
    private func resume(_ end: LogEnd, capacity: Int) throws(VarveError) {
        let capacity = max(capacity, end.offset)
        let writable: WritableSegment
        do throws(IOError) {
            let file = try fileSystem.open(end.segment.path, .readWrite)
            try file.allocate(UInt64(capacity))
            let map = try file.mapForStores(length: UInt64(capacity))
            writable = WritableSegment(segment: end.segment, file: file, map: map, capacity: capacity)
        } catch {
            throw VarveError(error)
        }
        encoder.beginSegment(salt: end.segment.header.salt)
        try sink.begin(writable, at: end.offset)
        preparer.prepareAhead()
    }
}
