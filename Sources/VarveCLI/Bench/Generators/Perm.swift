/// A bijection on [0, count): shuffles any number of ids without a table. A four-round balanced Feistel network over
/// the next even number of bits, walked until it falls below `count`.
struct Perm: Sendable {
    private let count: UInt64
    private let seed: UInt64
    private let half: UInt64
    private let mask: UInt64

    init(_ count: UInt64, seed: UInt64) {
        precondition(count > 0, "a permutation of nothing has no values")
        self.count = count
        self.seed = seed
        var bits: UInt64 = 2
        while bits < 62, (1 as UInt64) << bits < count { bits += 2 }
        half = bits / 2
        mask = (1 << half) - 1
    }

    @inline(__always)
    func callAsFunction(_ index: UInt64) -> UInt64 {
        var x = index
        repeat {
            var left = x >> half
            var right = x & mask
            for round in 0..<4 as Range<UInt64> {
                let mixed = left ^ (Mix64.mix(((seed &* 8 &+ round) << 32) &+ right) & mask)
                left = right
                right = mixed
            }
            x = left << half | right
        } while x >= count
        return x
    }
}
