import Testing
import VarveTestSupport

@testable import VarveEngine

/// A table against the sorted list that it was written from, under many options.
@Suite("Tables and the list they were written from")
struct TableModelTests {
    static let optionSets: [TableOptions] = {
        var tiny = TableOptions()
        tiny.blockBytes = 256
        tiny.writeBufferBytes = 1000
        var stored = TableOptions()
        stored.codec = .stored
        var unfiltered = tiny
        unfiltered.filterBitsPerKey = 0
        unfiltered.codec = .stored
        var large = TableOptions()
        large.blockBytes = 32_768
        large.filterBitsPerKey = 16
        return [TableOptions(), tiny, stored, unfiltered, large]
    }()

    @Test("walks, lookups and seeks agree", arguments: optionSets, [1, 2, 3] as [UInt64])
    func agree(_ options: TableOptions, _ seed: UInt64) throws {
        var random = SplitMix(seed)
        let fixture = try TableFixture(cacheBytes: seed == 1 ? 0 : 1 << 20)
        let records = TableData.wild(&random, keys: 300)
        let properties = try fixture.write(records, options: options)
        let table = try fixture.open(expected: properties)
        #expect(properties.entryCount == UInt64(records.count), "seed \(seed)")
        #expect(properties.smallestKey == records.first?.key)
        #expect(properties.largestKey == records.last?.key)
        #expect(properties.fileBytes == table.fileBytes)
        for access in [TableCursor.Access.point, .sequential] {
            #expect(try table.records(access) == records, "seed \(seed)")
            #expect(try table.recordsBackward(access) == records.reversed(), "seed \(seed)")
        }
        try checkLookups(table, records, &random, seed)
        try checkSeeks(table, records, &random, seed)
        try table.verify(contentHash: properties.contentHash)
    }

    private func checkLookups(
        _ table: TableReader, _ records: [Record], _ random: inout SplitMix, _ seed: UInt64
    ) throws {
        let newest = records.map(\.lsn).max() ?? 0
        for _ in 0..<600 {
            guard var key = records.randomElement(using: &random)?.key else { return }
            if Bool.random(using: &random) { key.append(7) }
            if Int.random(in: 0...4, using: &random) == 0 { key.removeLast() }
            let lsn = UInt64.random(in: 0...newest + 1, using: &random)
            let expected = records.first { $0.key == key && $0.lsn <= lsn }
            #expect(try table.get(key, at: lsn) == expected, "seed \(seed), \(TableInspector.key(key)) at \(lsn)")
        }
    }

    private func checkSeeks(
        _ table: TableReader, _ records: [Record], _ random: inout SplitMix, _ seed: UInt64
    ) throws {
        let cursor = table.makeCursor()
        for _ in 0..<600 {
            guard var target = records.randomElement(using: &random) else { return }
            if Int.random(in: 0...3, using: &random) == 0 { target.key.append(7) }
            if Int.random(in: 0...6, using: &random) == 0, !target.key.isEmpty { target.key.removeLast() }
            target.lsn = target.lsn &+ UInt64.random(in: 0...3, using: &random) &- 1
            let place = records.firstIndex { !Record.sortsBefore($0, target) } ?? records.count
            if Bool.random(using: &random) {
                try cursor.seek(target)
                #expect(cursor.isValid == (place < records.count), "seed \(seed), \(target)")
                if cursor.isValid { #expect(cursor.record == records[place], "seed \(seed), \(target)") }
            } else {
                try cursor.seekBefore(target)
                #expect(cursor.isValid == (place > 0), "seed \(seed), \(target)")
                if cursor.isValid { #expect(cursor.record == records[place - 1], "seed \(seed), \(target)") }
            }
            try wander(cursor, records, &random, seed)
        }
    }

    /// Some steps either way from where the cursor is.
    private func wander(
        _ cursor: TableCursor, _ records: [Record], _ random: inout SplitMix, _ seed: UInt64
    ) throws {
        guard cursor.isValid, var place = records.firstIndex(of: cursor.record) else { return }
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            if Bool.random(using: &random) {
                try cursor.next()
                place += 1
            } else {
                try cursor.previous()
                place -= 1
            }
            #expect(cursor.isValid == records.indices.contains(place), "seed \(seed)")
            guard cursor.isValid else { return }
            #expect(cursor.record == records[place], "seed \(seed)")
        }
    }

    @Test("versions of one key that span many blocks are each found", arguments: optionSets)
    func manyVersions(_ options: TableOptions) throws {
        let fixture = try TableFixture()
        let key = TableData.key(5)
        var records = [Record(key: TableData.key(4), lsn: 7, entry: [0, 1])]
        for version in (1...700).reversed() {
            records.append(
                Record(key: key, lsn: UInt64(version * 10), entry: TableData.entry(UInt64(version), bytes: 60)))
        }
        records.append(Record(key: TableData.key(6), lsn: 8, entry: [0, 2]))
        let table = try fixture.open(expected: try fixture.write(records, options: options))
        #expect(try table.records() == records)
        for lsn in stride(from: UInt64(0), through: 7010, by: 7) {
            let expected = records.first { $0.key == key && $0.lsn <= lsn }
            #expect(try table.get(key, at: lsn) == expected, "at \(lsn)")
        }
        #expect(try table.get(TableData.key(4)) == records.first)
        #expect(try table.get(TableData.key(6)) == records.last)
    }

    @Test("huge values and keys at their limits", arguments: optionSets)
    func huge(_ options: TableOptions) throws {
        let fixture = try TableFixture()
        let longest = [UInt8](repeating: 0x61, count: Limits.keyBytes)
        var records = [
            Record(key: FullKey.make(.default, []), lsn: 1, entry: []),
            Record(key: FullKey.make(.default, [0x61]), lsn: 2, entry: TableData.entry(3, bytes: 5_000_000)),
            Record(key: FullKey.make(.default, longest.dropLast()), lsn: 3, entry: [0, 1]),
            Record(
                key: FullKey.make(.default, longest), lsn: LSN.max.rawValue, entry: TableData.entry(4, bytes: 70_000)),
            Record(key: FullKey.make(.default, longest), lsn: 1, entry: [0]),
            Record(key: FullKey.make(.default, longest.dropLast() + [0x62]), lsn: 4, entry: [0, 9]),
        ]
        records.sort(by: Record.sortsBefore)
        let properties = try fixture.write(records, options: options)
        let table = try fixture.open(expected: properties)
        #expect(try table.records(.point) == records)
        #expect(try table.records(.sequential) == records)
        #expect(try table.recordsBackward() == records.reversed())
        for record in records { #expect(try table.get(record.key, at: record.lsn) == record) }
        try table.verify(contentHash: properties.contentHash)
    }

    @Test("a table of range tombstones alone, and an empty one")
    func noEntries() throws {
        let fixture = try TableFixture()
        let tombstone = RangeTombstone(begin: TableData.key(1), end: TableData.key(9), lsn: LSN(77))
        let properties = try fixture.write([], tombstones: [tombstone])
        let table = try fixture.open(expected: properties)
        #expect(table.rangeTombstones.tombstones() == [tombstone])
        #expect(try table.records().isEmpty)
        #expect(try table.get(TableData.key(1)) == nil)
        #expect(properties.largestKeyIsExclusive)
        #expect(properties.smallestLSN == LSN(77) && properties.largestLSN == LSN(77))
        try table.verify(contentHash: properties.contentHash)

        let empty = try fixture.write([], number: 2)
        #expect(empty.isEmpty)
        #expect(try fixture.open(2, expected: empty).recordsBackward().isEmpty)
    }

    @Test("range tombstones widen the bounds")
    func bounds() throws {
        let fixture = try TableFixture()
        let records = TableData.sequence(10)
        let tombstones = [
            RangeTombstone(begin: [0, 0, 0, 16], end: TableData.key(4), lsn: LSN(500)),
            RangeTombstone(begin: TableData.key(2), end: TableData.key(18), lsn: LSN(3)),
        ]
        let properties = try fixture.write(records, tombstones: tombstones)
        #expect(properties.smallestKey == [0, 0, 0, 16])
        #expect(properties.largestKey == TableData.key(18))
        #expect(!properties.largestKeyIsExclusive)
        #expect(properties.largestLSN == LSN(500))
        #expect(try fixture.open().rangeTombstones == RangeTombstones(tombstones))
    }
}
