/// A run of changes, encoded: what passes from the log to whoever reads a feed, in this process or over the owner's
/// socket. Immutable.
///
///     timeline        ordinal u32, id u64, u64 (high, low)
///     groups, each one batch or a part of one:
///       LSN before the batch u64, LSN after it u64, commit time i64
///       records told of u32 (0: nothing in there is of concern)
///       flags u8      bit 0: the batch ends with this group
///       records       tag u8 (ChangeTag), varint which namespace of the feed's, varint LSN less the one before the batch,
///                     varint key length, key, varint entry length, entry (its fields and value, as in the log)
///
/// Integers are little-endian. Encoded once by who reads the log, so that a feed costs no allocation a record until its
/// reader wants one, and is bounded in bytes.
final class ChangeChunk: Sendable {
    static let headBytes = 20
    static let groupBytes = 29
    static let endsBatch: UInt8 = 1

    private let buffer: ByteBuffer

    init(_ buffer: consuming ByteBuffer) { self.buffer = buffer }

    /// A copy of bytes that came from elsewhere; they are checked as they are read.
    init(copying bytes: UnsafeRawBufferPointer) {
        var buffer = ByteBuffer(capacity: bytes.count)
        unsafe buffer.append(bytes)
        self.buffer = buffer
    }

    /// Valid as long as this object.
    var bytes: UnsafeRawBufferPointer { unsafe buffer.bytes }
}

/// Encodes a chunk. One thread at a time.
struct ChangeChunkBuilder: ~Copyable {
    /// Of every place that the chunk names.
    let timeline: TimelineID
    private var buffer: ByteBuffer
    private var group: (offset: Int, before: LSN)?
    private var records: UInt32 = 0

    init(_ timeline: TimelineID) {
        self.timeline = timeline
        buffer = ByteBuffer(capacity: 16 << 10)
        buffer.appendFixed(timeline.ordinal)
        buffer.appendFixed(timeline.unique.high)
        buffer.appendFixed(timeline.unique.low)
    }

    var byteCount: Int { buffer.count }
    var isEmpty: Bool { buffer.count == ChangeChunk.headBytes }
    /// Whether the group that is open holds a record.
    var hasRecords: Bool { records > 0 }

    mutating func begin(before: LSN, after: LSN, commitTime: Timestamp) {
        group = (buffer.count, before)
        records = 0
        buffer.appendFixed(before.rawValue)
        buffer.appendFixed(after.rawValue)
        buffer.appendFixed(commitTime)
        buffer.appendFixed(UInt32(0))
        buffer.append(0)
    }

    mutating func append(
        _ tag: ChangeTag, namespace: Int, lsn: LSN, key: UnsafeRawBufferPointer, entry: UnsafeRawBufferPointer
    ) {
        guard let group else { preconditionFailure("a record stands in a group") }
        buffer.append(tag.rawValue)
        buffer.appendVarint(UInt64(namespace))
        buffer.appendVarint(lsn.rawValue &- group.before.rawValue)
        buffer.appendVarint(UInt64(key.count))
        unsafe buffer.append(key)
        buffer.appendVarint(UInt64(entry.count))
        unsafe buffer.append(entry)
        records += 1
    }

    /// Ends the group; one that ends its batch without a record says how far the feed is.
    mutating func end(endsBatch: Bool) {
        guard let open = group else { preconditionFailure("a group is ended after it was begun") }
        buffer.overwriteFixed(records, at: open.offset + 24)
        buffer.overwriteFixed(endsBatch ? ChangeChunk.endsBatch : 0, at: open.offset + 28)
        group = nil
        records = 0
    }

    consuming func finish() -> ChangeChunk { ChangeChunk(buffer) }
}

/// Takes the changes out of a chunk, one after the other. Never traps, whatever the bytes are.
struct ChangeChunkReader: Sendable {
    private let chunk: ChangeChunk
    private let namespaces: [Namespace]
    private let timeline: TimelineID
    private var offset: Int
    private var group: Group?

    private struct Group: Sendable {
        let before: LSN
        let after: LSN
        let commitTime: Timestamp
        let endsBatch: Bool
        var left: UInt32
    }

    /// `namespaces`: the feed's, in their order.
    init(_ chunk: ChangeChunk, namespaces: [Namespace]) throws(DecodeError) {
        self.chunk = chunk
        self.namespaces = namespaces
        var reader = unsafe ByteReader(chunk.bytes)
        let ordinal = try reader.fixed(UInt32.self)
        timeline = TimelineID(ordinal: ordinal, unique: UniqueID(high: try reader.fixed(), low: try reader.fixed()))
        offset = ChangeChunk.headBytes
    }

    mutating func next() throws(DecodeError) -> Change? {
        let bytes = unsafe chunk.bytes
        var reader = unsafe ByteReader(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
        defer { offset = bytes.count - reader.remaining }
        if group == nil {
            if reader.isAtEnd { return nil }
            let group = try ChangeChunkReader.group(&reader)
            guard group.left > 0 else { return progress(group) }
            self.group = group
        }
        guard var group else { return nil }
        group.left -= 1
        self.group = group.left > 0 ? group : nil
        return try record(&reader, group)
    }

    private static func group(_ reader: inout ByteReader) throws(DecodeError) -> Group {
        let before = try reader.checkedLSN()
        let after = try reader.checkedLSN()
        let time: Timestamp = try reader.fixed()
        let count = try reader.fixed(UInt32.self)
        let flags = try reader.byte()
        guard before <= after, flags <= ChangeChunk.endsBatch else { throw .malformed("a group of changes") }
        return Group(
            before: before, after: after, commitTime: time, endsBatch: flags == ChangeChunk.endsBatch, left: count)
    }

    private func progress(_ group: Group) -> Change {
        Change(
            kind: .progress, namespace: nil, key: [], lsn: group.after, commitTime: group.commitTime,
            cursor: ChangeCursor(timeline: timeline, lsn: group.after), endsBatch: true)
    }

    private func record(_ reader: inout ByteReader, _ group: Group) throws(DecodeError) -> Change {
        let byte = try reader.byte()
        guard let tag = ChangeTag(rawValue: byte) else { throw .unknown("change tag \(byte)") }
        let index = try reader.length(atMost: max(0, namespaces.count - 1), "namespace")
        let distance = try reader.varint()
        guard distance > 0, distance <= group.after.rawValue &- group.before.rawValue else {
            throw .outOfRange("a change's LSN")
        }
        let key = unsafe try reader.bytes(try reader.length(atMost: Limits.keyBytes, "key length"))
        let entry = unsafe try reader.bytes(try reader.length(atMost: Limits.entryBytes, "entry length"))
        let endsBatch = group.endsBatch && group.left == 0
        guard tag.isOfStore || index < namespaces.count else { throw .outOfRange("namespace \(index)") }
        return Change(
            kind: unsafe try ChangeChunkReader.kind(tag, key, entry),
            namespace: tag.isOfStore ? nil : namespaces[index],
            key: tag == .tagDrop ? [] : unsafe Array(key), lsn: LSN(group.before.rawValue &+ distance),
            commitTime: group.commitTime,
            cursor: ChangeCursor(timeline: timeline, lsn: endsBatch ? group.after : group.before),
            endsBatch: endsBatch)
    }

    private static func kind(
        _ tag: ChangeTag, _ key: UnsafeRawBufferPointer, _ entry: UnsafeRawBufferPointer
    ) throws(DecodeError) -> Change.Kind {
        switch tag {
        case .put:
            let view = unsafe try EntryView(entry)
            return .put(value: unsafe Array(view.value), fields: try view.fields())
        case .delete: return .delete(fields: unsafe try EntryView(entry).fields())
        case .rangeDelete: return .deleteRange(to: unsafe entry.isEmpty ? nil : Array(entry))
        case .tagDrop:
            guard key.count == 8 else { throw .malformed("a dropped tag") }
            return .tagDrop(unsafe UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)))
        case .sourceFloors: return .sourceFloors(unsafe Array(try EntryView(entry).value))
        case .namespaceMade: return .namespaceMade
        case .clock:
            let record = unsafe try ClockRecord.decode(entry)
            return .clock(reading: record.reading, offset: record.offset, isFrozen: record.change == .freeze)
        case .mark: return .mark
        }
    }
}
