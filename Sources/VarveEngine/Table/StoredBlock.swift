internal import CLZ4

/// Blocks as they lie in the file: payload, codec u8, checksum u64. The checksum is XXH3-64 over payload and codec, seeded
/// by the table's file id and the block's offset, so that a block in another's place fails. An LZ4 payload begins with the
/// raw length (u32).
enum StoredBlock {
    static func seed(fileID: UInt64, offset: UInt64) -> UInt64 { XXH3.seed(fileID, offset) }

    /// Appends `payload`, which stands from `start` to the end of `output`, its trailer.
    static func seal(_ output: inout ByteBuffer, from start: Int, codec: BlockCodec, fileID: UInt64, offset: UInt64) {
        output.append(codec.rawValue)
        let covered = unsafe UnsafeRawBufferPointer(rebasing: output.bytes[start...])
        output.appendFixed(unsafe XXH3.hash64(covered, seed: seed(fileID: fileID, offset: offset)))
    }

    /// Checks a block's trailer and returns codec and payload.
    static func open(
        _ bytes: UnsafeRawBufferPointer, fileID: UInt64, offset: UInt64, path: String
    ) throws(VarveError) -> (BlockCodec, UnsafeRawBufferPointer) {
        let payload = bytes.count - BlockFormat.trailerBytes
        guard payload >= 0 else { throw .corruption("a block of \(bytes.count) bytes", path: path, offset: offset) }
        let expected = unsafe UInt64(
            littleEndian: bytes.loadUnaligned(fromByteOffset: payload + 1, as: UInt64.self))
        let covered = unsafe UnsafeRawBufferPointer(rebasing: bytes[...payload])
        let found = unsafe XXH3.hash64(covered, seed: seed(fileID: fileID, offset: offset))
        guard expected == found else {
            throw .corruption("a block's checksum", path: path, offset: offset, expected: expected, found: found)
        }
        guard let codec = unsafe BlockCodec(rawValue: bytes[payload]) else {
            throw .corruption(
                .unknown("a block of codec \(unsafe bytes[payload])"), in: "the table", path: path, offset: offset)
        }
        return unsafe (codec, UnsafeRawBufferPointer(rebasing: bytes[..<payload]))
    }

    /// The raw length of an LZ4 payload, believed only as far as LZ4 can expand.
    static func rawLength(ofLZ4 payload: UnsafeRawBufferPointer) throws(DecodeError) -> Int {
        guard payload.count > BlockFormat.rawLengthBytes else { throw .truncated }
        let length = unsafe Int(UInt32(littleEndian: payload.loadUnaligned(as: UInt32.self)))
        guard length > 0, length <= Limits.blockBytes, length / BlockFormat.lz4Expansion <= payload.count else {
            throw .outOfRange("a block of \(length) bytes in \(payload.count)")
        }
        return length
    }

    /// Fills `target`, which has exactly the raw length.
    static func decompress(
        lz4 payload: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) throws(DecodeError) {
        let source = unsafe payload.baseAddress.map { unsafe $0 + BlockFormat.rawLengthBytes }
        let size = payload.count - BlockFormat.rawLengthBytes
        guard let source = unsafe source, let destination = target.baseAddress, size <= Int(Int32.max) else {
            throw .malformed("an empty LZ4 block")
        }
        let written = unsafe LZ4_decompress_safe(
            source.assumingMemoryBound(to: CChar.self), destination.assumingMemoryBound(to: CChar.self), Int32(size),
            Int32(target.count))
        guard Int(written) == target.count else { throw .malformed("an LZ4 block that does not expand to its length") }
    }
}

/// Compresses blocks one by one, each by itself. One thread at a time.
///
/// The stream's hash table is reset by `LZ4_resetStream_fast`, which does not clear its 16 KiB for every block of 4.
@safe
struct BlockCompressor: ~Copyable {
    private let stream: UnsafeMutablePointer<LZ4_stream_t>

    init() {
        guard let stream = unsafe LZ4_createStream() else { preconditionFailure("no memory for an LZ4 stream") }
        unsafe self.stream = stream
    }

    deinit { _ = unsafe LZ4_freeStream(stream) }

    /// Appends the LZ4 payload of `raw`; false, and nothing appended, where it would not shrink by an eighth.
    mutating func append(_ raw: UnsafeRawBufferPointer, to output: inout ByteBuffer) -> Bool {
        let wanted = raw.count - raw.count / 8 - BlockFormat.rawLengthBytes
        guard wanted > 0, raw.count <= Int(LZ4_MAX_INPUT_SIZE), let source = raw.baseAddress else {
            return false
        }
        let start = output.count
        output.appendFixed(UInt32(raw.count))
        unsafe output.append(maximum: wanted) { room in
            unsafe LZ4_resetStream_fast(stream)
            guard let target = room.baseAddress else { return 0 }
            let size = unsafe LZ4_compress_fast_continue(
                stream, source.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self),
                Int32(raw.count), Int32(room.count), 1)
            return Int(max(0, size))
        }
        if output.count > start + BlockFormat.rawLengthBytes { return true }
        output.truncate(to: start)
        return false
    }
}
