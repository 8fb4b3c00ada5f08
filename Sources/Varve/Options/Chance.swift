internal import Synchronization

/// Draws numbers by chance: early refresh and jitter. A counter mixed by SplitMix64's finalizer (Steele, Lea, Flood 2014),
/// so that any thread draws without a lock and a test that gives the seed knows what comes.
@usableFromInline
final class Chance: Sendable {
    private let state: Atomic<UInt64>

    init(seed: UInt64 = .random(in: 0 ... .max)) { state = Atomic(seed) }

    /// A number in 0..<1.
    func draw() -> Double {
        var mixed = state.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).newValue
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return Double(mixed >> 11) * 0x1p-53
    }
}
