internal import Synchronization
internal import VarveIO

/// Reads the log from any LSN and follows its live end.
///
/// It never yields a frame beyond the durable LSN, for what leaves the node must not be lost by a power cut here. It pins
/// the segment it stands in (and so every later one), save between `letGo` and `holdOn`. One consumer at a time; `cancel`
/// from any thread.
@safe
final class LogReader: @unchecked Sendable {
    // Unchecked: one consumer at a time, by contract; `isCancelled` is atomic.

    /// Where a reader begins.
    enum Alignment: Sendable {
        /// With the frame that holds the LSN after the given one.
        case exact
        /// With the restart frame at or before that: what a reader needs who has no stream yet.
        case restartFrame
    }

    let catalog: LogCatalog
    private let sync: GroupSync?
    private let fixedEnd: LSN
    /// The segment of the frame last returned.
    private(set) var segment: LogSegment
    private let decoder: FrameDecoder
    private var file: SegmentFile
    private var lastLength = 0
    /// The durable LSN when the buffered bytes were read: what lies beyond it in the buffer may be old.
    private var bufferedUpTo = LSN.zero
    private var skipThrough: LSN
    private var isPinned = true
    private let isCancelled = Atomic<Bool>(false)

    /// Reads on from `after`, up to the durable LSN of a live log.
    convenience init(_ writer: LogWriter, after: LSN, alignment: Alignment = .exact) throws(VarveError) {
        try self.init(writer.catalog, sync: writer.groupSync, end: .max, after: after, alignment: alignment)
    }

    /// Reads on from `after` in a log that nobody writes, up to `end`.
    convenience init(
        _ catalog: LogCatalog, through end: LSN, after: LSN, alignment: Alignment = .exact
    ) throws(VarveError) {
        try self.init(catalog, sync: nil, end: end, after: after, alignment: alignment)
    }

    private init(
        _ catalog: LogCatalog, sync: GroupSync?, end: LSN, after: LSN, alignment: Alignment
    ) throws(VarveError) {
        self.catalog = catalog
        self.sync = sync
        fixedEnd = end
        guard let segment = catalog.pinSegment(holding: after.next) else {
            let held = catalog.oldestLSN.map { "the oldest held is \($0)" } ?? "nothing is held"
            throw VarveError(
                .logGap, "the log no longer holds LSN \(after.next): \(held); begin from a checkpoint",
                path: catalog.directory)
        }
        self.segment = segment
        let durable = min(sync?.syncedLSN ?? .max, end)
        do throws(VarveError) {
            let offset = try LogReader.restartOffset(catalog, segment, before: after.next, durable: durable)
            file = try SegmentFile(catalog.fileSystem, segment.path, at: offset)
            let isFirst = offset == LogFormat.headerBytes
            decoder = isFirst ? FrameDecoder(segment.header) : FrameDecoder(startingWithin: segment.header)
        } catch {
            catalog.unpin(segment)
            throw error
        }
        skipThrough = alignment == .exact ? after : .zero
    }

    deinit { letGo() }

    /// Gives up the pin until `holdOn`: who reads only now and then must not hold the log back meanwhile.
    func letGo() {
        if isPinned { catalog.unpin(segment) }
        isPinned = false
    }

    /// Pins anew what `letGo` gave up. False where the log has gone on without this reader: another one has to begin.
    func holdOn() -> Bool {
        if !isPinned { isPinned = catalog.pinAgain(segment) }
        return isPinned
    }

    /// What may be yielded now.
    private var durable: LSN { min(sync?.syncedLSN ?? .max, fixedEnd) }

    /// The place after the frame last returned; nil before the first where the reader began within a segment.
    var position: LogPosition? { decoder.position }

    /// The next frame that is durable, valid until the next call; nil where there is none yet. It may read the disk but
    /// waits for nobody.
    func next() throws(VarveError) -> DecodedFrame? {
        file.advance(lastLength)
        lastLength = 0
        while true {
            let expected = decoder.position?.lsn.next ?? segment.firstLSN
            if expected > bufferedUpTo {
                let now = durable
                guard now >= expected else { return nil }
                bufferedUpTo = now
                file.seek(file.offset)
            }
            switch try file.decode(decoder) {
            case .success(let frame):
                if frame.header.lastLSN <= skipThrough {
                    file.advance(frame.length)
                    continue
                }
                lastLength = frame.length
                return frame
            case .failure(let fault):
                if bufferedUpTo < durable {
                    // Read again: the bytes may have been in the making.
                    bufferedUpTo = .zero
                    continue
                }
                guard try enterNext(at: expected) else {
                    throw LogScanner.error(fault, segment, offset: file.offset, proof: "LSN \(bufferedUpTo) is durable")
                }
            }
        }
    }

    private func enterNext(at expected: LSN) throws(VarveError) -> Bool {
        guard catalog.nextFirstLSN(after: segment) == expected, let next = catalog.exchangePinForNext(of: segment)
        else { return false }
        segment = next
        do throws(FrameFault) {
            try decoder.beginSegment(next.header)
        } catch {
            throw LogScanner.error(error, next, offset: 0)
        }
        file = try SegmentFile(catalog.fileSystem, next.path)
        return true
    }

    // MARK: Following the live end

    /// The next frame, for which it waits on this thread. Throws `.cancelled` after `cancel`, `.closed` when the log was.
    func nextWaiting() throws(VarveError) -> DecodedFrame {
        while true {
            if isCancelled.load(ordering: .acquiring) { throw LogReader.cancelled }
            if let frame = try next() { return frame }
            try waitForMore()
        }
    }

    /// Returns once `next` has something to yield. Blocks this thread.
    func waitForMore() throws(VarveError) {
        guard let sync else { throw VarveError(.closed, "nobody writes this log") }
        try sync.waitForProgress(beyond: lastSeen, isCancelled: { isCancelled.load(ordering: .acquiring) })
    }

    /// The same for a task; then call `next` on a thread that may block. Ends with the task's cancellation.
    func waitForMore() async throws(VarveError) {
        guard let sync else { throw VarveError(.closed, "nobody writes this log") }
        if isCancelled.load(ordering: .acquiring) { throw LogReader.cancelled }
        try await sync.waitForProgress(beyond: lastSeen)
    }

    /// Ends every wait of this reader on a thread, now and later.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        sync?.wakeFollowers()
    }

    private var lastSeen: LSN { decoder.position?.lsn ?? LSN(segment.firstLSN.rawValue - 1) }

    private static var cancelled: VarveError { VarveError(.cancelled, "the reader was cancelled") }

    // MARK: Where to begin

    /// The offset of the last restart frame in a segment that begins at or before `lsn` and is durable. Hops from frame
    /// to frame by their lengths; whoever decodes from there verifies.
    private static func restartOffset(
        _ catalog: LogCatalog, _ segment: LogSegment, before lsn: LSN, durable: LSN
    ) throws(VarveError) -> Int {
        let file = try SegmentFile(catalog.fileSystem, segment.path)
        var found = LogFormat.headerBytes
        var floor = segment.firstLSN
        while try file.fill(LogFormat.fixedFrameBytes) >= LogFormat.fixedFrameBytes {
            let head = unsafe file.available
            guard let length = try? unsafe RawFrameHeader.claimedLength(head, salt: segment.header.salt) else { break }
            let low = unsafe UInt32(littleEndian: head.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
            let first = LSN(floor.rawValue &+ UInt64(low &- UInt32(truncatingIfNeeded: floor.rawValue)))
            guard first <= lsn, first <= durable else { break }
            let flags = FrameFlags(rawValue: unsafe head[13])
            if flags.contains(.restart) { found = file.offset }
            floor = first
            guard try file.fill(length) >= length else { break }
            file.advance(length)
        }
        return found
    }
}
