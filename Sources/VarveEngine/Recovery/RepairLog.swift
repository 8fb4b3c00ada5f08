internal import VarveIO

/// Reads every frame of the log that verifies, and puts what they hold into tables in a scratch folder, so that a repair
/// has one kind of source. One thread at a time.
final class SalvagedLog {
    private static let memtableBytes = 64 << 20

    private let files: any FileSystem
    private let scratch: String
    /// Frames up to here are passed over: tables hold them.
    private let covered: LSN
    /// No later version has written this log.
    private let isOfThisVersion: Bool
    private var memtable: Memtable
    private var key = ByteBuffer(capacity: 256)
    private var traffic = NamespaceTraffic()
    private var tables: [(path: String, number: FileNumber)] = []

    init(files: any FileSystem, scratch: String, covered: LSN, isOfThisVersion: Bool) throws(VarveError) {
        self.files = files
        self.scratch = scratch
        self.covered = covered
        self.isOfThisVersion = isOfThisVersion
        memtable = try MemtableInserter.makeMemtable(limit: SalvagedLog.memtableBytes, atLeast: 0, like: nil)
    }

    /// Reads one segment. After bytes that are no frame it goes on at the next restart frame, which says by itself where
    /// it stands. Bytes that were never written are no loss.
    func read(_ path: String, _ report: inout RepairReport) throws(VarveError) {
        let content: ByteBuffer
        do throws(VarveError) {
            content = try SegmentFile(files, path, at: 0).rest()
        } catch {
            report.lose(path, error)
            return
        }
        try read(content, path, &report)
    }

    private func read(
        _ content: borrowing ByteBuffer, _ path: String, _ report: inout RepairReport
    ) throws(VarveError) {
        let bytes = unsafe content.bytes
        let header: SegmentHeader
        do throws(DecodeError) {
            header = unsafe try SegmentHeader(decoding: bytes)
        } catch {
            let error = VarveError.corruption(error, in: "the segment's header", path: path, offset: 0)
            // What seems to be of a later version cannot be where none has written.
            let isDamage = unsafe isOfThisVersion && SegmentHeader.mayBeOfLaterVersion(bytes)
            guard error.code != .unsupportedFormat || isDamage else { throw error }
            report.lose(path, error)
            return
        }
        report.logSegments += 1
        unsafe try readFrames(bytes, LogSegment(header: header, path: path), &report)
    }

    private func readFrames(
        _ bytes: UnsafeRawBufferPointer, _ segment: LogSegment, _ report: inout RepairReport
    ) throws(VarveError) {
        let (header, path) = (segment.header, segment.path)
        var offset = LogFormat.headerBytes
        var decoder = FrameDecoder(header)
        var search = unsafe FrameSearch(bytes, salt: header.salt, floor: header.firstLSN)
        while offset < bytes.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let fault: FrameFault
            switch unsafe SalvagedLog.decode(rest, decoder) {
            case .success(let frame):
                offset += frame.length
                guard frame.header.lastLSN > covered else { continue }
                report.logFrames += 1
                try take(frame, path, offset, &report)
                continue
            case .failure(let error): fault = error
            }
            // Whole, and so not damaged: it may mean anything, a delete too.
            if case .unsupported = fault { throw LogScanner.error(fault, segment, offset: offset) }
            search.move(to: offset + 1)
            var next = search.next()
            while let found = next, found.header.restart == nil { next = search.next() }
            let end = next?.offset ?? bytes.count
            let isBlank = unsafe SalvagedLog.isBlank(bytes[offset..<end])
            if next != nil || !isBlank {
                report.losses.append(
                    RepairReport.Loss(
                        path: path, offset: UInt64(offset), bytes: UInt64(end - offset),
                        reason: search.gaveUp ? "\(fault.text); \(FrameSearch.gaveUpText)" : fault.text))
            }
            offset = end
            decoder = FrameDecoder(startingWithin: header)
        }
    }

    private static func decode(
        _ bytes: UnsafeRawBufferPointer, _ decoder: FrameDecoder
    ) -> Result<DecodedFrame, FrameFault> {
        do throws(FrameFault) { return .success(unsafe try decoder.decode(bytes)) } catch { return .failure(error) }
    }

    private func take(
        _ frame: DecodedFrame, _ path: String, _ end: Int, _ report: inout RepairReport
    ) throws(VarveError) {
        guard frame.header.kind == .batch else { return }
        if try insert(frame) { return }
        report.losses.append(
            RepairReport.Loss(
                path: path, offset: UInt64(end - frame.length), bytes: UInt64(frame.length),
                reason: "the batch at LSN \(frame.header.firstLSN) is malformed, though its frame is whole"))
    }

    /// False where the batch is malformed; what stands before the fault may be in.
    private func insert(_ frame: DecodedFrame) throws(VarveError) -> Bool {
        guard let count = frame.records else { return false }
        if memtable.approximateBytes >= SalvagedLog.memtableBytes
            || !memtable.hasRoom(records: count, bytes: frame.rawLength)
        {
            try spill(atLeast: Memtable.worstCaseBytes(records: count, bytes: frame.rawLength))
        }
        return unsafe MemtableInserter.insert(
            frame.payload, from: frame.header.firstLSN, count: frame.header.count, into: memtable, key: &key,
            traffic: &traffic)
    }

    private static func isBlank(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
        unsafe bytes.allSatisfy { $0 == 0 }
    }

    // MARK: Tables

    /// The tables that hold the log.
    func finish() throws(VarveError) -> [(path: String, number: FileNumber)] {
        try spill(atLeast: 0)
        return tables
    }

    private func spill(atLeast bytes: Int) throws(VarveError) {
        let tombstones = memtable.rangeTombstones()
        if !memtable.isEmpty || !tombstones.isEmpty {
            let number = FileNumber(tables.count + 1)
            let path = FileName.table(number).path(in: scratch)
            let file = try lifted { () throws(IOError) in try files.open(path, .createNew) }
            defer { file.close() }
            let writer = TableWriter(file: file, fileNumber: number)
            try SalvagedLog.copy(memtable, to: writer)
            writer.addRangeTombstones(tombstones)
            _ = try writer.finish()
            tables.append((path, number))
        }
        memtable = try MemtableInserter.makeMemtable(
            limit: SalvagedLog.memtableBytes, atLeast: bytes, like: memtable)
    }

    /// Of two records under one key and LSN (a tail that was never cut, and what was written in its place) one is taken.
    private static func copy(_ memtable: Memtable, to writer: TableWriter) throws(VarveError) {
        let cursor = memtable.makeCursor()
        var last = SavedKey()
        var lastTrailer = Trailer.newest
        cursor.seekToFirst()
        while cursor.isValid {
            let isNew =
                unsafe !last.isSet || FullKey.compare(last.bytes, cursor.key) != 0
                || lastTrailer.lsn != cursor.trailer.lsn
            if isNew {
                unsafe try writer.add(cursor.key, cursor.trailer, cursor.entry)
                unsafe last.assign(cursor.key)
                lastTrailer = cursor.trailer
            }
            cursor.next()
        }
    }
}
