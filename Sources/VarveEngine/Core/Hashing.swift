internal import CXXHash

/// XXH3 over raw bytes. Every checksum and key hash of the store comes from here.
enum XXH3 {
    /// 64 bits under a seed.
    @inline(__always)
    static func hash64(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
        unsafe varve_xxh3_64(bytes.baseAddress, bytes.count, seed)
    }

    /// 128 bits: the identity of a whole file's content.
    static func hash128(_ bytes: UnsafeRawBufferPointer) -> ContentHash {
        let hash = unsafe varve_xxh3_128(bytes.baseAddress, bytes.count, 0)
        return ContentHash(high: hash.high, low: hash.low)
    }

    /// Spreads two numbers over 64 bits: the seed of a block's checksum from file and offset, so that swapped blocks fail.
    @inline(__always)
    static func seed(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var z = a &* 0x9E37_79B9_7F4A_7C15 &+ b
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// 128 bits over a file's content.
public struct ContentHash: Hashable, Sendable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
    public var description: String { hexadecimal(high) + hexadecimal(low) }
}

/// The 128-bit hash of bytes that come in pieces, equal to `XXH3.hash128` of their concatenation.
@safe
struct ContentHasher: ~Copyable {
    private let state: OpaquePointer

    init() {
        guard let state = unsafe varve_xxh3_create() else { preconditionFailure("no memory for a hash state") }
        unsafe self.state = state
        unsafe varve_xxh3_reset(state)
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        unsafe varve_xxh3_update(state, bytes.baseAddress, bytes.count)
    }

    func finalize() -> ContentHash {
        let hash = unsafe varve_xxh3_digest(state)
        return ContentHash(high: hash.high, low: hash.low)
    }

    deinit { unsafe varve_xxh3_free(state) }
}
