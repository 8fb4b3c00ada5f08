/// What the owner's process says of itself when a client connects.
struct OwnerHello: Equatable {
    var processID: Int32
    var program: String

    func append(to buffer: inout ByteBuffer) {
        buffer.appendFixed(processID)
        buffer.appendCounted(program)
    }
}

extension OwnerHello {
    init(_ body: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = unsafe ByteReader(body)
        processID = try reader.fixed()
        program = try reader.countedText(atMost: 4096, "program name length")
        // Later versions may say more.
    }
}

/// How far a long request is.
package struct OwnerProgress: Equatable, Sendable {
    /// What is being done, in a word or two.
    package var stage: String
    package var done: UInt64
    /// Zero: not known.
    package var total: UInt64

    package init(stage: String, done: UInt64, total: UInt64) {
        self.stage = stage
        self.done = done
        self.total = total
    }

    func append(to buffer: inout ByteBuffer) {
        buffer.appendCounted(stage)
        buffer.appendVarint(done)
        buffer.appendVarint(total)
    }
}

extension OwnerProgress {
    init(_ body: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = unsafe ByteReader(body)
        stage = try reader.countedText(atMost: 4096, "stage length")
        done = try reader.varint()
        total = try reader.varint()
        try reader.expectEnd()
    }
}

/// An error on the wire: its code by name, its sentence, and its place.
enum OwnerErrorCodec {
    private static let textBytes = 64 << 10

    static func append(_ error: VarveError, to buffer: inout ByteBuffer) {
        buffer.appendCounted(error.code.description)
        buffer.appendCounted(clipped(error.message))
        buffer.appendOptional(error.path.map { clipped($0) })
        buffer.append(error.offset == nil ? 0 : 1)
        if let offset = error.offset { buffer.appendFixed(offset) }
    }

    static func decode(_ body: UnsafeRawBufferPointer) throws(DecodeError) -> VarveError {
        var reader = unsafe ByteReader(body)
        let name = try reader.countedText(atMost: 256, "error code length")
        let message = try reader.countedText(atMost: textBytes, "error message length")
        let path = try reader.optionalText(atMost: textBytes, "path length")
        let offset = try reader.flag() ? try reader.fixed(UInt64.self) : nil
        try reader.expectEnd()
        guard let code = VarveError.Code(named: name) else {
            // A newer owner's code: its sentence still tells.
            return VarveError(.io, "\(name): \(message)", path: path, offset: offset)
        }
        return VarveError(code, message, path: path, offset: offset)
    }

    private static func clipped(_ text: String) -> [UInt8] { Array(text.utf8.prefix(textBytes)) }
}

/// A piece of a log stream: what a follower needs to mirror the log byte for byte.
///
/// The bytes are valid during the call that hands them over.
@safe
package enum LogChunk {
    /// A segment begins (or the stream begins within it); its header as it lies on disk.
    case segment(header: UnsafeRawBufferPointer)
    /// Whole frames as they lie on disk, at most `Limits.frameBytes` of them together; `endLSN` is the last one's.
    case frames(UnsafeRawBufferPointer, endLSN: LSN)
    /// Everything up to the synced LSN was sent. The first one tells a client where the log ended when it came.
    case heartbeat(syncedLSN: LSN)
}

/// Fills a page of a scan with entries, encoded as they come:
/// varint key length, full key, LSN u64, varint entry length, entry bytes.
struct OwnerPageBuilder: ~Copyable {
    private var buffer = ByteBuffer(capacity: 64 << 10)
    private(set) var count = 0
    let targetBytes: Int

    init(targetBytes: Int) { self.targetBytes = targetBytes }

    /// No further entry should be added. A page may exceed its target by its last entry.
    var isFull: Bool { buffer.count >= targetBytes }
    var bytes: UnsafeRawBufferPointer { unsafe buffer.bytes }

    mutating func append(key: UnsafeRawBufferPointer, lsn: LSN, entry: UnsafeRawBufferPointer) {
        buffer.appendVarint(UInt64(key.count))
        unsafe buffer.append(key)
        buffer.appendFixed(lsn.rawValue)
        buffer.appendVarint(UInt64(entry.count))
        unsafe buffer.append(entry)
        count += 1
    }

    mutating func removeAll() {
        buffer.removeAll()
        count = 0
    }
}

/// Reads the entries of a page in place.
struct OwnerPageReader {
    private var reader: ByteReader

    init(_ body: UnsafeRawBufferPointer) { reader = unsafe ByteReader(body) }

    /// One entry in place.
    @safe
    struct Entry {
        let key: UnsafeRawBufferPointer
        let lsn: LSN
        let bytes: UnsafeRawBufferPointer
    }

    mutating func next() throws(DecodeError) -> Entry? {
        guard !reader.isAtEnd else { return nil }
        let key = unsafe try reader.bytes(try reader.length(atMost: Limits.fullKeyBytes, "key length"))
        let lsn = try reader.checkedLSN()
        let entry = unsafe try reader.bytes(try reader.length(atMost: Limits.entryBytes, "entry length"))
        return unsafe Entry(key: key, lsn: lsn, bytes: entry)
    }
}
