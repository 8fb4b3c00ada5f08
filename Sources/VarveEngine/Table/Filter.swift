internal import CVarveHints

/// A bloom filter cut into cache lines: all probes of a key fall into one block of 64 bytes, so asking costs one cache
/// miss. At ten bits a key about 1 in 100 missing keys passes.
///
///     block bytes   64 each; the block of a key is (high 32 bits of its hash * block count) >> 32
///     probe i       bit (r >> 9 i) & 511 of the block, r = hash * 0x9E3779B97F4A7C15, i in 0..<probes
///     last 8 bytes  u8 probes (1...6), 7 zero bytes
///
/// Idea: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters". Format: docs/formats/table.md.
enum FilterFormat {
    static let blockBytes = 64
    static let footerBytes = 8
    static let maximumProbes = 6
    @inline(__always)
    static func remix(_ hash: UInt64) -> UInt64 { hash &* 0x9E37_79B9_7F4A_7C15 }

    /// Probes that serve so many bits a key best; few are cheap, and more than six gain nothing in a block of 512 bits.
    static func probes(bitsPerKey: Int) -> Int { max(1, min(maximumProbes, (bitsPerKey * 69 + 50) / 100)) }
}

/// Collects key hashes and writes a filter over them.
struct FilterBuilder: ~Copyable {
    private let bitsPerKey: Int
    private var hashes: [UInt64] = []

    init(bitsPerKey: Int) { self.bitsPerKey = bitsPerKey }

    var isEmpty: Bool { hashes.isEmpty }

    @inline(__always)
    mutating func add(_ hash: UInt64) {
        // Versions of one key come one behind the other.
        if bitsPerKey > 0, hashes.last != hash { hashes.append(hash) }
    }

    /// The size that the filter would have.
    var estimatedBytes: Int {
        (hashes.count * bitsPerKey + 511) / 512 * FilterFormat.blockBytes + FilterFormat.footerBytes
    }

    func finish(into output: inout ByteBuffer) {
        let blocks = max(1, (hashes.count * bitsPerKey + 511) / 512)
        let probes = FilterFormat.probes(bitsPerKey: bitsPerKey)
        unsafe output.append(maximum: blocks * FilterFormat.blockBytes) { room in
            unsafe room.initializeMemory(as: UInt8.self, repeating: 0)
            for hash in hashes {
                let block = Int(truncatingIfNeeded: ((hash >> 32) &* UInt64(blocks)) >> 32) * FilterFormat.blockBytes
                var bits = FilterFormat.remix(hash)
                for _ in 0..<probes {
                    let bit = Int(truncatingIfNeeded: bits & 511)
                    unsafe room[block + bit >> 3] |= 1 << UInt8(bit & 7)
                    bits >>= 9
                }
            }
            return room.count
        }
        output.append(UInt8(probes))
        output.append([UInt8](repeating: 0, count: FilterFormat.footerBytes - 1))
    }
}

/// Asks a filter in place. Holds no owner: the bytes must outlive it.
@safe
struct FilterReader {
    private let blocks: UnsafeRawPointer
    private let blockCount: UInt64
    private let probes: Int

    init(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        let content = bytes.count - FilterFormat.footerBytes
        guard content > 0, content % FilterFormat.blockBytes == 0 else { throw .malformed("a filter of whole blocks") }
        let count = unsafe Int(bytes[content])
        guard count >= 1, count <= FilterFormat.maximumProbes else { throw .outOfRange("\(count) filter probes") }
        let blocks = content / FilterFormat.blockBytes
        guard let base = bytes.baseAddress, blocks <= Int(UInt32.max) else { throw .outOfRange("filter blocks") }
        unsafe self.blocks = base
        blockCount = UInt64(blocks)
        probes = count
    }

    /// Where the block of a key begins: inside the bytes that `init` measured, whatever the hash.
    @inline(__always)
    private func block(of hash: UInt64) -> Int {
        Int(truncatingIfNeeded: ((hash >> 32) &* blockCount) >> 32) &* FilterFormat.blockBytes
    }

    /// Has the processor fetch what `mayContain` will look at.
    @inline(__always)
    func prefetch(_ hash: UInt64) { unsafe varve_prefetch(blocks + block(of: hash)) }

    /// False: no version of the key is in the table.
    @inline(__always)
    func mayContain(_ hash: UInt64) -> Bool {
        let block = block(of: hash)
        var bits = FilterFormat.remix(hash)
        for _ in 0..<probes {
            let bit = Int(truncatingIfNeeded: bits & 511)
            let byte = unsafe blocks.load(fromByteOffset: block &+ bit >> 3, as: UInt8.self)
            if byte & (1 << UInt8(bit & 7)) == 0 { return false }
            bits >>= 9
        }
        return true
    }
}
