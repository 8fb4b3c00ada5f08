/// Where a block lies in its table: offset and size in bytes, its trailer (codec and checksum) included.
///
/// On disk two varints: offset, size. Format: docs/formats/table.md.
struct BlockHandle: Hashable, Sendable {
    let offset: UInt64
    let size: UInt64

    /// No block at all (an optional part that a table does not have).
    static let none = BlockHandle(offset: 0, size: 0)

    var isNone: Bool { size == 0 }
    /// The first byte behind the block; nil where no file can be that long.
    var end: UInt64? {
        let (sum, overflow) = offset.addingReportingOverflow(size)
        return overflow || sum > UInt64(Int64.max) ? nil : sum
    }

    func encode(to buffer: inout ByteBuffer) {
        buffer.appendVarint(offset)
        buffer.appendVarint(size)
    }

    static func decode(from reader: inout ByteReader) throws(DecodeError) -> BlockHandle {
        let handle = BlockHandle(offset: try reader.varint(), size: try reader.varint())
        guard handle.end != nil else { throw .outOfRange("a block beyond any file's length") }
        return handle
    }
}
