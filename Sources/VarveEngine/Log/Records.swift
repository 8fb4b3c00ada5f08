/// The payload of a clock frame: a reading of the store clock, and what became of its offset.
struct ClockRecord: Hashable, Sendable {
    enum Change: UInt8, Sendable {
        /// Only a reading: the clock never falls below it again.
        case reading = 0
        /// From here on the clock runs with `offset`.
        case shift = 1
        /// From here on the clock stands at `reading`.
        case freeze = 2
        /// It runs again.
        case thaw = 3
    }

    var reading: Timestamp
    var change: Change
    var offset: Int64

    func encode(to buffer: inout ByteBuffer) {
        buffer.appendFixed(reading)
        buffer.append(change.rawValue)
        buffer.appendFixed(offset)
    }

    static func decode(_ payload: UnsafeRawBufferPointer) throws(DecodeError) -> ClockRecord {
        var reader = unsafe ByteReader(payload)
        let reading: Timestamp = try reader.fixed()
        let what = try reader.byte()
        guard let change = Change(rawValue: what) else { throw .unknown("clock change \(what)") }
        return ClockRecord(reading: reading, change: change, offset: try reader.fixed())
    }
}

/// The payload of a timeline frame.
enum TimelineRecord {
    static func encode(_ origin: TimelineOrigin, to buffer: inout ByteBuffer) {
        buffer.appendTimeline(origin.timeline)
        buffer.append(origin.parent == nil ? 0 : 1)
        if let parent = origin.parent { buffer.appendTimeline(parent) }
        buffer.appendFixed(origin.forkLSN.rawValue)
        buffer.append(origin.reason.rawValue)
    }

    static func decode(_ payload: UnsafeRawBufferPointer) throws(DecodeError) -> TimelineOrigin {
        var reader = unsafe ByteReader(payload)
        let timeline = try reader.timeline()
        let hasParent = try reader.byte()
        guard hasParent <= 1 else { throw .malformed("a parent mark of \(hasParent)") }
        let parent = hasParent == 1 ? try reader.timeline() : nil
        let fork = try reader.lsn()
        let why = try reader.byte()
        guard let reason = TimelineOrigin.Reason(rawValue: why) else { throw .unknown("timeline reason \(why)") }
        return TimelineOrigin(timeline: timeline, parent: parent, forkLSN: fork, reason: reason)
    }
}

/// One record of a batch, in place; valid as long as the payload.
@safe
struct BatchRecord {
    let kind: RecordKind
    let namespace: NamespaceID
    /// The user's key; of a range delete, its begin.
    let key: UnsafeRawBufferPointer
    /// The entry; of a range delete, its exclusive end as a user's key (empty: the end of the namespace).
    let entry: UnsafeRawBufferPointer
}

/// Iterates the records of a batch's payload in order, each one LSN. Checks every length and limit; it never traps.
@safe
struct BatchReader {
    private var reader: ByteReader
    /// Valid as long as `payload`.
    init(_ payload: UnsafeRawBufferPointer) { reader = unsafe ByteReader(payload) }

    var isAtEnd: Bool { reader.isAtEnd }

    /// A kind and three varints: the shortest record.
    private static let smallestRecord = 4

    /// How many records a memtable must have room for to take a frame; nil where its payload cannot hold as many as it
    /// counts. Whoever asks for memory asks here first, for nothing but the writer vouches for the count.
    static func records(of kind: FrameKind, count: UInt64, rawLength: Int) -> Int? {
        guard kind == .batch else { return 0 }
        return count <= UInt64(rawLength / smallestRecord) ? Int(count) : nil
    }

    /// The next record; nil at the end.
    @inline(__always)
    mutating func next() throws(DecodeError) -> BatchRecord? {
        guard !reader.isAtEnd else { return nil }
        let tag = try reader.byte()
        guard let kind = RecordKind(rawValue: tag) else { throw .unknown("record kind \(tag)") }
        let namespace = try reader.varint()
        guard namespace <= UInt64(UInt32.max) else { throw .outOfRange("namespace id \(namespace)") }
        let key = unsafe try reader.bytes(try reader.length(atMost: Limits.keyBytes, "key length"))
        let entry = unsafe try reader.bytes(try reader.length(atMost: Limits.entryBytes, "entry length"))
        return unsafe BatchRecord(
            kind: kind, namespace: NamespaceID(rawValue: UInt32(namespace)), key: key, entry: entry)
    }
}

/// Appends records to a batch's payload: the twin of `BatchReader`.
enum BatchWriter {
    @inline(__always)
    static func append(
        _ kind: RecordKind, _ namespace: NamespaceID, key: UnsafeRawBufferPointer, entry: UnsafeRawBufferPointer,
        to buffer: inout ByteBuffer
    ) {
        unsafe appendHead(kind, namespace, key: key, to: &buffer)
        buffer.appendVarint(UInt64(entry.count))
        unsafe buffer.append(entry)
    }

    /// An entry of fields and value, with no copy between.
    static func append(
        _ kind: RecordKind, _ namespace: NamespaceID, key: UnsafeRawBufferPointer, fields: EntryFields,
        value: UnsafeRawBufferPointer, to buffer: inout ByteBuffer
    ) {
        unsafe appendHead(kind, namespace, key: key, to: &buffer)
        if fields == .none {
            buffer.appendVarint(UInt64(1 + value.count))
            buffer.append(0)
        } else {
            var head = ByteBuffer()
            EntryCodec.appendFields(fields, to: &head)
            buffer.appendVarint(UInt64(head.count + value.count))
            unsafe buffer.append(head.bytes)
        }
        unsafe buffer.append(value)
    }

    @inline(__always)
    private static func appendHead(
        _ kind: RecordKind, _ namespace: NamespaceID, key: UnsafeRawBufferPointer, to buffer: inout ByteBuffer
    ) {
        buffer.append(kind.rawValue)
        buffer.appendVarint(UInt64(namespace.rawValue))
        buffer.appendVarint(UInt64(key.count))
        unsafe buffer.append(key)
    }
}
