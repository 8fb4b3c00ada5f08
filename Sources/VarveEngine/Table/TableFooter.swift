/// The last 128 bytes of a table. Everything else is found from here.
///
///     0    u32  format version (0)
///     4    u32  footer length (128)
///     8    u64  required features: a reader that misses one refuses the table by name
///     16   u64  optional features: bit 0, the properties say what each namespace has; bit 1, they hold a
///                    sample of tags
///     24   u64  file id
///     32   u64, u64  filter block: offset, size (both 0: none)
///     48   u64, u64  index block
///     64   u64, u64  range tombstone block (both 0: none)
///     80   u64, u64  properties block
///     96   u64  reserved, 0
///     104  u64  length of the file
///     112  u64  checksum: XXH3-64 over the 112 bytes before
///     120  8    magic "VARVESST"
///
/// Format: docs/formats/table.md.
struct TableFooter: Hashable, Sendable {
    static let byteCount = 128
    static let magic: [UInt8] = Array("VARVESST".utf8)
    static let version: UInt32 = 0
    /// Required features that this version knows: none yet.
    static let knownFeatures: UInt64 = 0
    /// Optional feature: the properties say what each namespace has. A manifest that a version without it has rewritten
    /// says so no longer.
    static let countsNamespaces: UInt64 = 1
    /// Optional feature: the properties hold a sample of tags. The same goes for the manifest.
    static let samplesTags: UInt64 = 2

    var requiredFeatures: UInt64 = 0
    var optionalFeatures: UInt64 = 0
    var fileID: UInt64
    var filter = BlockHandle.none
    var index: BlockHandle
    var rangeTombstones = BlockHandle.none
    var properties: BlockHandle
    var fileBytes: UInt64

    func encode(to buffer: inout ByteBuffer) {
        let start = buffer.count
        buffer.appendFixed(TableFooter.version)
        buffer.appendFixed(UInt32(TableFooter.byteCount))
        buffer.appendFixed(requiredFeatures)
        buffer.appendFixed(optionalFeatures)
        buffer.appendFixed(fileID)
        for handle in [filter, index, rangeTombstones, properties] {
            buffer.appendFixed(handle.offset)
            buffer.appendFixed(handle.size)
        }
        buffer.appendFixed(UInt64(0))
        buffer.appendFixed(fileBytes)
        let covered = unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[start...])
        buffer.appendFixed(unsafe XXH3.hash64(covered))
        buffer.append(TableFooter.magic)
    }

    /// Decodes the last bytes of a file of `fileBytes`.
    static func decode(_ bytes: UnsafeRawBufferPointer, fileBytes: UInt64) throws(DecodeError) -> TableFooter {
        guard bytes.count == byteCount else { throw .truncated }
        guard unsafe bytes[120...].elementsEqual(magic) else { throw .malformed("no table's magic at its end") }
        var reader = unsafe ByteReader(bytes)
        let version = try reader.fixed(UInt32.self)
        guard version == Self.version else { throw .unknown("table format version \(version)") }
        let covered = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<112])
        let checksum = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 112, as: UInt64.self))
        guard unsafe XXH3.hash64(covered) == checksum else { throw .malformed("the footer's checksum") }
        guard try reader.fixed(UInt32.self) == UInt32(byteCount) else { throw .malformed("the footer's length") }
        let required = try reader.fixed(UInt64.self)
        guard required & ~knownFeatures == 0 else {
            throw .unknown("required feature bits \(hexadecimal(required & ~knownFeatures))")
        }
        let optional = try reader.fixed(UInt64.self)
        let fileID = try reader.fixed(UInt64.self)
        func handle() throws(DecodeError) -> BlockHandle {
            let handle = BlockHandle(offset: try reader.fixed(), size: try reader.fixed())
            guard let end = handle.end, end <= fileBytes - UInt64(byteCount), handle.size <= Limits.metaBlockBytes
            else {
                throw .outOfRange("a block outside the file")
            }
            return handle
        }
        let (filter, index) = (try handle(), try handle())
        let (rangeTombstones, properties) = (try handle(), try handle())
        _ = try reader.fixed(UInt64.self)
        let footer = TableFooter(
            requiredFeatures: required, optionalFeatures: optional, fileID: fileID, filter: filter, index: index,
            rangeTombstones: rangeTombstones, properties: properties, fileBytes: try reader.fixed())
        guard footer.fileBytes == fileBytes else {
            throw .malformed("a file of \(fileBytes) bytes that should have \(footer.fileBytes)")
        }
        guard !footer.index.isNone, !footer.properties.isNone else { throw .malformed("a table without index") }
        return footer
    }
}
