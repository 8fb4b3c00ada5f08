import VarveIO

@testable import VarveEngine

/// The parts of a table, each by itself, and a whole one.
extension FuzzTarget {
    static let block = FuzzTarget(
        name: "block", decode: { bytes in readBlock(bytes) },
        seeds: { [("one", TableSeeds.block(1)), ("several", TableSeeds.block(9))] })

    static let storedBlock = FuzzTarget(
        name: "stored-block",
        decode: { bytes in
            accepts {
                let (codec, payload) = try StoredBlock.open(bytes, fileID: 1, offset: 0, path: "t")
                guard codec == .lz4 else { return precondition(payload.count < bytes.count) }
                let raw = try CachedBlock(count: StoredBlock.rawLength(ofLZ4: payload)) {
                    room throws(DecodeError) in
                    try StoredBlock.decompress(lz4: payload, into: room)
                }
                if !readBlock(raw.bytes) { throw DecodeError.truncated }
            }
        },
        repair: { TableSeeds.seal(&$0, 0..<$0.count, fileID: 1, offset: 0) },
        seeds: {
            [
                ("lz4", TableSeeds.stored(TableSeeds.block(40), .lz4)),
                ("stored", TableSeeds.stored(TableSeeds.block(3), .stored)),
            ]
        })

    static let filter = FuzzTarget(
        name: "filter",
        decode: { bytes in
            accepts {
                let filter = try FilterReader(bytes)
                for hash in [0, 1, UInt64.max, 0xDEAD_BEEF_0123_4567] { _ = filter.mayContain(hash) }
            }
        },
        seeds: {
            var builder = FilterBuilder(bitsPerKey: 10)
            for number in 0..<20 { builder.add(UInt64(number) &* 0x9E37_79B9_7F4A_7C15) }
            var output = ByteBuffer()
            builder.finish(into: &output)
            return [("twenty-keys", output.array())]
        })

    static let index = FuzzTarget(
        name: "index",
        decode: { bytes in
            accepts {
                let index = try BlockIndex(bytes)
                for block in 0..<index.count {
                    let key = index.separator(block)
                    precondition(index.extent(of: block) != nil, "a checked index contradicts itself")
                    let found = key.withUnsafeBytes { index.firstBlock(atOrAfter: $0, .oldest) }
                    precondition(found >= block && found <= index.count, "a separator is not found where it stands")
                }
            }
        },
        seeds: {
            var builder = IndexBuilder()
            for number in 0..<4 {
                let key = Array("000\(number)-separator-\(number)".utf8)
                let trailer = number == 2 ? Trailer(LSN(5), .put) : .oldest
                builder.add(separator: key, trailer: trailer, offset: UInt64(number) * 100)
            }
            var output = ByteBuffer()
            builder.finish(dataEnd: 400, into: &output)
            return [("four-blocks", output.array())]
        })

    static let footer = FuzzTarget(
        name: "footer",
        decode: { bytes in
            accepts {
                let footer = try TableFooter.decode(bytes, fileBytes: 4096)
                let again = ByteBuffer.made { footer.encode(to: &$0) }
                let second = try again.withBytes { bytes throws(DecodeError) in
                    try TableFooter.decode(bytes, fileBytes: 4096)
                }
                precondition(second == footer, "a footer changed as it was encoded again")
            }
        },
        repair: { TableSeeds.repairFooter(&$0, fileBytes: 4096) },
        seeds: {
            let footer = TableFooter(
                fileID: 1, filter: BlockHandle(offset: 100, size: 50), index: BlockHandle(offset: 150, size: 50),
                properties: BlockHandle(offset: 200, size: 50), fileBytes: 4096)
            return [("footer", ByteBuffer.made { footer.encode(to: &$0) })]
        })

    static let properties = FuzzTarget(
        name: "properties",
        decode: { bytes in
            accepts {
                var reader = ByteReader(bytes)
                let properties = try TableProperties.decode(from: &reader)
                let again = ByteBuffer.made { properties.encode(to: &$0) }
                let second = try again.withBytes { bytes throws(DecodeError) in
                    var reader = ByteReader(bytes)
                    return try TableProperties.decode(from: &reader)
                }
                precondition(second == properties, "properties changed as they were encoded again")
                let use = NamespaceUse([TableFile(number: 1, properties: properties)])
                precondition(
                    use.of.values.allSatisfy { $0.entries <= properties.putCount },
                    "a namespace has more than its table")
            }
        },
        seeds: { [("all", ByteBuffer.made { TableSeeds.properties.encode(to: &$0) })] })

    static let tombstones = FuzzTarget(
        name: "tombstones",
        decode: { bytes in
            accepts {
                var reader = ByteReader(bytes)
                let tombstones = try RangeTombstones.decode(from: &reader)
                let again = ByteBuffer.made { tombstones.encode(to: &$0) }
                precondition(again.elementsEqual(bytes.prefix(again.count)), "tombstones in another form")
                let key = UnsafeRawBufferPointer(rebasing: bytes.prefix(16))
                _ = tombstones.maxLSN(covering: key, at: .max)
                let few = tombstones.fragmentCount < 100
                if few { precondition(RangeTombstones(tombstones.tombstones()) == tombstones, "not canonical") }
            }
        },
        seeds: {
            let tombstones = RangeTombstones(TableSeeds.tombstones)
            return [("three", ByteBuffer.made { tombstones.encode(to: &$0) })]
        })

    static let table = FuzzTarget(
        name: "table", decode: { bytes in TableWalk.run(Array(bytes)) },
        repair: { TableSeeds.repairTable(&$0) },
        seeds: {
            var (small, bare) = (TableOptions(), TableOptions())
            small.blockBytes = 256
            bare.blockBytes = 256
            bare.codec = .stored
            bare.filterBitsPerKey = 0
            return [("lz4", try TableSeeds.table(small)), ("stored", try TableSeeds.table(bare))]
        })

    private static func readBlock(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let block = try? Block(bytes) else { return false }
        var isGood = true
        for index in 0..<block.count {
            guard let entry = block.entry(index) else {
                isGood = false
                continue
            }
            if index > 64 { continue }
            let key = Array(block.prefix) + Array(entry.suffix)
            key.withUnsafeBytes { key in
                _ = block.lowerBound(key, entry.trailer)
                _ = block.find(key, hash: XXH3.hash64(key), entry.trailer)
            }
            _ = (try? EntryView(entry.bytes))
        }
        return isGood
    }
}

/// Everything that is done with an open table.
enum TableWalk {
    static func run(_ bytes: [UInt8]) -> Bool {
        accepts {
            let cache = BlockCache(capacity: 1 << 16)
            let table = try TableReader.open(
                MemoryFiles("/1.sst", bytes), path: "/1.sst", fileNumber: 1, cache: cache)
            defer { cache.removeBlocks(ofFile: 1) }
            _ = accepts { _ = try TableInspector(table).text(entries: true, limit: 100) }
            _ = accepts { try walk(table, .point) }
            _ = accepts { try walk(table, .sequential) }
            try table.verify()
        }
    }

    private static func walk(_ table: TableReader, _ access: TableCursor.Access) throws {
        let cursor = table.makeCursor(access: access)
        var keys: [[UInt8]] = [[], [0xFF, 0xFF]]
        for key in keys {
            _ = accepts { try key.withUnsafeBytes { try cursor.seek(to: $0, .newest) } }
            _ = accepts { try key.withUnsafeBytes { try cursor.seek(before: $0, .newest) } }
        }
        _ = accepts {
            try cursor.seekToLast()
            while cursor.isValid { try cursor.previous() }
        }
        try cursor.seekToFirst()
        while cursor.isValid {
            if keys.count < 32 { keys.append(Array(cursor.key)) }
            try cursor.next()
        }
        for key in keys {
            try key.withUnsafeBytes { key in
                _ = table.approximateOffset(of: key)
                _ = table.rangeTombstones.maxLSN(covering: key, at: .max)
                _ = try table.get(key, keyHash: XXH3.hash64(key), at: .max)
            }
        }
    }
}
