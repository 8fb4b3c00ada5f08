/// What a cache's notes may take on disk, and what they do take. They lie beside the data where no eviction reaches them,
/// so what they take is bounded by what is written.
///
/// Each shard has the same part, halved between the two places at which its states take turns: first what the policy knows,
/// if it fits in half of that, then the hottest keys.
struct NoteRoom: Sendable {
    /// One of the two places of a state.
    struct Place: Hashable, Sendable {
        var subject: WarmState.Subject
        /// Whether numbers are odd there.
        var isOdd: Bool

        init(_ subject: WarmState.Subject, number: UInt64) {
            self.subject = subject
            isOdd = number & 1 == 1
        }

        var number: UInt64 { isOdd ? 1 : 0 }
    }

    /// A record.
    struct Piece: Equatable, Sendable {
        var place: Place
        var index: UInt16
    }

    /// What of a shard was not noted for want of room.
    struct LeftOut: Equatable, Sendable {
        var keys = 0
        var policy = false
    }

    /// Bytes of a shard's states at each of their places; nil: as many as there are.
    var share: Int?
    var leftOut: [Int: LeftOut] = [:]
    /// By shard, the bytes of what its policy knew when that was last looked at.
    var policies: [Int: Int] = [:]
    /// The bytes of each piece.
    private var places: [Place: [Int]] = [:]

    /// One byte of so many of a bound is the notes' at most.
    static let part = 8
    /// What a record takes beside its body: note, key and entry.
    static let recordBytes = 128
    /// For what a cache notes beside its shards.
    private static let besideShards = 1024

    /// - Parameters:
    ///   - disk: what the store may take, among so many caches.
    ///   - quota: what this one may take.
    static func share(disk: UInt64?, caches: Int, quota: UInt64?, shards: Int) -> Int? {
        let bounds = [disk.map { $0 / UInt64(max(1, caches)) }, quota].compactMap(\.self)
        guard let bound = bounds.min() else { return nil }
        let whole = Int(clamping: bound / UInt64(part)) - besideShards
        return max(0, whole / 2 / max(1, shards))
    }

    private static func cost(_ bytes: Int) -> Int { bytes + recordBytes * (bytes / WarmUp.noteBytes + 1) }

    /// Whether a state of so many bytes may be noted.
    func fits(_ bytes: Int) -> Bool { share.map { NoteRoom.cost(bytes) <= $0 } ?? true }

    /// Whether what a policy knows may be noted: it leaves half to the keys, without which nothing would come back.
    func fits(policy bytes: Int) -> Bool { share.map { NoteRoom.cost(bytes) <= $0 / 2 } ?? true }

    /// Bytes of a list of keys at most, beside what the shard's policy knows: so many bytes; nil: nobody has looked yet, and it
    /// gets the half that it may take.
    func listBytes(besidePolicy policy: Int?) -> Int {
        guard let share else { return WarmUp.listBytes }
        let taken = policy.map { fits(policy: $0) ? NoteRoom.cost($0) : 0 } ?? share / 2
        let rest = max(0, share - taken)
        return min(WarmUp.listBytes, max(0, rest - NoteRoom.cost(rest) + rest))
    }

    // MARK: What is there

    /// A state was found.
    mutating func take(_ found: WarmStates.Found) {
        let pieces = Int(found.pieces)
        let bytes = found.state.body.count / max(1, pieces) + NoteRoom.recordBytes
        places[Place(found.state.subject, number: found.number)] = Array(repeating: bytes, count: pieces)
    }

    /// A note was written. Those of a state are in order.
    mutating func take(_ note: WarmNote) {
        let bytes = note.body.count + NoteRoom.recordBytes
        let index = Int(note.piece.index)
        var sizes = places[Place(note.subject, number: note.number)] ?? []
        if index < sizes.count { sizes[index] = bytes } else { sizes.append(bytes) }
        places[Place(note.subject, number: note.number)] = sizes
    }

    /// What is to go now that a state's last note is written: pieces of a larger one before it at its place, and the state
    /// before it where the shard takes more than its share.
    func surplus(after last: WarmNote) -> [Piece] {
        let own = Place(last.subject, number: last.number)
        let rest = pieces(at: own).filter { $0.index >= last.piece.count }
        guard let share else { return rest }
        let all = places.filter { $0.key.subject.shard == last.shard }.values.joined().reduce(0, +)
        let bytes = all - (places[own]?.dropFirst(Int(last.piece.count)).reduce(0, +) ?? 0)
        return bytes <= 2 * share ? rest : rest + pieces(at: Place(last.subject, number: last.number &+ 1))
    }

    /// All of both places.
    func pieces(of subject: WarmState.Subject) -> [Piece] {
        pieces(at: Place(subject, number: 0)) + pieces(at: Place(subject, number: 1))
    }

    /// The last first, in the order in which they can be removed.
    private func pieces(at place: Place) -> [Piece] {
        (0..<(places[place]?.count ?? 0)).reversed().map { Piece(place: place, index: UInt16(clamping: $0)) }
    }

    /// A piece was removed, the last of its place.
    mutating func remove(_ piece: Piece) { places[piece.place]?.removeSubrange(Int(piece.index)...) }
}
