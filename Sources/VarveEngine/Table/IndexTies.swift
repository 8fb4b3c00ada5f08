/// Tells apart the separators of an index whose chunks are equal.
///
/// An index keeps the eight bytes behind what all its separators share. A table of one namespace has hardly two alike; in
/// one of several, as every flush writes it, those bytes are used up by the namespace and leading digits, and thousands
/// of blocks are left to comparisons of whole keys. Here each run of equal ones gets a prefix and chunks of its own, in
/// memory, made when the table is opened.
final class IndexTies: Sendable {
    private struct Run {
        let blocks: Range<Int>
        /// What the tails of the run share.
        let prefix: [UInt8]
        /// Where the run's chunks begin in `chunks`.
        let first: Int
    }

    private let runs: [Run]
    /// The eight bytes behind the prefix of each block's tail, big-endian, zero-filled; ascending within a run.
    private let chunks: [UInt64]

    /// What a search among equal chunks comes to.
    enum Answer {
        case block(Int)
        /// These blocks' separators are equal so far; all before them sort before the key, all behind them after it.
        case among(Range<Int>)
    }

    /// Runs shorter than this are searched by whole keys.
    private static let shortestRun = 8

    /// Nil where there is no run worth it. `chunk` and `tail` tell of the blocks below `count`, which are in order.
    init?(count: Int, chunk: (Int) -> UInt64, tail: (Int) -> UnsafeRawBufferPointer?) {
        var runs: [Run] = []
        var chunks: [UInt64] = []
        var start = 0
        while start < count {
            var end = start + 1
            while end < count, chunk(end) == chunk(start) { end += 1 }
            defer { start = end }
            guard end - start >= IndexTies.shortestRun, let low = unsafe tail(start), let high = unsafe tail(end - 1)
            else { continue }
            // They are in order: what the first and the last share all share.
            let shared = unsafe commonPrefix(low, high, atMost: low.count)
            runs.append(Run(blocks: start..<end, prefix: unsafe Array(low[..<shared]), first: chunks.count))
            for block in start..<end {
                chunks.append(unsafe tail(block).map { unsafe IndexTies.chunk($0, after: shared) } ?? 0)
            }
        }
        if runs.isEmpty { return nil }
        self.runs = runs
        self.chunks = chunks
    }

    /// Where a key belongs among the blocks whose chunk equals its own, of which `block` is the first; `tail` is what
    /// follows that chunk in the key. Nil where the run is a short one.
    func search(from block: Int, _ tail: UnsafeRawBufferPointer) -> Answer? {
        guard let run = run(from: block) else { return nil }
        let shared = unsafe commonPrefix(tail, run.prefix, atMost: run.prefix.count)
        if shared < run.prefix.count {
            // A tail that ends within the prefix sorts before all of them.
            let isBefore = unsafe shared == tail.count || tail[shared] < run.prefix[shared]
            return .block(isBefore ? run.blocks.lowerBound : run.blocks.upperBound)
        }
        let wanted = unsafe IndexTies.chunk(tail, after: shared)
        let low = lowerBound(run.first, run.blocks.count) { chunks[$0] < wanted }
        let end = lowerBound(low, run.first + run.blocks.count - low) { chunks[$0] == wanted }
        let found = run.blocks.lowerBound + (low - run.first)
        return low == end ? .block(found) : .among(found..<found + (end - low))
    }

    private func run(from block: Int) -> Run? {
        let index = lowerBound(0, runs.count) { runs[$0].blocks.lowerBound < block }
        return index < runs.count && runs[index].blocks.lowerBound == block ? runs[index] : nil
    }

    /// The first of `count` indices from `start` on for which `isBefore` is false.
    @inline(__always)
    private func lowerBound(_ start: Int, _ count: Int, _ isBefore: (Int) -> Bool) -> Int {
        var (low, length) = (start, count)
        while length > 0 {
            let half = length >> 1
            if isBefore(low + half) {
                low += half + 1
                length -= half + 1
            } else {
                length = half
            }
        }
        return low
    }

    @inline(__always)
    private static func chunk(_ tail: UnsafeRawBufferPointer, after skipped: Int) -> UInt64 {
        unsafe IndexFormat.chunk(UnsafeRawBufferPointer(rebasing: tail[min(skipped, tail.count)...]))
    }
}

/// How many leading bytes `a` and `b` share, `limit` at most.
private func commonPrefix(_ a: UnsafeRawBufferPointer, _ b: [UInt8], atMost limit: Int) -> Int {
    unsafe b.withBytes { unsafe commonPrefix(a, $0, atMost: limit) }
}
