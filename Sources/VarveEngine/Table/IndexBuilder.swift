/// The index of a table: for each data block a separator (a key at or after all of its keys and before those of the
/// next) and where it begins. It is used in place, as it lies in the file, and laid out for search: the first 8 bytes of
/// each separator behind the prefix that all share stand in one sorted array of integers, so that most lookups compare
/// whole keys never.
///
///     u32 n                blocks
///     u16 p, u16 flags     prefix length; bit 0: a trailer array is present
///     u64 dataEnd          where the last block ends
///     u32 tailBytes, u32 0
///     n u64                chunks: the 8 bytes of the separator behind the prefix, big-endian, zero filled (stored as
///                          little-endian integers)
///     n u64                where each block begins in the file; a block ends where the next begins
///     [n u64]              trailers: present where versions of one key span blocks; the separator's trailer there,
///                          0 (after every version) elsewhere
///     n + 1 u32            tails: where the separator's bytes behind prefix and chunk begin in the tail bytes
///     n u8                 how many bytes of the chunk belong to the separator, 0...8
///     p bytes, tail bytes
///
/// Idea: the prefix-truncated, poor man's normalised keys of Graefe's "Modern B-Tree Techniques".
/// Format: docs/formats/table.md.
enum IndexFormat {
    static let headerBytes = 24
    static let chunkBytes = 8
    static let hasTrailers: UInt16 = 1
    /// Block numbers are 24 bits wide in the block cache's keys.
    static let blockLimit = 1 << 24

    /// The first 8 bytes as an integer that sorts as they do, zero filled.
    @inline(__always)
    static func chunk(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        if bytes.count >= 8 { return unsafe UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)) }
        var word: UInt64 = 0
        for index in 0..<bytes.count { word |= unsafe UInt64(bytes[index]) << UInt64(56 - index * 8) }
        return word
    }
}

/// Collects separators and writes the index.
struct IndexBuilder: ~Copyable {
    private var separators: [[UInt8]] = []
    private var trailers: [UInt64] = []
    private var offsets: [UInt64] = []
    private var needsTrailers = false
    private var separatorBytes = 0

    var count: Int { offsets.count }
    var estimatedBytes: Int { IndexFormat.headerBytes + count * 21 + separatorBytes / 2 }

    /// Adds a block. `trailer` is 0 unless the next block goes on with versions of the same key.
    mutating func add(separator: [UInt8], trailer: Trailer, offset: UInt64) {
        precondition(count < IndexFormat.blockLimit, "a table has at most \(IndexFormat.blockLimit) blocks")
        separators.append(separator)
        trailers.append(trailer.rawValue)
        offsets.append(offset)
        if trailer != .oldest { needsTrailers = true }
        separatorBytes += separator.count
    }

    func finish(dataEnd: UInt64, into output: inout ByteBuffer) {
        var prefix: ArraySlice<UInt8> = separators.first?.prefix(BlockFormat.prefixLimit) ?? []
        for separator in separators {
            let shared = zip(prefix, separator).prefix { $0 == $1 }.count
            if shared < prefix.count { prefix = prefix.prefix(shared) }
        }
        let skipped = prefix.count + IndexFormat.chunkBytes
        let tailBytes = separators.reduce(0) { $0 + max(0, $1.count - skipped) }
        precondition(tailBytes <= Int(UInt32.max), "separators take less than 4 GiB")
        output.appendFixed(UInt32(offsets.count))
        output.appendFixed(UInt16(prefix.count))
        output.appendFixed(needsTrailers ? IndexFormat.hasTrailers : 0)
        output.appendFixed(dataEnd)
        output.appendFixed(UInt32(tailBytes))
        output.appendFixed(UInt32(0))
        for separator in separators {
            unsafe separator.withUnsafeBytes { bytes in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[prefix.count...])
                output.appendFixed(unsafe IndexFormat.chunk(rest))
            }
        }
        for offset in offsets { output.appendFixed(offset) }
        if needsTrailers { for trailer in trailers { output.appendFixed(trailer) } }
        var tail: UInt32 = 0
        for separator in separators {
            output.appendFixed(tail)
            tail += UInt32(max(0, separator.count - skipped))
        }
        output.appendFixed(tail)
        for separator in separators {
            output.append(UInt8(min(IndexFormat.chunkBytes, separator.count - prefix.count)))
        }
        output.append(Array(prefix))
        for separator in separators where separator.count > skipped { output.append(Array(separator[skipped...])) }
    }

    /// A short key at or after `last` and before `next`, which sorts after it.
    static func separator(after last: UnsafeRawBufferPointer, before next: UnsafeRawBufferPointer) -> [UInt8] {
        let shared = unsafe commonPrefix(last, next, atMost: .max)
        guard shared < last.count else { return unsafe Array(last) }
        // last[shared] < next[shared], since last < next. One more than last's byte still sorts before next where next
        // has a larger byte there or goes on behind it; it ends the separator.
        let byte = unsafe last[shared]
        let isBelow = unsafe byte + 1 < next[shared]
        if isBelow || (next.count > shared + 1), shared + 1 < last.count {
            return unsafe Array(last[..<shared]) + [byte + 1]
        }
        return unsafe Array(last)
    }
}
