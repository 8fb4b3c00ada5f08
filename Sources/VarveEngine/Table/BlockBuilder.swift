internal import Glibc

/// Collects entries in order and writes them as one data block (`BlockFormat`).
///
/// Prefix and LSN base are known only when the block is complete, so entries wait in a staging buffer.
/// One thread at a time; it is reused from block to block and then allocates nothing.
@safe
struct BlockBuilder: ~Copyable {
    private struct Staged {
        var keyOffset: Int
        var keyLength: Int
        var entryLength: Int
        var trailer: Trailer
        var fingerprint: UInt8
    }

    private var staged: [Staged] = []
    /// Keys and entries, one behind the other.
    private var staging = ByteBuffer(capacity: 8192)
    private(set) var prefixLength = 0
    private var keyBytes = 0
    private var entryBytes = 0
    private var smallestLSN = UInt64.max
    private var largestLSN: UInt64 = 0

    init() {}

    var count: Int { staged.count }
    var isEmpty: Bool { staged.isEmpty }

    /// The first key of the block. Only while it is not empty; valid until the next mutation.
    var firstKey: UnsafeRawBufferPointer { unsafe key(of: staged[0]) }
    var lastKey: UnsafeRawBufferPointer { unsafe key(of: staged[staged.count - 1]) }
    var lastTrailer: Trailer { staged[staged.count - 1].trailer }

    private func key(of entry: Staged) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: staging.bytes[entry.keyOffset..<entry.keyOffset + entry.keyLength])
    }

    /// The size of the block if it ended here.
    @inline(__always)
    var estimatedBytes: Int {
        let count = staged.count
        if count == 0 { return 0 }
        let suffixes = keyBytes - count * prefixLength
        return BlockFormat.headerBytes + prefixLength + count * (5 + lsnWidth) + suffixes + entryBytes
    }

    private var lsnWidth: Int { (64 - (largestLSN - smallestLSN).leadingZeroBitCount + 7) / 8 }

    /// Adds an entry; the caller keeps them in order.
    mutating func add(
        _ key: UnsafeRawBufferPointer, hash: UInt64, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer
    ) {
        if staged.isEmpty {
            prefixLength = min(key.count, BlockFormat.prefixLimit)
        } else {
            prefixLength = unsafe commonPrefix(firstKey, key, atMost: prefixLength)
        }
        staged.append(
            Staged(
                keyOffset: staging.count, keyLength: key.count, entryLength: entry.count, trailer: trailer,
                fingerprint: BlockFormat.fingerprint(hash)))
        unsafe staging.append(key)
        unsafe staging.append(entry)
        keyBytes += key.count
        entryBytes += entry.count
        smallestLSN = min(smallestLSN, trailer.lsn.rawValue)
        largestLSN = max(largestLSN, trailer.lsn.rawValue)
    }

    /// Appends the block to `output` and begins the next one.
    mutating func finish(into output: inout ByteBuffer) {
        precondition(!staged.isEmpty && staged.count <= BlockFormat.entryLimit, "a block holds 1 to 65535 entries")
        let width = lsnWidth
        output.appendFixed(UInt16(staged.count))
        output.appendFixed(UInt16(prefixLength))
        output.append(UInt8(width))
        output.append(0)
        output.appendFixed(UInt16(0))
        output.appendFixed(smallestLSN)
        unsafe output.append(UnsafeRawBufferPointer(rebasing: firstKey[..<prefixLength]))
        for entry in staged { output.append(entry.fingerprint) }
        let offsets = output.count
        for _ in staged { output.appendFixed(UInt16(0)) }
        let heap = output.count
        let bytes = unsafe staging.bytes
        for (index, entry) in staged.enumerated() {
            guard let offset = UInt16(exactly: output.count - heap) else {
                preconditionFailure("every entry begins in the first 64 KiB of its block")
            }
            output.overwriteFixed(offset, at: offsets + index * 2)
            let suffix = unsafe bytes[entry.keyOffset + prefixLength..<entry.keyOffset + entry.keyLength]
            unsafe output.appendVarint(UInt64(suffix.count))
            unsafe output.append(UnsafeRawBufferPointer(rebasing: suffix))
            output.append(UInt8(truncatingIfNeeded: entry.trailer.rawValue))
            var distance = entry.trailer.lsn.rawValue - smallestLSN
            for _ in 0..<width {
                output.append(UInt8(truncatingIfNeeded: distance))
                distance >>= 8
            }
            let start = entry.keyOffset + entry.keyLength
            unsafe output.append(UnsafeRawBufferPointer(rebasing: bytes[start..<start + entry.entryLength]))
        }
        removeAll()
    }

    private mutating func removeAll() {
        staged.removeAll(keepingCapacity: true)
        staging.removeAll()
        prefixLength = 0
        keyBytes = 0
        entryBytes = 0
        smallestLSN = .max
        largestLSN = 0
    }
}

/// How many leading bytes `a` and `b` share, `limit` at most.
@inline(__always)
func commonPrefix(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, atMost limit: Int) -> Int {
    let end = min(limit, a.count, b.count)
    var index = 0
    while index + 8 <= end {
        let left = unsafe a.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        let right = unsafe b.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        if left != right { return index + (left ^ right).littleEndian.trailingZeroBitCount / 8 }
        index += 8
    }
    while index < end, unsafe a[index] == b[index] { index += 1 }
    return index
}
