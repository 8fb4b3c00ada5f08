internal import CVarveHints
internal import Synchronization

/// What is remembered of each block of an open table: whether it was verified and is served from the map, and whether the
/// kernel had it in memory when last asked. Two bits a block; safe on any thread.
@safe
struct BlockStates: ~Copyable, @unchecked Sendable {
    // Unchecked: the words are atomics in memory of their own.
    private let mapped: UnsafeMutablePointer<Atomic<UInt64>>
    private let resident: UnsafeMutablePointer<Atomic<UInt64>>
    private let words: Int

    init(count: Int) {
        words = count / 64 + 1
        unsafe mapped = .allocate(capacity: words)
        unsafe resident = .allocate(capacity: words)
        for index in 0..<words {
            unsafe (mapped + index).initialize(to: Atomic(0))
            unsafe (resident + index).initialize(to: Atomic(0))
        }
    }

    deinit {
        unsafe mapped.deinitialize(count: words)
        unsafe mapped.deallocate()
        unsafe resident.deinitialize(count: words)
        unsafe resident.deallocate()
    }

    /// Has the processor fetch what is remembered of a block.
    @inline(__always)
    func prefetch(_ block: Int) { unsafe varve_prefetch(mapped + block &>> 6) }

    /// Relaxed: the bit carries no other memory with it; the map's bytes were there before.
    @inline(__always)
    func isMapped(_ block: Int) -> Bool {
        unsafe mapped[block &>> 6].load(ordering: .relaxed) & (1 &<< UInt64(block & 63)) != 0
    }
    func setMapped(_ block: Int) {
        _ = unsafe mapped[block >> 6].bitwiseOr(1 << UInt64(block & 63), ordering: .relaxed)
    }
    func isResident(_ block: Int) -> Bool {
        unsafe resident[block >> 6].load(ordering: .relaxed) & (1 << UInt64(block & 63)) != 0
    }
    func setResident(_ block: Int) {
        _ = unsafe resident[block >> 6].bitwiseOr(1 << UInt64(block & 63), ordering: .relaxed)
    }
    /// Up to `count` blocks that are remembered as resident, from the word `start` on, at most one of each word.
    func sampleResident(_ count: Int, from start: Int) -> [Int] {
        var sample: [Int] = []
        for step in 0..<words where sample.count < count {
            let word = (start + step) % words
            let bits = unsafe resident[word].load(ordering: .relaxed)
            if bits != 0 { sample.append(word * 64 + bits.trailingZeroBitCount) }
        }
        return sample
    }

    /// Where a sample begins.
    var randomWord: Int { Int.random(in: 0..<words) }

    func forgetResidency() {
        for index in 0..<words { unsafe resident[index].store(0, ordering: .relaxed) }
    }
}
