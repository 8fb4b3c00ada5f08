import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite("Serving a table")
struct TableServingTests {
    static func stored() -> TableOptions {
        var options = TableOptions()
        options.codec = .stored
        return options
    }

    @Test("a read that may not wait throws until the block is in memory")
    func memoryOnly() throws {
        for options in [TableOptions(), Self.stored()] {
            let fixture = try TableFixture(isSimulated: true)
            let records = TableData.sequence(500)
            let table = try fixture.open(expected: try fixture.write(records, options: options))
            let error = #expect(throws: VarveError.self) { try table.get(records[3].key, mode: .memoryOnly) }
            #expect(error?.code == .wouldBlock)
            #expect(try table.get(records[3].key) == records[3])
            #expect(try table.get(records[3].key, mode: .memoryOnly) == records[3])
            #expect(throws: VarveError.self) { try table.get(records[499].key, mode: .memoryOnly) }
            table.forgetResidency()
            #expect(try table.get(records[3].key, mode: .memoryOnly) == records[3])
            // The filter answers for most missing keys without any block.
            let refused = (0..<400).count { index in
                (try? table.get(TableData.key(index * 2 + 1), mode: .memoryOnly)) == nil
                    && !table.mayContain(keyHash: Self.hash(TableData.key(index * 2 + 1)))
            }
            #expect(refused > 380)
        }
    }

    @Test("a read that may not wait is served at once from what the kernel has in memory")
    func cachedByTheKernel() throws {
        for options in [TableOptions(), Self.stored()] {
            let fixture = try TableFixture()
            let records = TableData.sequence(500)
            let table = try fixture.open(expected: try fixture.write(records, options: options))
            for record in records { #expect(try table.get(record.key, mode: .memoryOnly) == record) }
            table.checkResidency()
            for record in records { #expect(try table.get(record.key, mode: .memoryOnly) == record) }
        }
    }

    static func hash(_ key: [UInt8]) -> UInt64 { unsafe key.withUnsafeBytes { unsafe XXH3.hash64($0) } }

    @Test("uncompressed blocks are served from the map, compressed ones from the cache")
    func places() throws {
        let fixture = try TableFixture()
        let records = TableData.sequence(500)
        let table = try fixture.open(expected: try fixture.write(records, options: Self.stored()))
        _ = try table.records()
        #expect(fixture.cache.statistics.blocks == 0)
        let compressed = try fixture.open(2, expected: try fixture.write(records, number: 2))
        for record in records { #expect(try compressed.get(record.key) == record) }
        #expect(fixture.cache.statistics.blocks > 5)
        #expect(compressed.properties.storedDataBytes * 10 < table.properties.storedDataBytes * 8)
    }

    @Test("a walk reads ahead past the cache and leaves it alone")
    func scansSpareTheCache() throws {
        let fixture = try TableFixture()
        let records = TableData.sequence(5000)
        let table = try fixture.open(expected: try fixture.write(records))
        #expect(try table.records() == records)
        let before = fixture.cache.statistics
        #expect(before.blocks < 10)
        #expect(try table.records(.sequential) == records)
        #expect(fixture.cache.statistics == before)
    }

    @Test("a file cut under its map is reported, never served")
    func cutUnderTheMap() throws {
        let fixture = try TableFixture()
        let records = TableData.sequence(2000)
        let properties = try fixture.write(records, options: Self.stored())
        let table = try fixture.open(expected: properties)
        #expect(try table.records() == records)
        let file = try fixture.fileSystem.open(fixture.path(1), .readWrite)
        try file.truncate(to: 4096)
        file.close()
        var failures = 0
        for record in records {
            do { #expect(try table.get(record.key) == record) } catch { failures += 1 }
        }
        #expect(failures > 0)
    }

    @Test("approximate offsets ascend with the keys")
    func offsets() throws {
        let fixture = try TableFixture()
        let records = TableData.sequence(2000)
        let table = try fixture.open(expected: try fixture.write(records))
        let offsets = records.map { record in
            unsafe record.key.withUnsafeBytes { unsafe table.approximateOffset(of: $0) }
        }
        #expect(offsets == offsets.sorted())
        #expect(offsets.first == 0)
        #expect(Set(offsets).count == Int(table.properties.dataBlockCount))
    }

    @Test("a table is opened once and stays open as long as its file is named; a missing one is named")
    func tableSource() throws {
        let fixture = try TableFixture()
        let records = TableData.sequence(20)
        let source = TableSource(
            files: fixture.fileSystem, directory: fixture.directory.path, cache: fixture.cache)
        let file = TableFile(number: 7, properties: try fixture.write(records, number: 7))
        #expect(file.reader == nil)
        let reader = try source.reader(of: file)
        #expect(try reader.get(records[1].key) == records[1])
        #expect(try source.reader(of: file) === reader)
        let missing = TableFile(number: 99, properties: TableProperties())
        let error = #expect(throws: VarveError.self) { try source.reader(of: missing) }
        #expect(error?.path?.hasSuffix("000099.sst") == true)
    }

    @Test("the properties tell expiry, source versions and counts")
    func properties() throws {
        let fixture = try TableFixture()
        var records: [Record] = []
        for index in 0..<1000 {
            var buffer = ByteBuffer()
            let fields = EntryFields(
                usableUntil: Timestamp(1000 + index), sourceVersion: index % 10 == 0 ? UInt64(index) : nil)
            EntryCodec.appendFields(fields, to: &buffer)
            buffer.append([UInt8](repeating: 1, count: 90))
            records.append(Record(key: TableData.key(index), lsn: UInt64(index + 1), entry: buffer.array()))
        }
        records.append(Record(key: TableData.key(5000), lsn: 5000, kind: .delete))
        let properties = try fixture.write(records)
        #expect(properties.earliestUsableUntil == 1000)
        #expect(properties.latestUsableUntil == 1999)
        #expect(properties.deleteCount == 1 && properties.putCount == 1000)
        #expect(properties.sourceVersionCount == 100)
        #expect(properties.highestSourceVersion == 990)
        for (index, quantile) in properties.expiryQuantiles.enumerated() {
            let exact = 1000 + (index + 1) * 1000 / 16
            #expect(abs(Int(quantile) - exact) < 30, "quantile \(index)")
        }
        #expect(abs(properties.expiredShare(at: 1500) - 0.5) < 0.1)
    }

    @Test("the filter denies about 99 of 100 missing keys")
    func filter() throws {
        var builder = FilterBuilder(bitsPerKey: 10)
        for number in 0..<20_000 { builder.add(Self.hash(TableData.key(number * 2))) }
        var output = ByteBuffer()
        builder.finish(into: &output)
        let filter = unsafe try FilterReader(output.bytes)
        for number in 0..<20_000 { #expect(filter.mayContain(Self.hash(TableData.key(number * 2)))) }
        let passed = (0..<20_000).count { filter.mayContain(Self.hash(TableData.key($0 * 2 + 1))) }
        #expect(passed < 300)
    }

    @Test("the inspector's text")
    func inspector() throws {
        let fixture = try TableFixture()
        let tombstone = RangeTombstone(begin: TableData.key(7), end: TableData.key(9), lsn: LSN(6))
        let records = [
            Record(key: TableData.key(1), lsn: 5, entry: [0, 65]),
            Record(key: FullKey.make(.default, [1, 2]), lsn: 4, kind: .delete),
        ].sorted(by: Record.sortsBefore)
        let table = try fixture.open(expected: try fixture.write(records, tombstones: [tombstone]))
        let text = try TableInspector(table).text(entries: true)
        #expect(text.contains("table: file id 1, \(table.fileBytes) bytes, format version 0\n"))
        #expect(text.contains("keys: 16/\\x01\\x02 ..< 16/0000000000000009\n"))
        #expect(text.contains("entries: 1 puts, 1 deletes, 1 range tombstones in 1 blocks\n"))
        #expect(text.contains("range tombstone 16/0000000000000007 ..< 16/0000000000000009 @6\n"))
        #expect(text.hasSuffix("  16/\\x01\\x02 @4 delete, 0 bytes\n  16/0000000000000001 @5 put, 2 bytes\n"))
    }
}
