import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A damaged table is refused or serves what was written; it never traps and never serves anything else.
@Suite("Damaged tables")
struct TableDamageTests {
    static let records: [Record] = TableData.sequence(12, valueBytes: 40)
    static let tombstones = [RangeTombstone(begin: TableData.key(3), end: TableData.key(5), lsn: LSN(9))]

    static func options(_ codec: BlockCodec) -> TableOptions {
        var options = TableOptions()
        options.blockBytes = 256
        options.codec = codec
        return options
    }

    /// Everything that the table serves is right. Returns whether damage was reported.
    private func isRightOrRefused(_ fixture: TableFixture, _ expected: TableProperties?, _ what: String) -> Bool {
        fixture.cache.removeBlocks(ofFile: 1)
        do {
            let table = try fixture.open(expected: expected)
            var isReported = table.rangeTombstones != RangeTombstones(Self.tombstones)
            #expect(!isReported, "\(what): other range tombstones")
            for record in Self.records {
                do { #expect(try table.get(record.key) == record, "\(what)") } catch { isReported = true }
                var missing = record.key
                missing[missing.count - 1] += 1
                do { #expect(try table.get(missing) == nil, "\(what)") } catch { isReported = true }
            }
            for access in [TableCursor.Access.point, .sequential] {
                do { #expect(try table.records(access) == Self.records, "\(what)") } catch { isReported = true }
            }
            if let hash = expected?.contentHash {
                #expect(throws: VarveError.self, "\(what): verify") { try table.verify(contentHash: hash) }
            }
            return isReported
        } catch {
            return true
        }
    }

    @Test("each byte flipped, one at a time", arguments: BlockCodec.allCases)
    func flips(_ codec: BlockCodec) throws {
        let fixture = try TableFixture()
        let properties = try fixture.write(Self.records, tombstones: Self.tombstones, options: Self.options(codec))
        let whole = try fixture.bytes()
        var harmless = 0
        for index in whole.indices {
            var damaged = whole
            damaged[index] ^= 1 << UInt8(index & 7)
            try fixture.replace(with: damaged)
            if !isRightOrRefused(fixture, properties, "byte \(index)") { harmless += 1 }
        }
        // Only the padding before the parts used in place is not covered by a checksum; verify reports it.
        #expect(harmless < 4 * 64)
        #expect(harmless < whole.count / 4)
    }

    @Test("verify names the place, though the whole file's hash is wrong as well", arguments: BlockCodec.allCases)
    func verifyNamesThePlace(_ codec: BlockCodec) throws {
        let fixture = try TableFixture()
        let properties = try fixture.write(Self.records, options: Self.options(codec))
        var damaged = try fixture.bytes()
        damaged[300] ^= 1
        try fixture.replace(with: damaged)
        let table = try fixture.open(expected: properties)
        let error = #expect(throws: VarveError.self) { try table.verify(contentHash: properties.contentHash) }
        let offset = try #require(error?.offset)
        // The block that holds the byte.
        #expect(offset > 0 && offset <= 300 && offset + 512 > 300, "offset \(offset)")
        #expect(error?.path == fixture.path(1))
    }

    @Test("cut at every length", arguments: BlockCodec.allCases)
    func truncation(_ codec: BlockCodec) throws {
        let fixture = try TableFixture()
        try fixture.write(Self.records, tombstones: Self.tombstones, options: Self.options(codec))
        let whole = try fixture.bytes()
        for length in 0..<whole.count {
            try fixture.replace(with: Array(whole[..<length]))
            #expect(throws: VarveError.self, "cut to \(length)") { try fixture.open() }
        }
    }

    @Test("random bytes behind right checksums do not trap", arguments: 1...20 as ClosedRange<UInt64>)
    func noise(_ seed: UInt64) throws {
        var random = SplitMix(seed)
        for length in 0..<200 {
            let bytes = (0..<length).map { index in
                // Small numbers, as lengths are, more often than others.
                index % 3 == 0 ? UInt8.random(in: 0...255, using: &random) : UInt8.random(in: 0...6, using: &random)
            }
            unsafe bytes.withUnsafeBytes { raw in
                if let block = unsafe try? Block(raw) {
                    for index in 0..<block.count { _ = block.entry(index) }
                    for hash in 0..<8 as Range<UInt64> { _ = unsafe block.find(raw, hash: hash, .newest) }
                    _ = unsafe block.lowerBound(raw, .newest)
                }
                if let index = unsafe try? BlockIndex(raw) { _ = unsafe index.firstBlock(atOrAfter: raw, .newest) }
                if let filter = unsafe try? FilterReader(raw) { _ = filter.mayContain(seed) }
                _ = unsafe try? TableFooter.decode(raw, fileBytes: 1000)
                _ = unsafe try? StoredBlock.rawLength(ofLZ4: raw)
            }
        }
    }

    @Test("any one byte of a raw block changed reads without a trap")
    func rawBlocks() {
        var builder = BlockBuilder()
        for record in Self.records {
            unsafe record.key.withUnsafeBytes { key in
                unsafe record.entry.withUnsafeBytes {
                    unsafe builder.add(key, hash: XXH3.hash64(key), record.trailer, $0)
                }
            }
        }
        var output = ByteBuffer()
        builder.finish(into: &output)
        let whole = output.array()
        let key = Self.records[5].key
        for index in whole.indices {
            for value in [0, 1, 0x7F, 0x80, 0xFF] as [UInt8] {
                var damaged = whole
                damaged[index] = value
                unsafe damaged.withUnsafeBytes { raw in
                    guard let block = unsafe try? Block(raw) else { return }
                    for entry in 0..<block.count { _ = block.entry(entry) }
                    unsafe key.withUnsafeBytes { key in
                        _ = unsafe block.find(key, hash: XXH3.hash64(key), .newest)
                        _ = unsafe block.lowerBound(key, .newest)
                    }
                }
            }
        }
    }

    @Test("a swapped, a missing and a newer file are named")
    func swapped() throws {
        let fixture = try TableFixture()
        let first = try fixture.write(Self.records, number: 1)
        let second = try fixture.write(Self.records, number: 2)
        let (one, two) = (try fixture.bytes(1), try fixture.bytes(2))
        try fixture.replace(1, with: two)
        try fixture.replace(2, with: one)
        for (number, properties) in [(1, first), (2, second)] as [(UInt64, TableProperties)] {
            let error = #expect(throws: VarveError.self) { try fixture.open(number, expected: properties) }
            #expect(error?.code == .missingFile)
            #expect(error?.message.contains("swapped") == true)
        }
        try fixture.fileSystem.remove(fixture.path(1))
        let missing = #expect(throws: VarveError.self) { try fixture.open(1, expected: first) }
        #expect(missing?.code == .missingFile)

        var newer = one
        newer[one.count - TableFooter.byteCount] = 9
        try fixture.replace(1, with: newer)
        let error = #expect(throws: VarveError.self) { try fixture.open(1) }
        #expect(error?.code == .unsupportedFormat)
    }

    @Test("a block in another's place fails")
    func swappedBlocks() throws {
        let fixture = try TableFixture()
        var options = Self.options(.stored)
        options.filterBitsPerKey = 0
        let records = (0..<12).map {
            Record(key: TableData.key($0 + 10), lsn: 5, entry: TableData.entry(1, bytes: 150))
        }
        try fixture.write(records, options: options)
        let table = try fixture.open()
        let (a, b) = (try table.extent(of: 0), try table.extent(of: 1))
        try #require(a.count == b.count)
        var bytes = try fixture.bytes()
        let block = bytes[a]
        bytes.replaceSubrange(a, with: bytes[b])
        bytes.replaceSubrange(b, with: block)
        try fixture.replace(with: bytes)
        let error = #expect(throws: VarveError.self) { try fixture.open().get(records[0].key) }
        #expect(error?.code == .corruption)
        #expect(error?.offset == 0)
    }

    @Test("an index whose chunks are not its keys' beginnings is refused")
    func indexOfOtherChunks() {
        var builder = IndexBuilder()
        for number in 0..<3 {
            builder.add(separator: Array("\(number)-separator".utf8), trailer: .oldest, offset: UInt64(number) * 100)
        }
        var output = ByteBuffer()
        builder.finish(dataEnd: 300, into: &output)
        var bytes = output.array()
        func opens() -> Bool { unsafe bytes.withUnsafeBytes { unsafe (try? BlockIndex($0)) != nil } }
        #expect(opens())
        // The lengths of the chunks stand behind the two arrays of 8 bytes and the array of 4.
        bytes[IndexFormat.headerBytes + 3 * 8 * 2 + 4 * 4 + 1] = 7
        #expect(!opens())
    }
}
