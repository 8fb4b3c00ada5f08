/// One record of what a cache leaves for its next start, in the store's namespace of marks: a state (`WarmState`), or a
/// piece of one that is too large for a record.
///
///     magic u32, version u8, kind u8, shard u16, of u16, number u64, whole u64, piece u16, pieces u16, body,
///     XXH3 of all that u64
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

    /// Which of its state's pieces it is.
    struct Piece: Hashable, Sendable {
        var index: UInt16
        var count: UInt16
        var isLast: Bool { index + 1 == count }
    }

    var kind: Kind
    /// Of how many shards it is which; 0 of 1 for the ratio.
    var shard: UInt16
    var shardCount: UInt16
    /// Its state's, which is one more than that of the state before.
    var number: UInt64
    /// The hash of the whole state's body: pieces of two states never make one.
    var whole: UInt64
    var piece: Piece
    var body: [UInt8]

    var subject: WarmState.Subject { WarmState.Subject(kind: kind, shard: shard) }

    private static let magic: UInt32 = 0x4D52_5756
    private static let version: UInt8 = 2
    private static let seed: UInt64 = 0x7761_726D
    private static let bytesBesideBody = 38

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(body.count + WarmNote.bytesBesideBody)
        bytes.append(WarmNote.magic)
        bytes += [WarmNote.version, kind.rawValue]
        bytes.append(shard)
        bytes.append(shardCount)
        bytes.append(number)
        bytes.append(whole)
        bytes.append(piece.index)
        bytes.append(piece.count)
        bytes += body
        bytes.append(unsafe stableHash(bytes.span.bytes, seed: WarmNote.seed))
        return bytes
    }

    /// Nil for bytes that are no note of this version. Never traps.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= WarmNote.bytesBesideBody else { return nil }
        var end = WarmReader(bytes[(bytes.count - 8)...])
        let sum = unsafe stableHash(bytes.span.extracting(..<(bytes.count - 8)).bytes, seed: WarmNote.seed)
        guard end.integer(UInt64.self) == sum else { return nil }
        var reader = WarmReader(bytes[..<(bytes.count - 8)])
        guard reader.integer(UInt32.self) == WarmNote.magic, reader.integer(UInt8.self) == WarmNote.version,
            let kind = reader.integer(UInt8.self).flatMap(Kind.init(rawValue:)),
            let shard = reader.integer(UInt16.self), let shards = reader.integer(UInt16.self), shard < shards,
            let number = reader.integer(UInt64.self), let whole = reader.integer(UInt64.self),
            let index = reader.integer(UInt16.self), let count = reader.integer(UInt16.self), index < count
        else { return nil }
        self.init(
            kind: kind, shard: shard, shardCount: shards, number: number, whole: whole,
            piece: Piece(index: index, count: count), body: Array(reader.rest))
    }

    init(
        kind: Kind, shard: UInt16, shardCount: UInt16, number: UInt64, whole: UInt64, piece: Piece, body: [UInt8]
    ) {
        self.kind = kind
        self.shard = shard
        self.shardCount = shardCount
        self.number = number
        self.whole = whole
        self.piece = piece
        self.body = body
    }
}

/// Takes bytes apart without ever trapping.
struct WarmReader {
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
    mutating func append<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
        }
    }
}
