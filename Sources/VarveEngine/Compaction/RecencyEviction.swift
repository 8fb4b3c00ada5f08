internal import Synchronization

/// The policy that a store has unless it is given another: what was not read lately goes first, the oldest first among
/// that.
///
/// Reads are remembered in two generations of a bit sketch. A read sets two bits of the present one; when about as many
/// reads as would fill it have come, the generations change places and the older is cleared. So "read lately" means
/// within the last one to two generations, in 32 KiB of memory for each 64 Ki keys, without locks: a lost or a false
/// bit costs a little hit ratio and nothing else.
///
/// Idea: the aging of TinyLFU's door keeper, with recency in place of counts.
public final class RecencyEviction: EvictionPolicy {
    private let generations: [ReadSketch]
    private let present = Atomic<Int>(0)
    /// Bits newly set in the present generation.
    private let set = Atomic<Int>(0)
    private let capacity: Int

    /// `expectedKeys`: how many different keys one generation remembers. 1024...
    public init(expectedKeys: Int = 1 << 20) {
        capacity = max(1024, expectedKeys)
        generations = [ReadSketch(keys: capacity), ReadSketch(keys: capacity)]
    }

    public func recordRead(keyHash: UInt64) {
        // Relaxed throughout: bits and counts are hints, and publish nothing.
        let index = present.load(ordering: .relaxed)
        if generations[index].insert(keyHash) {
            let count = set.add(1, ordering: .relaxed).newValue
            if count == capacity { rotate(from: index) }
        }
    }

    /// One thread gets here for each generation: the one whose read filled it.
    private func rotate(from index: Int) {
        generations[1 - index].clear()
        set.store(0, ordering: .relaxed)
        present.store(1 - index, ordering: .relaxed)
    }

    /// How lately a key was read: 2 in the present generation, 1 in the one before, 0 not.
    public func warmth(ofKeyHash hash: UInt64) -> Int {
        let index = present.load(ordering: .relaxed)
        if generations[index].contains(hash) { return 2 }
        return generations[1 - index].contains(hash) ? 1 : 0
    }

    public func makePass(_ goal: EvictionGoal) -> any EvictionPass { RecencyPass(self, goal) }
}

/// Bits by key hash; two for each key, in one word.
private final class ReadSketch: Sendable {
    private let words: AtomicWords
    private let mask: UInt64

    init(keys: Int) {
        // Four bits for each key: half full, about one key in ten is taken for read.
        var count = 16
        while count * 64 < keys * 4 { count *= 2 }
        words = AtomicWords(count)
        mask = UInt64(count - 1)
    }

    private func place(_ hash: UInt64) -> (word: Int, bits: UInt64) {
        let bits = UInt64(1) << (hash >> 58) | UInt64(1) << (hash >> 52 & 63)
        return (Int(truncatingIfNeeded: hash & mask), bits)
    }

    /// Whether it was not there before.
    func insert(_ hash: UInt64) -> Bool {
        let (word, bits) = place(hash)
        // Looked at first: a write to a line that other threads read is dear, and hot keys are there already.
        if words.load(word) & bits == bits { return false }
        words.or(word, bits)
        return true
    }

    func contains(_ hash: UInt64) -> Bool {
        let (word, bits) = place(hash)
        return words.load(word) & bits == bits
    }

    func clear() { words.clear() }
}

/// One pass: gives each entry a warmth in 0..<3 (its generation, plus how young it is in 0..<1) and evicts what is
/// colder than a threshold. The threshold is moved so that the bytes evicted follow the wanted share of the bytes seen,
/// whatever part of the keys was read.
final class RecencyPass: EvictionPass {
    private let policy: RecencyEviction
    private let goal: EvictionGoal
    private var threshold: Double
    private var seen = 0.0
    private var evicted = 0.0

    init(_ policy: RecencyEviction, _ goal: EvictionGoal) {
        self.policy = policy
        self.goal = goal
        threshold = min(1, max(0, goal.share))
    }

    func shouldEvict(_ candidate: EvictionCandidate) -> Bool {
        if candidate.wasUsed { policy.recordRead(keyHash: candidate.keyHash) }
        let bytes = Double(candidate.bytes)
        seen += bytes
        let isCold = warmth(of: candidate) < threshold
        if isCold { evicted += bytes }
        // Steps in proportion to what one entry moves, so that long and short passes settle alike.
        let behind = goal.share * seen - evicted
        let step = bytes / max(bytes, Double(goal.inputBytes)) * 16
        let nudge = min(0.05, max(step, 0.0005))
        threshold += behind > 0 ? nudge : -nudge
        threshold = min(3, max(0, threshold))
        return isCold
    }

    private func warmth(of candidate: EvictionCandidate) -> Double {
        let span = goal.newest.rawValue > goal.oldest.rawValue ? goal.newest.rawValue - goal.oldest.rawValue : 0
        let above =
            candidate.version.rawValue > goal.oldest.rawValue
            ? candidate.version.rawValue - goal.oldest.rawValue : 0
        let youth = span == 0 ? 0 : min(0.999, Double(above) / Double(span))
        return Double(policy.warmth(ofKeyHash: candidate.keyHash)) + youth
    }
}
