internal import CVarveHints

/// The last of every eight chunks of an index, in memory of its own.
///
/// Eight chunks fill a line of the processor's cache, and so do the places of their blocks. A search goes down these few
/// first: then all that it will look at has a known place and is fetched at once, where a search of the chunks alone
/// waits for one after the other. A byte for each block, and two levels of a B+-tree without pointers (Rao and Ross,
/// "Making B+-Trees Cache Conscious in Main Memory").
@safe
struct IndexGuide {
    static let blocksPerGroup = 8

    private let memory: Memory
    private let lasts: UnsafePointer<UInt64>
    /// Groups that are full; blocks behind them belong to one more.
    private let count: Int

    /// `chunk` tells of the blocks below `count`, which are in order.
    init(count: Int, chunk: (Int) -> UInt64) {
        self.count = count / IndexGuide.blocksPerGroup
        memory = Memory(self.count)
        unsafe lasts = UnsafePointer(memory.words)
        for group in 0..<self.count {
            unsafe memory.words[group] = chunk((group + 1) * IndexGuide.blocksPerGroup - 1)
        }
    }

    /// The first block of the group in which the first chunk at or after `wanted` stands, or the blocks' end.
    @inline(__always)
    func firstBlock(ofGroupFor wanted: UInt64) -> Int {
        var low = 0
        var length = count
        while length > 1 {
            let half = length &>> 1
            length &-= half
            // A step is a guess that fails every other time, so none is made; and since either half may be next, the middle
            // of both is fetched.
            unsafe varve_prefetch(lasts + (low &+ length &>> 1))
            unsafe varve_prefetch(lasts + (low &+ half &+ length &>> 1))
            low &+= half & (0 &- isBefore(low &+ half &- 1, wanted))
        }
        if low < count { low &+= isBefore(low, wanted) }
        return low &* IndexGuide.blocksPerGroup
    }

    /// 1 where the group lies before a chunk, without a branch.
    @inline(__always)
    private func isBefore(_ group: Int, _ wanted: UInt64) -> Int {
        unsafe lasts[group].subtractingReportingOverflow(wanted).overflow ? 1 : 0
    }

    /// Constant once the guide is made.
    @safe
    private final class Memory {
        let words: UnsafeMutablePointer<UInt64>

        init(_ count: Int) {
            unsafe words = .allocate(capacity: count)
            unsafe words.initialize(repeating: 0, count: count)
        }

        deinit { unsafe words.deallocate() }
    }
}
