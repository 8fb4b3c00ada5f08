/// The fields that an entry may carry beside its value. Absent fields take no space.
///
/// The same bytes stand in log records, memtables and tables:
///
///     flags  u8      one bit for each field present
///     bit 0  usable until   i64, store clock; from then on the entry is expired
///     bit 1  fresh until    i64, store clock; from then on it should be refreshed
///     bit 2  source version u64
///     bit 3  tags           varint count, then u64 each
///     bit 4  value type     u8
///     bit 5  cause          u8
///     bit 6  extensions     varint total length, then (varint tag, varint length, bytes) each
///     bit 7  reserved: value by reference; refused by name
///     value                 all the rest
public struct EntryFields: Hashable, Sendable {
    /// The store-clock time from which the entry is expired, in nanoseconds; nil: never.
    public var usableUntil: Timestamp?
    /// The store-clock time from which the entry should be refreshed, though it may still be used.
    public var freshUntil: Timestamp?
    /// A version that the entry's source gave it; "nothing older than" compares against it.
    public var sourceVersion: UInt64?
    /// Ids of the tags under which the entry can be invalidated.
    public var tags: [UInt64]
    /// What the value means to the layer that wrote it; 0: bytes.
    public var valueType: UInt8
    /// Why the record was written (explicit, loaded, refreshed, invalidated...); 0: unsaid.
    public var cause: UInt8
    /// Fields of later versions, as (tag, bytes).
    public var extensions: [EntryExtension]

    public init(
        usableUntil: Timestamp? = nil, freshUntil: Timestamp? = nil, sourceVersion: UInt64? = nil,
        tags: [UInt64] = [], valueType: UInt8 = 0, cause: UInt8 = 0, extensions: [EntryExtension] = []
    ) {
        self.usableUntil = usableUntil
        self.freshUntil = freshUntil
        self.sourceVersion = sourceVersion
        self.tags = tags
        self.valueType = valueType
        self.cause = cause
        self.extensions = extensions
    }

    /// No field at all.
    public static let none = EntryFields()
}

/// A field that this version passes on without knowing it.
public struct EntryExtension: Hashable, Sendable {
    public let tag: UInt64
    public let bytes: [UInt8]
    public init(tag: UInt64, bytes: [UInt8]) {
        self.tag = tag
        self.bytes = bytes
    }

    /// Marks an entry that eviction never lets go; it still expires, and can be deleted and overwritten.
    public static let pinned = EntryExtension(tag: 1, bytes: [])
}

extension EntryFields {
    /// Whether eviction spares the entry.
    public var isPinned: Bool {
        get { extensions.contains { $0.tag == EntryExtension.pinned.tag } }
        set {
            extensions.removeAll { $0.tag == EntryExtension.pinned.tag }
            if newValue { extensions.append(.pinned) }
        }
    }
}

/// Encodes and decodes entries.
enum EntryCodec {
    struct Flags: OptionSet {
        let rawValue: UInt8
        static let usableUntil = Flags(rawValue: 1 << 0)
        static let freshUntil = Flags(rawValue: 1 << 1)
        static let sourceVersion = Flags(rawValue: 1 << 2)
        static let tags = Flags(rawValue: 1 << 3)
        static let valueType = Flags(rawValue: 1 << 4)
        static let cause = Flags(rawValue: 1 << 5)
        static let extensions = Flags(rawValue: 1 << 6)
        static let reference = Flags(rawValue: 1 << 7)
    }

    /// Appends the fields of an entry; its value's bytes follow by the caller.
    static func appendFields(_ fields: EntryFields, to buffer: inout ByteBuffer) {
        var flags: Flags = []
        if fields.usableUntil != nil { flags.insert(.usableUntil) }
        if fields.freshUntil != nil { flags.insert(.freshUntil) }
        if fields.sourceVersion != nil { flags.insert(.sourceVersion) }
        if !fields.tags.isEmpty { flags.insert(.tags) }
        if fields.valueType != 0 { flags.insert(.valueType) }
        if fields.cause != 0 { flags.insert(.cause) }
        if !fields.extensions.isEmpty { flags.insert(.extensions) }
        buffer.append(flags.rawValue)
        if flags.isEmpty { return }
        if let time = fields.usableUntil { buffer.appendFixed(time) }
        if let time = fields.freshUntil { buffer.appendFixed(time) }
        if let version = fields.sourceVersion { buffer.appendFixed(version) }
        if flags.contains(.tags) {
            buffer.appendVarint(UInt64(fields.tags.count))
            for tag in fields.tags { buffer.appendFixed(tag) }
        }
        if flags.contains(.valueType) { buffer.append(fields.valueType) }
        if flags.contains(.cause) { buffer.append(fields.cause) }
        if flags.contains(.extensions) {
            var inner = ByteBuffer()
            for field in fields.extensions {
                inner.appendVarint(field.tag)
                inner.appendVarint(UInt64(field.bytes.count))
                inner.append(field.bytes)
            }
            buffer.appendVarint(UInt64(inner.count))
            unsafe buffer.append(inner.bytes)
        }
    }
}

/// An entry in place: its deadline and value found with one pass over the fields, nothing copied. An empty run of bytes
/// is an entry without fields and value (what a plain delete carries).
///
/// Valid as long as the bytes that it was made from.
@safe
struct EntryView {
    let flags: EntryCodec.Flags
    /// Timestamp.max where the entry never expires.
    let usableUntil: Timestamp
    let sourceVersion: UInt64?
    let value: UnsafeRawBufferPointer
    private let all: UnsafeRawBufferPointer

    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        unsafe all = bytes
        guard bytes.count > 0 else {
            flags = []
            usableUntil = .max
            sourceVersion = nil
            unsafe value = bytes
            return
        }
        let raw = unsafe bytes[0]
        if raw == 0 {
            flags = []
            usableUntil = .max
            sourceVersion = nil
            unsafe value = UnsafeRawBufferPointer(rebasing: bytes[1...])
            return
        }
        flags = EntryCodec.Flags(rawValue: raw)
        var reader = unsafe ByteReader(bytes)
        (usableUntil, sourceVersion) = try EntryView.skipFields(&reader)
        unsafe value = reader.rest()
    }

    private static func skipFields(_ reader: inout ByteReader) throws(DecodeError) -> (Timestamp, UInt64?) {
        let flags = EntryCodec.Flags(rawValue: try reader.byte())
        var until = Timestamp.max
        var version: UInt64?
        if flags.contains(.reference) { throw .unknown("an entry whose value is stored by reference") }
        if flags.contains(.usableUntil) { until = try reader.fixed() }
        if flags.contains(.freshUntil) { _ = try reader.fixed(Timestamp.self) }
        if flags.contains(.sourceVersion) { version = try reader.fixed() }
        if flags.contains(.tags) {
            _ = unsafe try reader.bytes(try reader.length(atMost: Limits.tagsPerEntry, "tag count") * 8)
        }
        if flags.contains(.valueType) { _ = try reader.byte() }
        if flags.contains(.cause) { _ = try reader.byte() }
        if flags.contains(.extensions) {
            _ = unsafe try reader.bytes(try reader.length(atMost: Limits.entryFieldBytes, "extension bytes"))
        }
        return (until, version)
    }

    /// Whether the entry is expired at the given store-clock time.
    @inline(__always)
    func isExpired(at now: Timestamp) -> Bool { usableUntil <= now }

    /// The whole entry.
    var bytes: UnsafeRawBufferPointer { unsafe all }

    /// Every field, copied out.
    func fields() throws(DecodeError) -> EntryFields {
        var fields = EntryFields()
        guard !flags.isEmpty else { return fields }
        var reader = unsafe ByteReader(all)
        _ = try reader.byte()
        if flags.contains(.usableUntil) { fields.usableUntil = try reader.fixed() }
        if flags.contains(.freshUntil) { fields.freshUntil = try reader.fixed() }
        if flags.contains(.sourceVersion) { fields.sourceVersion = try reader.fixed() }
        if flags.contains(.tags) {
            let count = try reader.length(atMost: Limits.tagsPerEntry, "tag count")
            for _ in 0..<count { fields.tags.append(try reader.fixed()) }
        }
        if flags.contains(.valueType) { fields.valueType = try reader.byte() }
        if flags.contains(.cause) { fields.cause = try reader.byte() }
        if flags.contains(.extensions) {
            let total = try reader.length(atMost: Limits.entryFieldBytes, "extension bytes")
            var inner = unsafe ByteReader(try reader.bytes(total))
            while !inner.isAtEnd {
                let tag = try inner.varint()
                let length = try inner.length(atMost: Limits.entryFieldBytes, "extension length")
                fields.extensions.append(EntryExtension(tag: tag, bytes: unsafe Array(try inner.bytes(length))))
            }
        }
        return fields
    }
}
