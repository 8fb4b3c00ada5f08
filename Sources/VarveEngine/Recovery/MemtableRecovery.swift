/// Puts the frames that recovery delivers into memtables, sealing one whenever it is full: what the store held in memory
/// when it stopped.
struct MemtableRecovery: ~Copyable {
    private let limit: Int
    private(set) var active: Memtable
    private(set) var activeTimes: ClosedRange<Timestamp>?
    private(set) var sealed: [ReadStateKeeper.Sealed] = []
    /// The largest reading of the store clock that the log holds.
    private(set) var clockReading = Timestamp.min
    /// Timelines that the log begins.
    private(set) var timelines: [TimelineOrigin] = []
    private var key = ByteBuffer(capacity: 256)
    private var traffic = NamespaceTraffic()
    private var position: LogPosition

    init(limit: Int, from position: LogPosition) throws(VarveError) {
        self.limit = limit
        self.position = position
        active = try MemtableInserter.makeMemtable(limit: limit, atLeast: 0, like: nil)
    }

    /// Takes one frame.
    mutating func take(_ frame: DecodedFrame) throws(VarveError) {
        let header = frame.header
        switch header.kind {
        case .batch: try insert(frame)
        case .clock:
            if let clock = unsafe try? ClockRecord.decode(frame.payload) {
                clockReading = max(clockReading, clock.reading)
            }
        case .timeline:
            if let origin = unsafe try? TimelineRecord.decode(frame.payload) { timelines.append(origin) }
        default: break
        }
        position = frame.positionAfter
        activeTimes = (activeTimes?.lowerBound ?? header.commitTime)...header.commitTime
    }

    private mutating func insert(_ frame: DecodedFrame) throws(VarveError) {
        let header = frame.header
        guard let count = frame.records else { throw MemtableRecovery.malformed(header) }
        if active.approximateBytes >= limit || !active.hasRoom(records: count, bytes: frame.rawLength) {
            try seal(Memtable.worstCaseBytes(records: count, bytes: frame.rawLength))
        }
        guard
            unsafe MemtableInserter.insert(
                frame.payload, from: header.firstLSN, count: header.count, into: active, key: &key,
                traffic: &traffic)
        else { throw MemtableRecovery.malformed(header) }
    }

    private static func malformed(_ header: FrameHeader) -> VarveError {
        VarveError(
            .corruption, "the batch at LSN \(header.firstLSN) is malformed, though its frame is whole; run repair")
    }

    private mutating func seal(_ room: Int) throws(VarveError) {
        let fresh = try MemtableInserter.makeMemtable(limit: limit, atLeast: room, like: active)
        if !active.isEmpty {
            sealed.append(ReadStateKeeper.Sealed(memtable: active, times: activeTimes ?? 0...0, end: position))
        }
        active = fresh
        activeTimes = nil
    }
}
