import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The golden tables: compressed and stored blocks in one, range tombstones alone, stored blocks without a filter, and one
/// that says what each namespace has, and one with a sample of its tags. The others are from before tables said so.
struct GoldenTable {
    let number: FileNumber
    var records: [Record] = []
    var tombstones: [RangeTombstone] = []
    var options = TableOptions()
    var commitTimes: ClosedRange<Timestamp>?

    var name: FileName { .table(number) }

    static let all = [mixed, tombstonesOnly, stored, counted, sampled]

    /// What each entry may be, in blocks of both codecs.
    static let mixed: GoldenTable = {
        var table = GoldenTable(number: 12)
        table.options.blockBytes = 256
        table.options.codec = .lz4
        table.options.countsNamespaces = false
        table.options.samplesTags = false
        table.commitTimes = 1_000_000...2_000_000
        for number in 0..<12 {
            table.records.append(
                record("crate-0\(number % 10)/\(number)", UInt64(10 + number), "apples and pears, apples and pears"))
        }
        let fields = EntryFields(
            usableUntil: 7_000, freshUntil: 6_000, sourceVersion: 77, tags: [1, 2, .max], valueType: 4, cause: 5,
            extensions: [EntryExtension(tag: 300, bytes: [1, 2, 3]), EntryExtension(tag: 1, bytes: [])])
        table.records += [
            record("every field", 40, "value", fields),
            record("expires", 41, "soon", EntryFields(usableUntil: 100)),
            // Several versions of a key, a delete with a source version among them.
            record("versions", 52, "third"),
            Record(
                key: key("versions"), lsn: 51, kind: .delete, entry: TestVersion.entry(EntryFields(sourceVersion: 9))),
            record("versions", 50, "first"),
            Record(key: key("gone"), lsn: 53, kind: .delete),
            record("", 54, "the empty key"),
            Record(key: FullKey.make(NamespaceID(rawValue: 17), [0, 0xFF, 0x20, 0x5C]), lsn: 55, entry: [0]),
            // One entry larger than a block.
            record("large", 56, String(repeating: "0123456789", count: 100)),
        ]
        for number in 0..<3 {
            let value = GoldenLog.noise(150, seed: UInt64(number))
            table.records.append(Record(key: key("noise \(number)"), lsn: UInt64(60 + number), entry: [0] + value))
        }
        table.records.sort(by: Record.sortsBefore)
        table.tombstones = [
            RangeTombstone(begin: key("crate-03"), end: key("crate-07"), lsn: LSN(30)),
            RangeTombstone(begin: key("crate-05"), end: key("every"), lsn: LSN(70)),
            RangeTombstone(
                begin: FullKey.make(NamespaceID(rawValue: 18), []), end: FullKey.make(NamespaceID(rawValue: 19), []),
                lsn: LSN(71)),
        ]
        return table
    }()

    static let tombstonesOnly: GoldenTable = {
        var table = GoldenTable(number: 13)
        table.tombstones = [RangeTombstone(begin: key("a"), end: key("b"), lsn: LSN(5))]
        return table
    }()

    static let stored: GoldenTable = {
        var table = GoldenTable(number: 14)
        table.options.blockBytes = 256
        table.options.codec = .stored
        table.options.filterBitsPerKey = 0
        table.records = (0..<20).map { record("key \(10 + $0)", UInt64(1000 - $0), "value of \($0)") }
        return table
    }()

    static let counted: GoldenTable = {
        var table = GoldenTable(number: 15)
        table.options.blockBytes = 256
        table.options.codec = .stored
        for (namespace, count) in [(UInt32(0), 2), (16, 9), (17, 1), (70_000, 12)] {
            for number in 0..<count {
                let key = FullKey.make(NamespaceID(rawValue: namespace), Array("key \(10 + number)".utf8))
                let lsn = UInt64(100 + table.records.count)
                if number == 5 {
                    table.records.append(Record(key: key, lsn: lsn, kind: .delete))
                } else {
                    let value = Array("of \(namespace), number \(number)".utf8)
                    table.records.append(Record(key: key, lsn: lsn, entry: [0] + value))
                }
            }
        }
        return table
    }()

    static let sampled: GoldenTable = {
        var table = GoldenTable(number: 16)
        table.options.blockBytes = 256
        table.options.codec = .stored
        table.records = (0..<60).map { number in
            let tags: [UInt64] = [[], [3], [UInt64(number), .max]][number % 3]
            return record(
                "key \(10 + number)", UInt64(200 + number), "value of \(number)", EntryFields(tags: tags))
        }
        return table
    }()

    static func key(_ user: String) -> [UInt8] { FullKey.make(.default, Array(user.utf8)) }

    private static func record(
        _ user: String, _ lsn: UInt64, _ value: String, _ fields: EntryFields = .none
    ) -> Record {
        Record(key: key(user), lsn: lsn, entry: TestVersion.entry(fields, value: Array(value.utf8)))
    }

    /// What the writer makes of it today, and what it says of that.
    func written() throws -> (bytes: [UInt8], properties: TableProperties) {
        let system = try Golden.folder()
        let file = try system.open(name.path(in: Golden.directory), .createNew)
        defer { file.close() }
        let writer = TableWriter(file: file, fileNumber: number, options: options)
        for record in records {
            try record.key.lend { key in
                try record.entry.lend { unsafe try writer.add(key, record.trailer, $0) }
            }
        }
        for tombstone in tombstones { writer.addRangeTombstone(tombstone) }
        if let times = commitTimes { writer.setCommitTimes(smallest: times.lowerBound, largest: times.upperBound) }
        let properties = try writer.finish()
        return (try Golden.take(name, from: system), properties)
    }

    static func open(
        _ bytes: [UInt8], _ number: FileNumber, expected: TableProperties? = nil
    ) throws -> TableReader {
        let name = FileName.table(number)
        let system = try Golden.folder([name.text: bytes])
        return try TableReader.open(
            system, path: name.path(in: Golden.directory), fileNumber: number, expected: expected,
            cache: BlockCache(capacity: 1 << 20))
    }
}
