internal import CXXHash

/// The hash of a key's bytes: XXH3 under the store's seed. The same in every process that opens the store, so that
/// frequencies and ghosts outlive a restart.
@usableFromInline
func stableHash(_ bytes: RawSpan, seed: UInt64) -> UInt64 {
    unsafe bytes.withUnsafeBytes { unsafe varve_xxh3_64($0.baseAddress, $0.count, seed) }
}
