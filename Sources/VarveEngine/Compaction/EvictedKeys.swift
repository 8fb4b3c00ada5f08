/// Which keys were let go lately, so that a miss can name its cause. Nothing is decided by it: eviction has its ghost, which
/// sweeps leave nothing in.
///
/// A word holds the fingerprints of the last four keys that were let go among those that share it: two to four bytes for each
/// key of the capacity. One key in sixteen thousand is taken for one that went. After `double` the fingerprints stand in a
/// second word as well, where nobody looks for them, until others take their places.
///
/// Any thread, no locks: of two keys that meet in a word one may be lost.
struct EvictedKeys: Sendable {
    private let words: AtomicWords

    /// `growth`: how many times as large it may become.
    init(capacity: Int, growth: Int = 1) {
        var count = 64
        while count * 4 < capacity { count *= 2 }
        words = AtomicWords(count, most: count * growth)
    }

    /// For twice as many keys. One thread at a time.
    func double() { words.double() }

    private func place(_ hash: UInt64) -> (word: Int, print: UInt64) {
        // Never 0, so that a place in use is told from a free one.
        (Int(truncatingIfNeeded: hash & UInt64(words.count - 1)), max(1, hash >> 48))
    }

    private func holds(_ word: UInt64, _ print: UInt64) -> Bool {
        stride(from: 0, to: 64, by: 16).contains { word >> UInt64($0) & 0xFFFF == print }
    }

    func contains(_ hash: UInt64) -> Bool {
        let (index, print) = place(hash)
        return holds(words.load(index), print)
    }

    func insert(_ hash: UInt64) {
        let (index, print) = place(hash)
        let word = words.load(index)
        if !holds(word, print) { _ = words.replace(index, word, with: word << 16 | print) }
    }
}
