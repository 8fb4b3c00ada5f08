/// A small seeded source of randomness: the same seed gives the same run everywhere. Put the seed into the message of
/// what fails.
public struct SplitMix: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678 }

    /// The same for a course whose steps take as many numbers as they need. The streams of seeds side by side are one and the
    /// same, a number apart, so that such courses would soon run into each other.
    public init(course seed: UInt64) {
        var one = SplitMix(seed)
        self.init(one.next())
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    public mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }
}
