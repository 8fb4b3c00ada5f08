/// Remembers why keys left the memory tier, so that a miss can name its cause. A direct-mapped table of fingerprints:
/// bounded, forgetful, and wrong for about one key in eight thousand.
@usableFromInline
struct RemovalLedger: Sendable {
    /// The cause in the lowest two bits, a fingerprint above; 0: free.
    private var places: [UInt16]

    /// `capacity`: how many removals it remembers, about.
    init(capacity: Int) {
        var count = 256
        while count < capacity, count < 1 << 22 { count *= 2 }
        places = [UInt16](repeating: 0, count: count)
    }

    private func place(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 8) & (places.count - 1) }
    /// Never 0, so that a place in use is told from a free one.
    private func fingerprint(_ hash: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: hash >> 48) | 1 << 2 }

    /// Has the processor fetch a key's place.
    func prefetch(_ hash: UInt64) {
        unsafe places.withUnsafeBufferPointer { unsafe Prefetch.line($0.baseAddress, place(hash)) }
    }

    mutating func note(_ hash: UInt64, _ cause: MissCause) {
        places[place(hash)] = fingerprint(hash) & ~3 | UInt16(cause.rawValue)
    }

    func cause(_ hash: UInt64) -> MissCause {
        let found = places[place(hash)]
        guard found != 0, found & ~3 == fingerprint(hash) & ~3 else { return .cold }
        return MissCause(rawValue: Int(found & 3)) ?? .cold
    }

    mutating func forget(_ hash: UInt64) {
        let index = place(hash)
        if places[index] & ~3 == fingerprint(hash) & ~3 { places[index] = 0 }
    }
}
