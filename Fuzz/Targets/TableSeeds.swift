import VarveIO

@testable import VarveEngine

/// Small tables and parts of them, and their checksums made right.
enum TableSeeds {
    static let tombstones = [
        RangeTombstone(begin: Array("0000a".utf8), end: Array("0000k".utf8), lsn: LSN(3)),
        RangeTombstone(begin: Array("0000c".utf8), end: Array("0000x".utf8), lsn: LSN(9)),
        RangeTombstone(begin: Array("0000y".utf8), end: Array("0000z".utf8), lsn: LSN(4)),
    ]

    static var properties: TableProperties {
        var properties = TableProperties()
        properties.fileID = 3
        properties.fileBytes = 4096
        properties.contentHash = ContentHash(high: 1, low: 2)
        properties.smallestKey = Array("0000a".utf8)
        properties.largestKey = Array("0000k".utf8)
        properties.putCount = 10
        properties.deleteCount = 2
        properties.smallestLSN = LSN(1)
        properties.largestLSN = LSN(12)
        properties.smallestCommitTime = 1
        properties.largestCommitTime = 2
        properties.earliestUsableUntil = 100
        properties.latestUsableUntil = .max
        properties.expiryQuantiles = (1...16).map { Timestamp($0) * 10 }
        properties.rawKeyBytes = 50
        properties.rawEntryBytes = 500
        properties.storedDataBytes = 400
        properties.dataBlockCount = 1
        properties.tagSample = TagSample(
            count: 16, entries: [TagSample.Entry(namespace: .default, version: LSN(7), tags: [1, 2], weight: 9)])
        return properties
    }

    private static func key(_ number: Int) -> [UInt8] {
        FullKey.make(.default, Array("key-\(1000 + number)".utf8))
    }
    private static func entry(_ number: Int) -> [UInt8] {
        number % 5 == 0 ? LogSeeds.entry : [0] + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 20)
    }

    static func block(_ count: Int) -> [UInt8] {
        var builder = BlockBuilder()
        for number in 0..<count {
            key(number).withUnsafeBytes { key in
                entry(number).withUnsafeBytes { entry in
                    builder.add(
                        key, hash: XXH3.hash64(key), Trailer(LSN(UInt64(100 + number * 300)), .put), entry)
                }
            }
        }
        var output = ByteBuffer()
        builder.finish(into: &output)
        return output.array()
    }

    static func stored(_ raw: [UInt8], _ codec: BlockCodec) -> [UInt8] {
        var output = ByteBuffer()
        var compressor = BlockCompressor()
        let shrunk = codec == .lz4 && raw.withBytes { compressor.append($0, to: &output) }
        if !shrunk { output.append(raw) }
        StoredBlock.seal(&output, from: 0, codec: shrunk ? .lz4 : .stored, fileID: 1, offset: 0)
        return output.array()
    }

    /// A table of a few blocks, versions of one key, deletes and range tombstones.
    static func table(_ options: TableOptions) throws -> [UInt8] {
        let files = MemoryFiles()
        let file = try files.open("/1.sst", .createNew)
        let writer = TableWriter(file: file, fileNumber: 1, options: options)
        for number in 0..<24 {
            for version in (0..<(number == 7 ? 12 : 1)).reversed() {
                let kind: RecordKind = number % 6 == 3 ? .delete : .put
                try key(number).withUnsafeBytes { key in
                    try (kind == .put ? entry(number) : []).withUnsafeBytes { entry in
                        try writer.add(key, Trailer(LSN(UInt64(100 + number * 20 + version)), kind), entry)
                    }
                }
            }
        }
        for tombstone in tombstones { writer.addRangeTombstone(tombstone) }
        _ = try writer.finish()
        return files.bytes("/1.sst")
    }

    /// Writes the checksum of the stored block in `range`.
    static func seal(_ bytes: inout [UInt8], _ range: Range<Int>, fileID: UInt64, offset: UInt64) {
        guard range.count >= BlockFormat.trailerBytes else { return }
        let end = range.upperBound - 8
        let seed = StoredBlock.seed(fileID: fileID, offset: offset)
        bytes.setNumber(bytes.hash(range.lowerBound..<end, seed: seed), at: end)
    }

    static func repairFooter(_ bytes: inout [UInt8], fileBytes: UInt64) {
        let start = bytes.count - TableFooter.byteCount
        guard start >= 0 else { return }
        bytes.setNumber(fileBytes, at: start + 104)
        bytes.setNumber(bytes.hash(start..<start + 112), at: start + 112)
        bytes.replaceSubrange((start + 120)..., with: TableFooter.magic)
    }

    /// Footer, then the blocks that it names, then those that the index names.
    static func repairTable(_ bytes: inout [UInt8]) {
        repairFooter(&bytes, fileBytes: UInt64(bytes.count))
        let start = bytes.count - TableFooter.byteCount
        guard start >= 0 else { return }
        let size = UInt64(bytes.count)
        let decoded: TableFooter? = Array(bytes[start...]).withBytes {
            try? TableFooter.decode($0, fileBytes: size)
        }
        guard let footer = decoded else { return }
        for handle in [footer.filter, footer.index, footer.rangeTombstones, footer.properties] {
            let range = Int(handle.offset)..<Int(handle.offset + handle.size)
            seal(&bytes, range, fileID: footer.fileID, offset: handle.offset)
        }
        guard footer.index.size >= BlockFormat.trailerBytes else { return }
        let low = Int(footer.index.offset)
        let index = Array(bytes[low..<low + Int(footer.index.size) - BlockFormat.trailerBytes])
        let extents: [Range<Int>] = index.withBytes { bytes in
            guard let index = try? BlockIndex(bytes) else { return [] }
            return (0..<index.count).compactMap { index.extent(of: $0) }
        }
        for extent in extents where extent.upperBound <= low {
            seal(&bytes, extent, fileID: footer.fileID, offset: UInt64(extent.lowerBound))
        }
    }
}
