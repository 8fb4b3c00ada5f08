internal import CVarveHints

/// Searches an index in place. Holds no owner: the bytes must outlive it.
///
/// `init` checks every number once; lookups measure again what they follow out of the fixed arrays, since a mapped page
/// may turn to zeros under us.
@safe
struct BlockIndex {
    let count: Int
    let dataEnd: UInt64
    private let chunks: UnsafeRawPointer
    private let offsets: UnsafeRawPointer
    /// Nil where no key's versions span blocks.
    private let trailers: UnsafeRawPointer?
    private let tailOffsets: UnsafeRawPointer
    private let chunkLengths: UnsafeRawPointer
    private let prefix: UnsafeRawBufferPointer
    private let tails: UnsafeRawBufferPointer
    /// Nil where the chunks alone tell nearly all separators apart.
    private var ties: IndexTies?
    private let guide: IndexGuide
    /// Whether each chunk tells how many of its bytes belong to the separator: those up to the last that is not 0.
    private var chunksTellLengths = false

    init(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = unsafe ByteReader(bytes)
        count = Int(try reader.fixed(UInt32.self))
        let prefixLength = Int(try reader.fixed(UInt16.self))
        let flags = try reader.fixed(UInt16.self)
        dataEnd = try reader.fixed()
        let tailBytes = Int(try reader.fixed(UInt32.self))
        _ = try reader.fixed(UInt32.self)
        guard count <= IndexFormat.blockLimit else { throw .outOfRange("\(count) blocks in an index") }
        guard flags & ~IndexFormat.hasTrailers == 0 else { throw .unknown("index flags \(flags)") }
        guard dataEnd <= UInt64(Int64.max) else { throw .outOfRange("the end of the data blocks") }
        func array(_ bytes: Int) throws(DecodeError) -> UnsafeRawPointer {
            // Never nil: `bytes` of the reader has an address even where it is empty.
            unsafe try reader.bytes(bytes).baseAddress.unsafelyUnwrapped
        }
        let chunks = unsafe try array(count * 8)
        unsafe self.chunks = chunks
        guide = IndexGuide(count: count) { unsafe BlockIndex.chunk($0, in: chunks) }
        unsafe offsets = try array(count * 8)
        unsafe trailers = flags & IndexFormat.hasTrailers != 0 ? try array(count * 8) : nil
        unsafe tailOffsets = try array((count + 1) * 4)
        unsafe chunkLengths = try array(count)
        unsafe prefix = try reader.bytes(prefixLength)
        unsafe tails = try reader.bytes(tailBytes)
        guard reader.isAtEnd else { throw .malformed("an index longer than its parts") }
        try check()
        ties = unsafe IndexTies(count: count, chunk: chunk, tail: tail)
        chunksTellLengths = (0..<count).allSatisfy { chunkLength($0) == BlockIndex.length(ofChunk: chunk($0)) }
    }

    private func check() throws(DecodeError) {
        var previousChunk: UInt64 = 0
        for block in 0..<count {
            guard chunk(block) >= previousChunk else { throw .malformed("index keys out of order") }
            previousChunk = chunk(block)
            guard let extent = extent(of: block), extent.count <= Limits.blockBytes + BlockFormat.trailerBytes else {
                throw .malformed("block \(block) is out of place in the index")
            }
            guard let tail = unsafe tail(block), chunkLength(block) <= IndexFormat.chunkBytes else {
                throw .malformed("index key \(block) is out of place")
            }
            // The chunks are what is searched: each must be what its separator begins with, zero filled.
            let isWhole = chunkLength(block) == IndexFormat.chunkBytes
            guard unsafe isWhole || (tail.isEmpty && chunk(block) << UInt64(chunkLength(block) * 8) == 0) else {
                throw .malformed("index key \(block) and its chunk differ")
            }
        }
        for block in 1..<max(1, count) where compare(separator(block - 1), trailer(block - 1), block) >= 0 {
            throw .malformed("index keys out of order")
        }
    }

    /// Where a block lies in the file; nil where the index contradicts itself.
    @inline(__always)
    func extent(of block: Int) -> Range<Int>? {
        let start = unsafe UInt64(littleEndian: offsets.loadUnaligned(fromByteOffset: block &* 8, as: UInt64.self))
        var end = dataEnd
        if block &+ 1 < count {
            end = unsafe UInt64(littleEndian: offsets.loadUnaligned(fromByteOffset: block &* 8 &+ 8, as: UInt64.self))
        }
        // dataEnd fits an Int; so do both.
        guard start < end, end <= dataEnd, end &- start > UInt64(BlockFormat.trailerBytes) else { return nil }
        return Int(start)..<Int(end)
    }

    @inline(__always)
    private func chunk(_ block: Int) -> UInt64 { unsafe BlockIndex.chunk(block, in: chunks) }
    @inline(__always)
    private static func chunk(_ block: Int, in chunks: UnsafeRawPointer) -> UInt64 {
        unsafe UInt64(littleEndian: chunks.loadUnaligned(fromByteOffset: block &* 8, as: UInt64.self))
    }
    private func trailer(_ block: Int) -> Trailer {
        guard let trailers = unsafe trailers else { return .oldest }
        let raw = unsafe trailers.loadUnaligned(fromByteOffset: block &* 8, as: UInt64.self)
        return Trailer(rawValue: UInt64(littleEndian: raw))
    }
    /// Of one whose last byte is not 0.
    @inline(__always)
    private static func length(ofChunk chunk: UInt64) -> Int {
        IndexFormat.chunkBytes - chunk.trailingZeroBitCount / 8
    }
    private func chunkLength(_ block: Int) -> Int {
        unsafe Int(chunkLengths.load(fromByteOffset: block, as: UInt8.self))
    }

    /// One more than there are blocks.
    private func tailOffset(_ block: Int) -> UInt32 {
        unsafe UInt32(littleEndian: tailOffsets.loadUnaligned(fromByteOffset: block &* 4, as: UInt32.self))
    }

    private func tail(_ block: Int) -> UnsafeRawBufferPointer? {
        let (low, high) = (tailOffset(block), tailOffset(block &+ 1))
        guard low <= high, unsafe Int(high) <= tails.count else { return nil }
        return unsafe UnsafeRawBufferPointer(rebasing: tails[Int(low)..<Int(high)])
    }

    /// The whole separator of a block, copied.
    func separator(_ block: Int) -> [UInt8] {
        var key = unsafe Array(prefix)
        let word = chunk(block)
        for index in 0..<min(IndexFormat.chunkBytes, chunkLength(block)) {
            key.append(UInt8(truncatingIfNeeded: word >> UInt64(56 - index * 8)))
        }
        if let tail = unsafe tail(block) { unsafe key.append(contentsOf: tail) }
        return key
    }

    /// How (key, trailer) sorts against a separator: the slow way, over the whole keys.
    private func compare(_ key: UnsafeRawBufferPointer, _ seek: Trailer, _ block: Int) -> Int {
        let separator = separator(block)
        return unsafe separator.withUnsafeBytes { unsafe FullKey.compare(key, seek, $0, trailer(block)) }
    }
    private func compare(_ key: [UInt8], _ seek: Trailer, _ block: Int) -> Int {
        unsafe key.withUnsafeBytes { unsafe compare($0, seek, block) }
    }

    /// A key on its way down: the blocks of which one is wanted. Their chunks and offsets are under way to the
    /// processor.
    @safe
    struct Descent {
        /// What follows the index's prefix in the key.
        fileprivate let rest: UnsafeRawBufferPointer
        fileprivate let chunk: UInt64
        /// The first of `IndexGuide.blocksPerGroup`.
        let firstBlock: Int
    }

    /// The first half of `firstBlock(atOrAfter:)`; nil where the key has not the prefix of all.
    @inline(__always)
    func descend(to key: UnsafeRawBufferPointer) -> Descent? {
        guard unsafe key.count >= prefix.count, unsafe matches(key, prefix, prefix.count) else { return nil }
        let rest = unsafe UnsafeRawBufferPointer(rebasing: key[prefix.count...])
        let wanted = unsafe IndexFormat.chunk(rest)
        let first = guide.firstBlock(ofGroupFor: wanted)
        // The arrays begin anywhere: a group may lie across two lines.
        let (begin, end) = (first &* 8, (first &+ IndexGuide.blocksPerGroup) &* 8)
        unsafe varve_prefetch(chunks + begin)
        unsafe varve_prefetch(offsets + begin)
        unsafe varve_prefetch(chunks + end)
        unsafe varve_prefetch(offsets + end)
        return unsafe Descent(rest: rest, chunk: wanted, firstBlock: first)
    }

    /// The first block whose separator is at or after (key, trailer): the only one in which that key and trailer, or what
    /// follows them, can begin. `count` where all sort before.
    func firstBlock(atOrAfter key: UnsafeRawBufferPointer, _ seek: Trailer) -> Int {
        unsafe firstBlock(atOrAfter: key, seek, from: descend(to: key))
    }

    @inline(__always)
    func firstBlock(atOrAfter key: UnsafeRawBufferPointer, _ seek: Trailer, from descent: Descent?) -> Int {
        guard let descent else { return unsafe FullKey.compare(key, prefix) < 0 ? 0 : count }
        let (wanted, rest) = unsafe (descent.chunk, descent.rest)
        var low = descent.firstBlock
        // Not one by one until the first that is not before: where that is cannot be foretold.
        for block in low..<min(low &+ IndexGuide.blocksPerGroup, count) {
            low &+= chunk(block).subtractingReportingOverflow(wanted).overflow ? 1 : 0
        }
        guard low < count, chunk(low) == wanted else { return low }
        // Mostly one separator alone has this chunk.
        if unsafe compare(rest: rest, seek, toEqualChunk: wanted, of: low) <= 0 { return low }
        if low &+ 1 == count || chunk(low &+ 1) != wanted { return low &+ 1 }
        if let ties, rest.count > IndexFormat.chunkBytes {
            switch unsafe ties.search(from: low, UnsafeRawBufferPointer(rebasing: rest[IndexFormat.chunkBytes...])) {
            case .block(let block): return block
            case .among(let blocks): return unsafe firstOfEqualChunks(blocks, wanted, rest, seek)
            case nil: break
            }
        }
        return unsafe firstOfEqualChunks(low &+ 1..<count, wanted, rest, seek)
    }

    /// How a key whose chunk equals a separator's sorts against it. `rest`: what follows the index's prefix in the key.
    /// Nothing sorts before a separator that a mapped page lost: the reader asks afterwards.
    @inline(__always)
    private func compare(
        rest: UnsafeRawBufferPointer, _ seek: Trailer, toEqualChunk wanted: UInt64, of block: Int
    ) -> Int {
        let length = chunksTellLengths ? BlockIndex.length(ofChunk: wanted) : chunkLength(block)
        // Chunks are filled up with zeros: equal ones of different lengths are told apart by these.
        let own = min(rest.count, IndexFormat.chunkBytes)
        if own != length { return own - length }
        // Where all separators are short nothing more is looked at: they end here.
        guard let tail = unsafe tails.isEmpty ? tails : tail(block) else { return -1 }
        let end = unsafe UnsafeRawBufferPointer(rebasing: rest[own...])
        return unsafe FullKey.compare(end, seek, tail, trailer(block))
    }

    /// The same among blocks of which the first have a chunk that equals the key's.
    @inline(never)
    private func firstOfEqualChunks(
        _ blocks: Range<Int>, _ wanted: UInt64, _ rest: UnsafeRawBufferPointer, _ seek: Trailer
    ) -> Int {
        var low = blocks.lowerBound
        var high = blocks.upperBound
        while low < high {
            let middle = (low + high) / 2
            let isBefore =
                unsafe chunk(middle) == wanted
                ? compare(rest: rest, seek, toEqualChunk: wanted, of: middle) > 0 : chunk(middle) < wanted
            if isBefore { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
