/// Cuts what a reader of the log yields into pieces for a follower: a segment's header whenever one begins, and whole
/// frames of about a megabyte together, which hold no more records than a batch may have: a follower has room for all
/// of them at once.
///
/// One thread at a time; `cancel` comes from any.
final class LogStream: @unchecked Sendable {
    // Unchecked: its one user touches the fields; `cancel` is the reader's, which is for any thread.

    /// How far a stream goes. The frame that passes either is not yielded.
    struct Bound: Sendable {
        var lsn = LSN.max
        var time = Timestamp.max
    }

    private static let pieceBytes = 1 << 20

    private let reader: LogReader
    private let bound: Bound
    private var queue: [LogPiece] = []
    private var announced: UInt64?
    private var bytes: [UInt8] = []
    private var rawBytes = 0
    private var records = 0
    /// The first frame beyond the bound, if the stream came to it.
    private(set) var beyond: FrameHeader?
    /// The last LSN that was yielded or waits in the queue.
    private(set) var lastLSN = LSN.zero

    init(_ reader: LogReader, upTo bound: Bound = Bound()) {
        self.reader = reader
        self.bound = bound
    }

    /// The next piece that is durable; nil where there is none yet, or the bound is reached.
    func next() throws(VarveError) -> LogPiece? {
        if queue.isEmpty { try fill() }
        return queue.isEmpty ? nil : queue.removeFirst()
    }

    /// Reads about as many bytes as a piece has, whatever the pieces are that they make: a backlog stays in its files.
    private func fill() throws(VarveError) {
        var taken = 0
        while beyond == nil, taken < LogStream.pieceBytes, let frame = try reader.next() {
            if frame.header.lastLSN > bound.lsn || frame.header.commitTime > bound.time {
                beyond = frame.header
                break
            }
            let header = reader.segment.header
            if announced != header.salt {
                close()
                queue.append(.segment(header))
                announced = header.salt
            }
            // Who takes the frame refuses what it cannot hold.
            let count = frame.records ?? 0
            if records + count > Limits.batchRecords || rawBytes + frame.rawLength > Limits.batchBytes { close() }
            unsafe bytes.append(contentsOf: frame.bytes)
            unsafe taken += frame.bytes.count
            rawBytes += frame.rawLength
            records += count
            lastLSN = frame.header.lastLSN
        }
        close()
    }

    private func close() {
        guard !bytes.isEmpty else { return }
        queue.append(.frames(bytes, rawBytes: rawBytes, records: records))
        bytes = []
        rawBytes = 0
        records = 0
    }

    /// Returns once `next` may have something. Blocks this thread.
    func waitForMore() throws(VarveError) { try reader.waitForMore() }

    /// Ends every wait, now and later. Any thread.
    func cancel() { reader.cancel() }
}
