/// What a cache leaves for its next start of one kind and shard, whole. It is kept as notes, of which each is one write to
/// the log.
struct WarmState: Equatable, Sendable {
    /// What it is of; there is one present state of each.
    struct Subject: Hashable, Sendable {
        var kind: WarmNote.Kind
        var shard: UInt16
    }

    var kind: WarmNote.Kind
    /// Of how many shards it is which; 0 of 1 for the ratio.
    var shard: UInt16
    var shardCount: UInt16
    var body: [UInt8]

    init(kind: WarmNote.Kind, shard: UInt16 = 0, of shardCount: UInt16 = 1, body: [UInt8]) {
        self.kind = kind
        self.shard = shard
        self.shardCount = shardCount
        self.body = body
    }

    var subject: Subject { Subject(kind: kind, shard: shard) }

    /// Tells it from every other.
    var whole: UInt64 { unsafe stableHash(body.span.bytes, seed: 0) }

    /// The notes that it is kept as, of so many bytes of body at most; none where they would be too many to count.
    func notes(number: UInt64, atMost limit: Int) -> [WarmNote] {
        let count = max(1, (body.count + limit - 1) / limit)
        guard let pieces = UInt16(exactly: count) else { return [] }
        let whole = whole
        return (0..<pieces).map { index in
            let begin = Int(index) * limit
            return WarmNote(
                kind: kind, shard: shard, shardCount: shardCount, number: number, whole: whole,
                piece: WarmNote.Piece(index: index, count: pieces),
                body: Array(body[begin..<min(body.count, begin + limit)]))
        }
    }

    // MARK: Bodies

    /// A list of keys within `limit` bytes, and how many it has.
    static func list(_ keys: some Sequence<[UInt8]>, atMost limit: Int) -> (body: [UInt8], count: Int) {
        var body: [UInt8] = []
        var count = 0
        for key in keys {
            if body.count + key.count + 4 > limit { break }
            var length = key.count
            while length >= 0x80 {
                body.append(UInt8(truncatingIfNeeded: length) | 0x80)
                length >>= 7
            }
            body.append(UInt8(truncatingIfNeeded: length))
            body += key
            count += 1
        }
        return (body, count)
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

    static func ratio(hits: UInt64, of requests: UInt64) -> WarmState {
        var body: [UInt8] = []
        body.append(hits)
        body.append(requests)
        return WarmState(kind: .ratio, body: body)
    }

    /// The ratio that it holds; nil where it is malformed.
    var ratio: Double? {
        var reader = WarmReader(body[...])
        guard let hits = reader.integer(UInt64.self), let requests = reader.integer(UInt64.self), requests > 0,
            hits <= requests, reader.rest.isEmpty
        else { return nil }
        return Double(hits) / Double(requests)
    }
}

/// Puts states together from their notes. A state counts only where all of its pieces are there; of several, the latest.
///
/// A state of several pieces takes a while to be written, and its process may be killed meanwhile. So it goes where the
/// state before the last one was, and the last one stays whole until this one is.
struct WarmStates: Sendable {
    /// A state as it was found.
    struct Found: Sendable {
        var state: WarmState
        var number: UInt64
        var pieces: UInt16
    }

    /// What notes of one state have in common.
    private struct Mark: Hashable {
        var subject: WarmState.Subject
        var shardCount: UInt16
        var number: UInt64
        var whole: UInt64
        var count: UInt16
    }

    private var pieces: [Mark: [UInt16: [UInt8]]] = [:]

    mutating func take(_ note: WarmNote) {
        let mark = Mark(
            subject: WarmState.Subject(kind: note.kind, shard: note.shard), shardCount: note.shardCount,
            number: note.number, whole: note.whole, count: note.piece.count)
        pieces[mark, default: [:]][note.piece.index] = note.body
    }

    /// The states that are whole, one of a kind and shard.
    func latest() -> [Found] {
        var found: [WarmState.Subject: Found] = [:]
        for (mark, bodies) in pieces where bodies.count == Int(mark.count) {
            if let known = found[mark.subject], known.number >= mark.number { continue }
            let body = (0..<mark.count).reduce(into: [UInt8]()) { $0 += bodies[$1] ?? [] }
            let state = WarmState(
                kind: mark.subject.kind, shard: mark.subject.shard, of: mark.shardCount, body: body)
            guard state.whole == mark.whole else { continue }
            found[mark.subject] = Found(state: state, number: mark.number, pieces: mark.count)
        }
        return found.values.sorted {
            ($0.state.kind.rawValue, $0.state.shard) < ($1.state.kind.rawValue, $1.state.shard)
        }
    }
}
