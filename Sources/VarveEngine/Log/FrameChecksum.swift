/// The checksum of a segment's frames: one number of two parts, under the segment's salt.
///
/// The low 48 bits are over everything behind it in the frame. The high 16 are the *header check*, over the fixed part
/// alone: whoever meets bytes at any place can tell by 16 of them that they begin no frame, without believing the length
/// that they claim. Who only chooses what is stored does not know the salt, so what he chooses passes by chance, one
/// time in 65,536. Both parts together are 64 bits of evidence for a frame that verifies.
struct FrameChecksum {
    private let salt: UInt64
    private let headerSeed: UInt64

    /// What the header check covers: length, kind, flags, codec, reserved byte, low LSN, low hash.
    private static let headerBytes = LogFormat.fixedFrameBytes - 8
    /// Where the header check begins in the checksum.
    private static let headerShift: UInt64 = 48
    /// "VARVEHDR", read as a little-endian integer. The seed of a frame is made of the salt and 32 bits of an LSN, so
    /// that of the header check is never the same.
    private static let headerWord: UInt64 = 0x5244_4845_5652_4156

    @inline(__always)
    init(salt: UInt64) {
        self.salt = salt
        headerSeed = XXH3.seed(salt, FrameChecksum.headerWord)
    }

    /// The hash of the fixed part of the frame at the beginning of `bytes`; the header check is its low 16 bits.
    @inline(__always)
    func headerHash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let covered = unsafe UnsafeRawBufferPointer(rebasing: bytes[8..<8 + FrameChecksum.headerBytes])
        return unsafe XXH3.hash64(covered, seed: headerSeed)
    }

    /// The header check within a checksum.
    @inline(__always)
    static func headerCheck(of checksum: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: checksum &>> headerShift) }

    /// The checksum of exactly one frame. Its own place, the first eight bytes, may hold anything.
    @inline(__always)
    func whole(_ frame: UnsafeRawBufferPointer) -> UInt64 { unsafe whole(frame, headerHash: headerHash(frame)) }

    /// The same where the header's hash is known.
    @inline(__always)
    func whole(_ frame: UnsafeRawBufferPointer, headerHash: UInt64) -> UInt64 {
        let lowLSN = unsafe UInt32(littleEndian: frame.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
        // Bytes of another segment, or of another place of this one, do not verify.
        let seed = XXH3.seed(salt, UInt64(lowLSN))
        let hash = unsafe XXH3.hash64(UnsafeRawBufferPointer(rebasing: frame[8...]), seed: seed)
        return headerHash &<< FrameChecksum.headerShift | hash & (1 &<< FrameChecksum.headerShift &- 1)
    }
}
