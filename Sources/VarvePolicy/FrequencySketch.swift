/// How often keys were seen lately, by their hash: a count-min sketch of 4-bit counters that are halved now and then, so
/// that the past fades. Eight bytes for each entry of the cache; estimates are never too low (until a halving), and seldom
/// too high.
///
/// Cormode and Muthukrishnan 2005; 4-bit counters and halving from "TinyLFU" (Einziger, Friedman, Manes, ACM TOS 2017). A
/// key's four counters stand in one block of 64 bytes, so an operation touches one cache line.
struct FrequencySketch: Sendable {
    private var words: [UInt64]
    private var blockMask: Int
    private var additions = 0
    /// Additions between halvings.
    private var period: Int

    static let most = 15

    init(expectedEntries: Int) {
        var blocks = 1
        while blocks * 8 < expectedEntries, blocks < 1 << 24 { blocks *= 2 }
        words = [UInt64](repeating: 0, count: blocks * 8)
        blockMask = blocks - 1
        period = max(64, 10 * expectedEntries)
    }

    /// For how many entries it is made.
    var capacity: Int { words.count }

    @inline(__always)
    private func block(_ mixed: UInt64) -> Int { (Int(truncatingIfNeeded: mixed >> 32) & blockMask) * 8 }

    /// Row `row`: which of its two words, and which nibble of it; five bits of the hash each.
    @inline(__always)
    private func place(_ mixed: UInt64, _ row: Int) -> (word: Int, shift: UInt64) {
        let bits = mixed >> UInt64(row * 5)
        return (row * 2 + Int(bits & 1), (bits >> 1 & 15) * 4)
    }

    func frequency(_ mixed: UInt64) -> Int {
        let base = block(mixed)
        var least: UInt64 = 15
        for row in 0..<4 {
            let (word, shift) = place(mixed, row)
            least = min(least, words[base + word] >> shift & 15)
        }
        return Int(least)
    }

    mutating func add(_ mixed: UInt64) {
        let base = block(mixed)
        var isAdded = false
        for row in 0..<4 {
            let (word, shift) = place(mixed, row)
            if words[base + word] >> shift & 15 < 15 {
                words[base + word] &+= 1 << shift
                isAdded = true
            }
        }
        if isAdded {
            additions += 1
            if additions >= period { halve() }
        }
    }

    private mutating func halve() {
        for index in words.indices { words[index] = words[index] >> 1 & 0x7777_7777_7777_7777 }
        additions /= 2
    }

    /// An empty sketch for more entries. Counters cannot be moved: their keys are not known.
    mutating func grow(expectedEntries: Int) {
        if expectedEntries > capacity { self = FrequencySketch(expectedEntries: expectedEntries) }
    }

    func encode(into writer: inout StateWriter) {
        writer.reserve(12 + words.count * 8)
        writer.append(UInt32(words.count))
        writer.append(UInt64(additions))
        for word in words { writer.append(word) }
    }

    init(from reader: inout StateReader, expectedEntries: Int) throws(StateError) {
        self.init(expectedEntries: expectedEntries)
        let count = Int(try reader.next(UInt32.self))
        let additions = try reader.next(UInt64.self)
        // A sketch of another size has its counters elsewhere.
        guard count == words.count, additions < UInt64(period), reader.remaining / 8 >= count else { throw .foreign }
        self.additions = Int(additions)
        for index in words.indices { words[index] = try reader.next() }
    }
}
