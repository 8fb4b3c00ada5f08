/// One note that a cache leaves for its next start: a record in the store's namespace of marks.
///
///     magic u32, version u8, kind u8, shard u16, of u16, body, XXH3 of all that u64
///
/// Little-endian. A note is a hint: whoever reads one that is damaged, or of another version, goes without.
struct WarmNote: Equatable, Sendable {
    enum Kind: UInt8, Sendable {
        /// The hottest keys of a shard, most wanted first: a length in varint form before each.
        case keys = 1
        /// What the shard's policy knows (`MemoryPolicy.exportState`).
        case policy = 2
        /// Reads that memory answered in the last minute, and all reads: two u64.
        case ratio = 3
    }

    var kind: Kind
    /// Of how many shards it is which; 0 of 1 for the ratio.
    var shard: UInt16
    var shardCount: UInt16
    var body: [UInt8]

    private static let magic: UInt32 = 0x4D52_5756
    private static let version: UInt8 = 1
    private static let seed: UInt64 = 0x7761_726D

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(body.count + 18)
        bytes.append(WarmNote.magic)
        bytes += [WarmNote.version, kind.rawValue]
        bytes.append(shard)
        bytes.append(shardCount)
        bytes += body
        bytes.append(unsafe stableHash(bytes.span.bytes, seed: WarmNote.seed))
        return bytes
    }

    init(kind: Kind, shard: UInt16 = 0, of shardCount: UInt16 = 1, body: [UInt8]) {
        self.kind = kind
        self.shard = shard
        self.shardCount = shardCount
        self.body = body
    }

    /// Nil for bytes that are no note of this version. Never traps.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 18 else { return nil }
        var end = WarmReader(bytes[(bytes.count - 8)...])
        let sum = unsafe stableHash(bytes.span.extracting(..<(bytes.count - 8)).bytes, seed: WarmNote.seed)
        guard end.integer(UInt64.self) == sum else { return nil }
        var reader = WarmReader(bytes[..<(bytes.count - 8)])
        guard reader.integer(UInt32.self) == WarmNote.magic, reader.integer(UInt8.self) == WarmNote.version,
            let kind = reader.integer(UInt8.self).flatMap(Kind.init(rawValue:)),
            let shard = reader.integer(UInt16.self), let count = reader.integer(UInt16.self), shard < count
        else { return nil }
        self.init(kind: kind, shard: shard, of: count, body: Array(reader.rest))
    }

    // MARK: Bodies

    /// A list of keys within `limit` bytes.
    static func list(_ keys: some Sequence<[UInt8]>, atMost limit: Int) -> [UInt8] {
        var body: [UInt8] = []
        for key in keys {
            if body.count + key.count + 4 > limit { break }
            var length = key.count
            while length >= 0x80 {
                body.append(UInt8(truncatingIfNeeded: length) | 0x80)
                length >>= 7
            }
            body.append(UInt8(truncatingIfNeeded: length))
            body += key
        }
        return body
    }

    /// The keys of a list; nil where it is malformed.
    var keys: [[UInt8]]? {
        var reader = WarmReader(body[...])
        var keys: [[UInt8]] = []
        while !reader.rest.isEmpty {
            guard let length = reader.varint(), let key = reader.bytes(length) else { return nil }
            keys.append(Array(key))
        }
        return keys
    }

    static func ratio(hits: UInt64, of requests: UInt64) -> WarmNote {
        var body: [UInt8] = []
        body.append(hits)
        body.append(requests)
        return WarmNote(kind: .ratio, body: body)
    }

    /// The ratio that the note holds; nil where it is malformed.
    var ratio: Double? {
        var reader = WarmReader(body[...])
        guard let hits = reader.integer(UInt64.self), let requests = reader.integer(UInt64.self), requests > 0,
            hits <= requests, reader.rest.isEmpty
        else { return nil }
        return Double(hits) / Double(requests)
    }
}

/// Takes bytes apart without ever trapping.
private struct WarmReader {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    mutating func bytes(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    mutating func integer<T: FixedWidthInteger>(_: T.Type) -> T? {
        bytes(T.bitWidth / 8)?.reversed().reduce(0) { T(truncatingIfNeeded: UInt64($0) << 8 | UInt64($1)) }
    }

    /// At most three bytes: lengths of keys are below 2^21.
    mutating func varint() -> Int? {
        var value = 0
        for shift in stride(from: 0, to: 21, by: 7) {
            guard let byte = integer(UInt8.self) else { return nil }
            value |= Int(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }
}

extension [UInt8] {
    fileprivate mutating func append<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
        }
    }
}
