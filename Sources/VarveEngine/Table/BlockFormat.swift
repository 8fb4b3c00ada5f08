/// The form of a data block, shared by builder and reader. Every entry can be read without reading another, so a point
/// lookup touches the header, the fingerprints and one entry, and a cursor steps either way at the same cost.
///
///     u16 n          entries, at least 1
///     u16 p          length of the prefix that all keys share
///     u8  w          bytes of an LSN's distance to the base, 0...7
///     u8  0, u16 0   reserved
///     u64 base       smallest LSN
///     p bytes        the shared prefix of the full keys
///     n bytes        fingerprints: the low 8 bits of each key's hash (XXH3-64 of the full key)
///     n u16          where each entry begins, from the end of this array
///     entries        varint suffix length, suffix, kind u8, LSN - base (w bytes), entry bytes up to the next entry
///
/// Chosen over restart points with prefix compression between neighbours (LevelDB): those need a scan of half a restart
/// interval for each lookup and cannot step back. Under LZ4 both take about the same space. The fingerprints are an idea
/// of FPTree; the slot array is that of any slotted page. Format: docs/formats/table.md.
enum BlockFormat {
    static let headerBytes = 16
    static let prefixLimit = Int(UInt16.max)
    /// Offsets are 16 bits wide.
    static let entryLimit = Int(UInt16.max)

    /// Codec and checksum behind each block in the file.
    static let trailerBytes = 9
    /// Before the compressed bytes of an LZ4 block: its raw length, u32.
    static let rawLengthBytes = 4
    /// LZ4 cannot expand further than this, so a raw length beyond it is damage and allocates nothing.
    static let lz4Expansion = 255

    @inline(__always)
    static func fingerprint(_ keyHash: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: keyHash) }
}
