/// How a block's bytes are stored.
public enum BlockCodec: UInt8, Sendable, CaseIterable {
    case stored = 0
    case lz4 = 1
}

/// How a table is written. Nothing here binds a reader: a table says of each block how it is stored.
public struct TableOptions: Sendable, Hashable {
    /// Aimed-at size of a data block before compression. A larger entry gets a block of its own.
    public var blockBytes = 4096
    /// The codec of data blocks; one that does not shrink by an eighth is stored.
    public var codec = BlockCodec.lz4
    /// Bits of filter for each key; 0: no filter.
    public var filterBitsPerKey = 10
    /// Bytes collected before each write to the file. Writes but the last begin and end at multiples of it. Where it is what
    /// the processor maps at once (2 MiB), a kernel that has large pages for files (Linux: XFS from 5.18, ext4 from 6.16)
    /// takes one for each write, and maps it as one.
    public var writeBufferBytes = 2 << 20

    /// False: as tables were written before they said what each namespace has.
    var countsNamespaces = true
    /// False: as tables were written before they held a sample of their tags.
    var samplesTags = true

    public init() {}

    /// Offsets within a block are 16 bits wide, and every entry begins below the aimed-at size.
    static let blockByteRange = 256...32_768
    static let filterBitRange = 0...32
}
