internal import Synchronization
internal import VarveIO

/// Words that any thread may read and change, one by one. Relaxed: what they hold are hints, and publish nothing.
///
/// There is address space for as many as there may ever be, and memory for those that there are: so they can double while
/// others read them.
@safe
final class AtomicWords: @unchecked Sendable {
    // Unchecked: every access to the words is atomic.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let present: Atomic<Int>
    /// Where the words lie if they may double; nil: on the heap.
    private let region: MemoryRegion?

    /// A power of two of words that are zero. `most`: how many `double` may bring.
    init(_ count: Int, most: Int = 0) {
        present = Atomic(count)
        let room = max(count, most)
        region = room > count ? try? MemoryRegion(reserving: room * MemoryLayout<UInt64>.stride) : nil
        if let region {
            unsafe words = region.base.bindMemory(to: Atomic<UInt64>.self, capacity: room)
        } else {
            unsafe words = .allocate(capacity: room)
        }
        for index in 0..<count { unsafe (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe words.deinitialize(count: count)
        if region == nil { unsafe words.deallocate() }
    }

    @inline(__always)
    var count: Int { present.load(ordering: .acquiring) }

    /// Doubles the words, the new half a copy of the old: what is found by more bits of a hash from now on is found where it
    /// was or there. What others change meanwhile the copy may lack. One thread at a time, and never beyond `most`.
    func double() {
        let count = count
        for index in 0..<count { unsafe (words + count + index).initialize(to: Atomic(load(index))) }
        // Who sees more words sees them initialised.
        present.store(count * 2, ordering: .releasing)
    }

    @inline(__always)
    func load(_ index: Int) -> UInt64 { unsafe words[index].load(ordering: .relaxed) }
    func store(_ index: Int, _ word: UInt64) { unsafe words[index].store(word, ordering: .relaxed) }
    func or(_ index: Int, _ bits: UInt64) { unsafe words[index].bitwiseOr(bits, ordering: .relaxed) }
    /// False where another thread changed the word meanwhile.
    func replace(_ index: Int, _ old: UInt64, with new: UInt64) -> Bool {
        unsafe words[index].compareExchange(expected: old, desired: new, ordering: .relaxed).exchanged
    }
    func clear() {
        for index in 0..<count { unsafe words[index].store(0, ordering: .relaxed) }
    }
}

/// Words as bytes, short where most are zero: a bit for each word, then those that are not zero.
extension AtomicWords {
    /// A word that others change meanwhile is written as it was found then, or as zero.
    func encode(to buffer: inout ByteBuffer, _ keep: (UInt64) -> Bool = { _ in true }) {
        let count = count
        var masks: [UInt64] = []
        masks.reserveCapacity(count / 64 + 1)
        for first in stride(from: 0, to: count, by: 64) {
            var bits: UInt64 = 0
            for index in first..<min(first + 64, count) {
                let word = load(index)
                if word != 0, keep(word) { bits |= 1 << UInt64(index - first) }
            }
            masks.append(bits)
        }
        // And a checksum.
        buffer.reserve((masks.count + masks.reduce(0) { $0 + $1.nonzeroBitCount } + 1) * 8)
        for bits in masks { buffer.appendFixed(bits) }
        for (group, bits) in masks.enumerated() {
            var rest = bits
            while rest != 0 {
                buffer.appendFixed(load(group * 64 + rest.trailingZeroBitCount))
                rest &= rest &- 1
            }
        }
    }

    /// Takes over what `encode` wrote for as many words. Where it throws, nothing has changed.
    func decode(_ reader: inout ByteReader) throws(DecodeError) {
        var bits: [UInt64] = []
        for _ in stride(from: 0, to: count, by: 64) { bits.append(try reader.fixed()) }
        var words = [UInt64](repeating: 0, count: count)
        for index in 0..<count where bits[index / 64] & 1 << UInt64(index % 64) != 0 {
            words[index] = try reader.fixed()
        }
        for (index, word) in words.enumerated() { store(index, word) }
    }
}
