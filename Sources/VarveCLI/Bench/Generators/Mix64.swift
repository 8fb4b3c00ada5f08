/// The mixing functions from which every key order and value of the bench is made. Defined with wrapping 64-bit
/// arithmetic so that a program in another language makes the same bits (finaliser of splitmix64, Steele et al. 2014).
enum Mix64 {
    /// 2^64 divided by the golden ratio: the step of splitmix64.
    static let step: UInt64 = 0x9E37_79B9_7F4A_7C15

    @inline(__always)
    static func finalize(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    @inline(__always)
    static func mix(_ value: UInt64) -> UInt64 { finalize(value &+ step) }
}

/// The bench's stream of random numbers: one for each (seed, thread), the same on every machine.
struct Rng {
    private var state: UInt64

    init(seed: UInt64, thread: UInt64 = 0) { state = Mix64.mix(seed &* 1000 &+ thread) }

    @inline(__always)
    mutating func next() -> UInt64 {
        let result = Mix64.mix(state)
        state &+= Mix64.step
        return result
    }

    /// A number below `bound`: the high half of a 128-bit product.
    @inline(__always)
    mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

    /// A number in [0, 1) with 53 random bits.
    @inline(__always)
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
