internal import CXXHash

/// The 128-bit hash of an input as far as it was read (XXH3), by which a load that was killed is known again.
@safe
struct InputHash: ~Copyable {
    private let state: OpaquePointer

    struct Digest: Hashable, Sendable {
        var high: UInt64
        var low: UInt64
    }

    init() {
        guard let state = unsafe varve_xxh3_create() else { preconditionFailure("no memory for a hash state") }
        unsafe self.state = state
        unsafe varve_xxh3_reset(state)
    }

    deinit { unsafe varve_xxh3_free(state) }

    mutating func update(_ bytes: ArraySlice<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe varve_xxh3_update(state, $0.baseAddress, $0.count) }
    }

    /// Of all that came so far; more may follow.
    var digest: Digest {
        let hash = unsafe varve_xxh3_digest(state)
        return Digest(high: hash.high, low: hash.low)
    }
}
