/// Where a feed over the socket begins.
package enum ChangeStart: Hashable, Sendable {
    /// After what is visible when the request is met.
    case now
    /// With the oldest log that is held.
    case oldest
    case after(ChangeCursor)
}

/// Which changes to stream.
package struct OwnerChangesRequest: Equatable, Sendable {
    /// By name.
    package var namespaces: [String]
    package var prefix: [UInt8]
    package var start: ChangeStart
    /// Whether it goes on as the store changes, until the client closes.
    package var follows: Bool
    package var hasValues: Bool
    package var includesStoreRecords: Bool

    package init(
        namespaces: [String], prefix: [UInt8] = [], start: ChangeStart, follows: Bool, hasValues: Bool = true,
        includesStoreRecords: Bool = false
    ) {
        self.namespaces = namespaces
        self.prefix = prefix
        self.start = start
        self.follows = follows
        self.hasValues = hasValues
        self.includesStoreRecords = includesStoreRecords
    }

    private struct Flags: OptionSet {
        let rawValue: UInt8
        static let follows = Flags(rawValue: 1 << 0)
        static let hasValues = Flags(rawValue: 1 << 1)
        static let storeRecords = Flags(rawValue: 1 << 2)
        static let all: Flags = [.follows, .hasValues, .storeRecords]
    }

    func append(to buffer: inout ByteBuffer) {
        buffer.appendVarint(UInt64(namespaces.count))
        for name in namespaces { buffer.appendCounted(name) }
        buffer.appendCounted(prefix)
        switch start {
        case .now: buffer.append(0)
        case .oldest: buffer.append(1)
        case .after(let cursor):
            buffer.append(2)
            buffer.append(cursor)
        }
        var flags: Flags = []
        if follows { flags.insert(.follows) }
        if hasValues { flags.insert(.hasValues) }
        if includesStoreRecords { flags.insert(.storeRecords) }
        buffer.append(flags.rawValue)
    }
}

extension OwnerChangesRequest {
    init(_ reader: inout ByteReader) throws(DecodeError) {
        let count = try reader.length(atMost: Limits.feedNamespaces, "namespaces")
        namespaces = []
        for _ in 0..<count {
            namespaces.append(try reader.countedText(atMost: Limits.namespaceNameBytes, "name length"))
        }
        prefix = try reader.countedBytes(atMost: Limits.keyBytes, "prefix length")
        let tag = try reader.byte()
        switch tag {
        case 0: start = .now
        case 1: start = .oldest
        case 2: start = .after(try reader.changeCursor())
        default: throw .unknown("beginning \(tag) of a feed")
        }
        let flags = Flags(rawValue: try reader.byte())
        guard flags.isSubset(of: .all) else { throw .unknown("flags of a feed") }
        follows = flags.contains(.follows)
        hasValues = flags.contains(.hasValues)
        includesStoreRecords = flags.contains(.storeRecords)
    }
}

extension ByteBuffer {
    mutating func append(_ cursor: ChangeCursor) {
        appendFixed(cursor.timeline.ordinal)
        appendFixed(cursor.timeline.unique.high)
        appendFixed(cursor.timeline.unique.low)
        appendFixed(cursor.lsn.rawValue)
    }
}

extension ByteReader {
    mutating func changeCursor() throws(DecodeError) -> ChangeCursor {
        let ordinal = try fixed(UInt32.self)
        let unique = UniqueID(high: try fixed(), low: try fixed())
        return ChangeCursor(timeline: TimelineID(ordinal: ordinal, unique: unique), lsn: try checkedLSN())
    }
}
