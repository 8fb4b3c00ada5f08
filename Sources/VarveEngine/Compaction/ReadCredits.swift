internal import Synchronization

/// Which keys were read since they were written or last passed over: up to three credits for each.
///
/// A word holds four keys: 14 bits of the key's hash and two of credits, in the word that other bits of the hash pick.
/// Four to eight bytes for each expected key; one key in some thousands is taken for read that was not. Where five keys
/// meet in a word one is forgotten. Keys that no pass ever meets (they were deleted, or only in memory) would pile up:
/// when three in four places are taken every key loses a credit. After `double` a key's credit stands in a second word as
/// well, where nobody looks for it, until it ages away.
///
/// Any thread, no locks: of two changes that meet one may be lost, which costs a little hit ratio.
final class ReadCredits: Sendable {
    let words: AtomicWords
    private let taken = Atomic<Int>(0)
    private let isAging = Atomic<Bool>(false)

    /// `growth`: how many times as large it may become.
    init(expectedKeys: Int, growth: Int = 1) {
        var count = 64
        while count * 2 < expectedKeys { count *= 2 }
        words = AtomicWords(count, most: count * growth)
    }

    /// For twice as many keys. One thread at a time.
    func double() {
        words.double()
        recount()
    }

    @inline(__always)
    private func place(_ hash: UInt64) -> (word: Int, tag: UInt64) {
        (Int(truncatingIfNeeded: hash & UInt64(words.count - 1)), hash >> 50)
    }

    /// The position of a key's sixteen bits in its word; nil where it has no credit.
    @inline(__always)
    private func shift(of tag: UInt64, in word: UInt64) -> UInt64? {
        for shift in stride(from: 0, to: 64, by: 16) as StrideTo<UInt64> {
            let slot = word >> shift & 0xFFFF
            if slot >> 2 == tag, slot & 3 != 0 { return shift }
        }
        return nil
    }

    @inline(__always)
    func add(_ hash: UInt64) {
        let (index, tag) = place(hash)
        let word = words.load(index)
        guard let shift = shift(of: tag, in: word) else { return enter(index, tag, word) }
        // Looked at first: a write to a line that other threads read is dear, and hot keys have their credit already.
        if word >> shift & 3 < 3 { _ = words.replace(index, word, with: word &+ 1 << shift) }
    }

    private func enter(_ index: Int, _ tag: UInt64, _ word: UInt64) {
        let slot = tag << 2 | 1
        for shift in stride(from: 0, to: 64, by: 16) as StrideTo<UInt64> where word >> shift & 3 == 0 {
            let new = word & ~(0xFFFF << shift) | slot << shift
            guard words.replace(index, word, with: new) else { return }
            if taken.add(1, ordering: .relaxed).newValue > words.count * 3 { age() }
            return
        }
        let shift = (tag & 3) * 16
        _ = words.replace(index, word, with: word & ~(0xFFFF << shift) | slot << shift)
    }

    func credits(of hash: UInt64) -> Int {
        let (index, tag) = place(hash)
        let word = words.load(index)
        return shift(of: tag, in: word).map { Int(word >> $0 & 3) } ?? 0
    }

    /// Leaves a key at most so many credits.
    func lower(_ hash: UInt64, to credits: Int) {
        let (index, tag) = place(hash)
        let word = words.load(index)
        guard let shift = shift(of: tag, in: word), word >> shift & 3 > UInt64(credits) else { return }
        let new = word & ~(3 << shift) | UInt64(credits) << shift
        if words.replace(index, word, with: new), credits == 0 { taken.subtract(1, ordering: .relaxed) }
    }

    @inline(never)
    private func age() {
        guard !isAging.exchange(true, ordering: .relaxed) else { return }
        for index in 0..<words.count {
            let word = words.load(index)
            // One off each pair of credit bits that is not zero.
            let some = (word | word >> 1) & 0x0001_0001_0001_0001
            words.store(index, word &- some)
        }
        recount()
        isAging.store(false, ordering: .relaxed)
    }

    /// After the words were replaced.
    func recount() {
        var count = 0
        for index in 0..<words.count {
            let word = words.load(index)
            count += ((word | word >> 1) & 0x0001_0001_0001_0001).nonzeroBitCount
        }
        taken.store(count, ordering: .relaxed)
    }
}
