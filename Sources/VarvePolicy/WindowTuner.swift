/// Chooses the width of the window by trying: four miniatures, each with a width of its own, see the same sample of the
/// requests, and the width whose miniature has the most hits lately is the cache's.
///
/// A gradient (ARC's ghost hits, the hill climber and the densities of W-TinyLFU) is cheaper, and is led astray by loops,
/// whose hits begin only behind a cliff; a trial is not.
struct WindowTuner: Sendable {
    /// The widths, in 1/1024 of the capacity: frequency alone, S3-FIFO's, half, and almost all, which is as good as LRU
    /// where only recency counts.
    static let shares = [20, 102, 512, 973]
    static let firstChoice = 1
    /// A miniature holds at most this many entries, about; a cache below that is tried in full.
    static let miniatureEntries = 256

    /// Each miss pays for this many sampled hits. Where more than that come between two misses there is nothing left to
    /// gain, and hits cost nothing here.
    private static let creditOfMiss = 64
    private static let creditLimit = 1024

    private var miniatures: [Miniature] = []
    /// Hits of each, faded from epoch to epoch.
    private var scores = [Double](repeating: 0, count: shares.count)
    private(set) var choice = firstChoice
    /// One key in 2^shift is sampled.
    private var shift: Int
    private var mask: UInt64 = 0
    private var seen = 0
    private var capacity: Int
    /// Sampled hits that are still looked at before the next miss.
    private var credit = creditLimit

    init(capacity: Int, expectedEntries: Int) {
        self.capacity = capacity
        shift = 0
        while expectedEntries >> shift >= WindowTuner.miniatureEntries { shift += 1 }
        begin()
    }

    var share: Int { WindowTuner.shares[choice] }

    @inline(__always)
    func samples(_ mixed: UInt64) -> Bool { mixed >> 20 & mask == 0 }

    /// Whether hits of the sample are to be noted: so many for each miss.
    @inline(__always)
    var takesHits: Bool { credit > 0 }

    /// A sampled hit. True if the choice has changed.
    mutating func noteHit(_ mixed: UInt64, weight: Int) -> Bool {
        credit -= 1
        return note(mixed, weight: weight)
    }

    /// A request that was admitted. True if the choice has changed.
    mutating func noteMiss(_ mixed: UInt64, weight: Int) -> Bool {
        credit = min(credit + WindowTuner.creditOfMiss, WindowTuner.creditLimit)
        return samples(mixed) && note(mixed, weight: weight)
    }

    private mutating func note(_ mixed: UInt64, weight: Int) -> Bool {
        for index in miniatures.indices where miniatures[index].access(mixed, weight: weight) { scores[index] += 1 }
        seen += 1
        return seen >= max(64, 4 * miniatures[choice].count) && judge()
    }

    /// The end of an epoch: who leads by more than chance takes over, and the past fades.
    private mutating func judge() -> Bool {
        seen = 0
        var best = choice
        for index in scores.indices where scores[index] > scores[best] { best = index }
        let isBetter = scores[best] > scores[choice] * 1.01 + 2
        if isBetter { choice = best }
        for index in scores.indices { scores[index] *= 0.8 }
        resize()
        return isBetter
    }

    /// The rate follows the number of entries, which is known only when the cache is full and may change with their weight.
    private mutating func resize() {
        let count = miniatures[choice].count
        if count >= WindowTuner.miniatureEntries * 2 {
            shift += 1
        } else if shift > 0, miniatures[choice].isFull, count < WindowTuner.miniatureEntries / 4 {
            shift -= 1
        } else {
            return
        }
        begin()
    }

    /// The cache has another capacity.
    mutating func setCapacity(_ capacity: Int) {
        self.capacity = capacity
        begin()
    }

    /// Empty miniatures; scores and choice stay.
    private mutating func begin() {
        mask = 1 << UInt64(shift) - 1
        seen = 0
        miniatures = WindowTuner.shares.map {
            Miniature(
                capacity: max(1, capacity >> shift), expectedEntries: WindowTuner.miniatureEntries, windowShare: $0)
        }
    }

    func encode(into writer: inout StateWriter) { writer.append(UInt8(choice)) }

    mutating func decode(from reader: inout StateReader) throws(StateError) {
        let choice = Int(try reader.next(UInt8.self))
        guard WindowTuner.shares.indices.contains(choice) else { throw .foreign }
        self.choice = choice
    }
}
