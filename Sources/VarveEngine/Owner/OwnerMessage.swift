/// What stands before every message on the owner's socket.
///
///     offset  size
///      0      8   checksum: XXH3-64 of bytes 8 to 27, seeded with the XXH3-64 of the body
///      8      4   length of the body
///     12      1   kind
///     13      1   protocol version
///     14      2   reserved, zero
///     16      4   request: a number that the client chose; answers repeat it
///     20      8   argument: an LSN or zero, by kind
///     28          body
///
/// The argument stands here, and the checksum chains from the body, so that log frames are sent from where they lie,
/// with nothing copied around them.
struct OwnerHeader: Equatable {
    static let bytes = 28
    static let version: UInt8 = 1
    /// Seeds the body's hash: "VARVEOWN".
    private static let seed: UInt64 = 0x4E57_4F45_5652_4156

    let kind: OwnerMessageKind
    let request: UInt32
    let argument: UInt64
    let length: Int
    private let checksum: UInt64

    /// The header for a body.
    init(kind: OwnerMessageKind, request: UInt32, argument: UInt64, body: UnsafeRawBufferPointer) {
        self.kind = kind
        self.request = request
        self.argument = argument
        length = body.count
        var fields = ByteBuffer(capacity: OwnerHeader.bytes)
        OwnerHeader.append(kind, request, argument, length, to: &fields)
        unsafe checksum = OwnerHeader.checksum(fields.bytes, body: body)
    }

    /// Reads a header's 28 bytes. `limit` bounds the body; the checksum waits for `verify`.
    init(_ bytes: UnsafeRawBufferPointer, limit: Int) throws(DecodeError) {
        var reader = unsafe ByteReader(bytes)
        checksum = try reader.fixed()
        let length = try reader.fixed(UInt32.self)
        let tag = try reader.byte()
        let version = try reader.byte()
        guard version == OwnerHeader.version else { throw .unknown("version \(version) of the owner's protocol") }
        guard try reader.fixed(UInt16.self) == 0 else { throw .malformed("reserved bytes are not zero") }
        guard let kind = OwnerMessageKind(rawValue: tag) else { throw .unknown("message kind \(tag)") }
        guard length <= UInt32(limit) else { throw .outOfRange("message of \(length) bytes is above \(limit)") }
        self.kind = kind
        self.length = Int(length)
        request = try reader.fixed()
        argument = try reader.fixed()
    }

    func append(to buffer: inout ByteBuffer) {
        buffer.appendFixed(checksum)
        OwnerHeader.append(kind, request, argument, length, to: &buffer)
    }

    /// Checks the header and the body that followed it against the checksum.
    func verify(body: UnsafeRawBufferPointer) throws(DecodeError) {
        var fields = ByteBuffer(capacity: OwnerHeader.bytes)
        OwnerHeader.append(kind, request, argument, length, to: &fields)
        guard body.count == length, unsafe OwnerHeader.checksum(fields.bytes, body: body) == checksum else {
            throw .malformed("the message's checksum does not match")
        }
    }

    private static func append(
        _ kind: OwnerMessageKind, _ request: UInt32, _ argument: UInt64, _ length: Int, to buffer: inout ByteBuffer
    ) {
        buffer.appendFixed(UInt32(truncatingIfNeeded: length))
        buffer.append(kind.rawValue)
        buffer.append(version)
        buffer.appendFixed(UInt16(0))
        buffer.appendFixed(request)
        buffer.appendFixed(argument)
    }

    private static func checksum(_ fields: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer) -> UInt64 {
        unsafe XXH3.hash64(fields, seed: XXH3.hash64(body, seed: seed))
    }
}

/// Requests are below 64, answers from 64.
enum OwnerMessageKind: UInt8, CaseIterable {
    case statistics = 1
    case verify = 2
    case flush = 3
    case compact = 4
    case checkpoint = 5
    case get = 6
    case openScan = 7
    case nextPage = 8
    case closeScan = 9
    case log = 10
    case slot = 11
    case changes = 12
    case timedGet = 13

    /// The server's first word.
    case hello = 64
    case error = 65
    /// How far a request is; more answers follow.
    case progress = 66
    case done = 67
    case text = 68
    case position = 69
    /// Argument: the version's LSN.
    case entry = 70
    case absent = 71
    /// Argument: 1 if more pages follow.
    case page = 72
    /// A log segment begins; the body is its header.
    case segment = 73
    /// Argument: the LSN at the end of these frames.
    case frames = 74
    /// Argument: the synced LSN; all frames up to it were sent.
    case heartbeat = 75
    /// A chunk of changes (`ChangeChunk`).
    case changeChunk = 76
    /// What the store's clock said once the entry was found (i64), then the entry. Argument: the version's LSN.
    case timedEntry = 77
}

/// Pieces that several messages share.
extension ByteBuffer {
    mutating func appendCounted(_ bytes: [UInt8]) {
        appendVarint(UInt64(bytes.count))
        append(bytes)
    }
    mutating func appendCounted(_ text: String) { appendCounted(Array(text.utf8)) }

    /// A byte that says whether there is one, then it.
    mutating func appendOptional(_ bytes: [UInt8]?) {
        append(bytes == nil ? 0 : 1)
        if let bytes { appendCounted(bytes) }
    }
    mutating func append(_ position: LogPosition) {
        appendFixed(position.timeline.ordinal)
        appendFixed(position.timeline.unique.high)
        appendFixed(position.timeline.unique.low)
        appendFixed(position.lsn.rawValue)
        appendFixed(position.runningHash)
    }
}

extension ByteReader {
    mutating func countedBytes(atMost limit: Int, _ what: StaticString) throws(DecodeError) -> [UInt8] {
        unsafe Array(try bytes(try length(atMost: limit, what)))
    }
    /// Text; bytes that are no UTF-8 are replaced.
    mutating func countedText(atMost limit: Int, _ what: StaticString) throws(DecodeError) -> String {
        unsafe String(decoding: try bytes(try length(atMost: limit, what)), as: UTF8.self)
    }
    mutating func flag() throws(DecodeError) -> Bool {
        switch try byte() {
        case 0: return false
        case 1: return true
        default: throw .malformed("a flag is neither 0 nor 1")
        }
    }
    mutating func optionalBytes(atMost limit: Int, _ what: StaticString) throws(DecodeError) -> [UInt8]? {
        try flag() ? try countedBytes(atMost: limit, what) : nil
    }
    mutating func optionalText(atMost limit: Int, _ what: StaticString) throws(DecodeError) -> String? {
        try flag() ? try countedText(atMost: limit, what) : nil
    }
    mutating func checkedLSN() throws(DecodeError) -> LSN {
        let value = try fixed(UInt64.self)
        guard value <= LSN.max.rawValue else { throw .outOfRange("LSN \(value)") }
        return LSN(value)
    }
    mutating func logPosition() throws(DecodeError) -> LogPosition {
        let ordinal = try fixed(UInt32.self)
        let unique = UniqueID(high: try fixed(), low: try fixed())
        return LogPosition(
            timeline: TimelineID(ordinal: ordinal, unique: unique), lsn: try checkedLSN(), runningHash: try fixed())
    }
    /// Nothing may follow.
    func expectEnd() throws(DecodeError) {
        guard isAtEnd else { throw .malformed("\(remaining) bytes follow the message's last field") }
    }
}
