/// What a client may ask of the process that has a store open.
enum OwnerRequest: Equatable {
    /// The statistics as JSON text.
    case statistics
    /// Reads and checks everything; progress, then a report as JSON text.
    case verify
    case flush
    /// Full keys; nil: from the first, to the last.
    case compact(begin: [UInt8]?, end: [UInt8]?)
    /// Into a folder of that path, as the owner's process sees it; registers a slot of that name at its position.
    case checkpoint(path: String, slot: String?)
    /// A full key.
    case get(key: [UInt8])
    /// The same, and the store's clock beside the entry, by which its deadlines count.
    case timedGet(key: [UInt8])
    /// The first page of a scan; the request's number names the scan from then on.
    case openScan(OwnerScanRequest)
    case nextPage(scan: UInt32)
    case closeScan(scan: UInt32)
    /// The log from a position on.
    case log(OwnerLogRequest)
    /// Moves a slot; nil: forgets it.
    case slot(name: String, place: ChangeCursor?)
    /// The changes after a place.
    case changes(OwnerChangesRequest)

    private static let pathBytes = 4096
    private static let slotBytes = 1024

    var kind: OwnerMessageKind {
        switch self {
        case .statistics: .statistics
        case .verify: .verify
        case .flush: .flush
        case .compact: .compact
        case .checkpoint: .checkpoint
        case .get: .get
        case .timedGet: .timedGet
        case .openScan: .openScan
        case .nextPage: .nextPage
        case .closeScan: .closeScan
        case .log: .log
        case .slot: .slot
        case .changes: .changes
        }
    }

    func appendBody(to buffer: inout ByteBuffer) {
        switch self {
        case .statistics, .verify, .flush: break
        case .compact(let begin, let end):
            buffer.appendOptional(begin)
            buffer.appendOptional(end)
        case .checkpoint(let path, let slot):
            buffer.appendCounted(path)
            buffer.appendOptional(slot.map { Array($0.utf8) })
        case .get(let key), .timedGet(let key): buffer.append(key)
        case .openScan(let scan): scan.append(to: &buffer)
        case .nextPage(let scan), .closeScan(let scan): buffer.appendFixed(scan)
        case .log(let log): log.append(to: &buffer)
        case .slot(let name, let place):
            buffer.appendCounted(name)
            buffer.append(place == nil ? 0 : 1)
            if let place { buffer.append(place) }
        case .changes(let changes): changes.append(to: &buffer)
        }
    }

    init(_ kind: OwnerMessageKind, body: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = unsafe ByteReader(body)
        switch kind {
        case .statistics: self = .statistics
        case .verify: self = .verify
        case .flush: self = .flush
        case .compact:
            self = .compact(
                begin: try reader.optionalBytes(atMost: Limits.fullKeyBytes, "key length"),
                end: try reader.optionalBytes(atMost: Limits.fullKeyBytes, "key length"))
        case .checkpoint:
            self = .checkpoint(
                path: try reader.countedText(atMost: OwnerRequest.pathBytes, "path length"),
                slot: try reader.optionalText(atMost: OwnerRequest.slotBytes, "slot name length"))
        case .get, .timedGet:
            guard reader.remaining <= Limits.fullKeyBytes else {
                throw .outOfRange("key of \(reader.remaining) bytes is above \(Limits.fullKeyBytes)")
            }
            let key = unsafe Array(reader.rest())
            self = kind == .get ? .get(key: key) : .timedGet(key: key)
        case .openScan: self = .openScan(try OwnerScanRequest(&reader))
        case .nextPage: self = .nextPage(scan: try reader.fixed())
        case .closeScan: self = .closeScan(scan: try reader.fixed())
        case .log: self = .log(try OwnerLogRequest(&reader))
        case .slot:
            self = .slot(
                name: try reader.countedText(atMost: OwnerRequest.slotBytes, "slot name length"),
                place: try reader.flag() ? try reader.changeCursor() : nil)
        case .changes: self = .changes(try OwnerChangesRequest(&reader))
        default: throw .unknown("request kind \(kind.rawValue)")
        }
        try reader.expectEnd()
    }
}

/// What of the log to stream.
struct OwnerLogRequest: Equatable, Sendable {
    /// The place behind which it begins.
    var from: LogPosition
    /// A frame that goes beyond either is not sent; the stream then ends.
    var lsn = LSN.max
    var time = Timestamp.max
    /// Whether it goes on as the log grows, until the client closes; else it ends with what was acknowledged when it began.
    var follows = true

    func append(to buffer: inout ByteBuffer) {
        buffer.append(from)
        buffer.appendFixed(lsn.rawValue)
        buffer.appendFixed(time)
        buffer.append(follows ? 1 : 0)
    }
}

extension OwnerLogRequest {
    /// A position alone means all of it, and on.
    init(_ reader: inout ByteReader) throws(DecodeError) {
        from = try reader.logPosition()
        guard !reader.isAtEnd else { return }
        lsn = try reader.checkedLSN()
        time = try reader.fixed()
        follows = try reader.flag()
    }
}

/// A range of full keys to scan.
struct OwnerScanRequest: Equatable, Sendable {
    /// The first key; nil: from the smallest.
    var begin: [UInt8]?
    /// The key before which to stop; nil: to the largest.
    var end: [UInt8]?
    /// From the end down to the beginning.
    var isReverse = false
    /// How many entries at most; nil: all.
    var limit: UInt64?

    func append(to buffer: inout ByteBuffer) {
        buffer.appendOptional(begin)
        buffer.appendOptional(end)
        buffer.append(isReverse ? 1 : 0)
        buffer.append(limit == nil ? 0 : 1)
        if let limit { buffer.appendVarint(limit) }
    }
}

extension OwnerScanRequest {
    init(_ reader: inout ByteReader) throws(DecodeError) {
        begin = try reader.optionalBytes(atMost: Limits.fullKeyBytes, "key length")
        end = try reader.optionalBytes(atMost: Limits.fullKeyBytes, "key length")
        isReverse = try reader.flag()
        limit = try reader.flag() ? try reader.varint() : nil
    }
}
