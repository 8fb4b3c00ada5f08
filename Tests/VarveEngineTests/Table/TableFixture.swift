import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// One entry of a table under test.
struct Record: Equatable, CustomStringConvertible {
    var key: [UInt8]
    var lsn: UInt64
    var kind = RecordKind.put
    var entry: [UInt8] = []

    var trailer: Trailer { Trailer(LSN(lsn), kind) }
    var description: String { "\(TableInspector.key(key))@\(lsn) \(kind) \(entry.count) bytes" }

    static func sortsBefore(_ a: Record, _ b: Record) -> Bool {
        if a.key != b.key { return a.key.lexicographicallyPrecedes(b.key) }
        return a.trailer > b.trailer
    }
}

/// A folder, a cache and the means to write and open tables in it.
final class TableFixture {
    let directory: TemporaryDirectory
    let fileSystem: any FileSystem
    let cache: BlockCache

    /// `isSimulated`: on a file system that cannot tell what is in memory.
    init(cacheBytes: Int = 8 << 20, isSimulated: Bool = false) throws {
        directory = try TemporaryDirectory()
        fileSystem = isSimulated ? SimulatedFileSystem() : PosixFileSystem()
        if isSimulated {
            var path = ""
            for part in directory.path.split(separator: "/") {
                path += "/" + part
                try fileSystem.createDirectory(path)
            }
        }
        cache = BlockCache(capacity: cacheBytes)
    }

    func path(_ number: UInt64) -> String { directory.path + "/" + FileName.table(number).text }

    @discardableResult
    func write(
        _ records: [Record], tombstones: [RangeTombstone] = [], number: UInt64 = 1,
        options: TableOptions = TableOptions()
    ) throws -> TableProperties {
        let file = try fileSystem.open(path(number), .createNew)
        defer { file.close() }
        let writer = TableWriter(file: file, fileNumber: number, options: options)
        for record in records {
            try unsafe record.key.withUnsafeBytes { key in
                try unsafe record.entry.withUnsafeBytes { try unsafe writer.add(key, record.trailer, $0) }
            }
        }
        for tombstone in tombstones { writer.addRangeTombstone(tombstone) }
        return try writer.finish()
    }

    func open(_ number: UInt64 = 1, expected: TableProperties? = nil) throws -> TableReader {
        try TableReader.open(
            fileSystem, path: path(number), fileNumber: number, expected: expected, cache: cache)
    }

    func bytes(_ number: UInt64 = 1) throws -> [UInt8] {
        let file = try fileSystem.open(path(number), .read)
        defer { file.close() }
        var bytes = [UInt8](repeating: 0, count: Int(try file.size()))
        let count = try unsafe bytes.withUnsafeMutableBytes { try unsafe file.read(into: $0, at: 0) }
        return Array(bytes[..<count])
    }

    func replace(_ number: UInt64 = 1, with bytes: [UInt8]) throws {
        if try fileSystem.exists(path(number)) { try fileSystem.remove(path(number)) }
        let file = try fileSystem.open(path(number), .createNew)
        defer { file.close() }
        try unsafe bytes.withUnsafeBytes { try unsafe file.write($0, at: 0) }
    }
}

extension TableReader {
    func get(_ key: [UInt8], at lsn: UInt64 = LSN.max.rawValue, mode: ReadMode = .mayBlock) throws -> Record? {
        try unsafe key.withUnsafeBytes { bytes -> Record? in
            let found = try unsafe get(bytes, keyHash: XXH3.hash64(bytes), at: LSN(lsn), mode: mode)
            guard let found, let kind = found.trailer.kind else { return nil }
            let record = unsafe Record(
                key: key, lsn: found.trailer.lsn.rawValue, kind: kind, entry: Array(found.entry))
            try found.confirm()
            return record
        }
    }

    /// Everything, forward.
    func records(_ access: TableCursor.Access = .point) throws -> [Record] {
        let cursor = makeCursor(access: access)
        var records: [Record] = []
        try cursor.seekToFirst()
        while cursor.isValid {
            records.append(cursor.record)
            try cursor.next()
        }
        return records
    }

    /// Everything, backward, in the order met.
    func recordsBackward(_ access: TableCursor.Access = .point) throws -> [Record] {
        let cursor = makeCursor(access: access)
        var records: [Record] = []
        try cursor.seekToLast()
        while cursor.isValid {
            records.append(cursor.record)
            try cursor.previous()
        }
        return records
    }
}

extension TableCursor {
    var record: Record {
        unsafe Record(
            key: Array(key), lsn: trailer.lsn.rawValue, kind: trailer.kind ?? .rangeDelete, entry: Array(entry))
    }
    func seek(_ record: Record) throws {
        try unsafe record.key.withUnsafeBytes { try unsafe seek(to: $0, record.trailer) }
    }
    func seekBefore(_ record: Record) throws {
        try unsafe record.key.withUnsafeBytes { try unsafe seek(before: $0, record.trailer) }
    }
}

/// Full keys and entries made from a seeded generator.
enum TableData {
    static func key(_ number: Int, width: Int = 16) -> [UInt8] {
        let digits = String(number)
        let text = String(repeating: "0", count: max(0, width - digits.count)) + digits
        return FullKey.make(.default, Array(text.utf8))
    }

    /// An entry without fields whose second half repeats the first.
    static func entry(_ seed: UInt64, bytes: Int) -> [UInt8] {
        var random = SplitMix(seed)
        let half = (0..<(bytes + 1) / 2).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        return [0 as UInt8] + Array((half + half).prefix(bytes))
    }

    static func sequence(_ count: Int, valueBytes: Int = 100) -> [Record] {
        (0..<count).map { Record(key: key($0 * 2), lsn: UInt64($0 + 1), entry: entry(UInt64($0), bytes: valueBytes)) }
    }

    private static let alphabet: [UInt8] = [0, 1, 97, 98, 255]

    /// Keys of all lengths over a small alphabet, several versions each, values of all sizes.
    static func wild(_ random: inout SplitMix, keys: Int) -> [Record] {
        var seen = Set<[UInt8]>()
        var records: [Record] = []
        var lsn: UInt64 = 1
        while seen.count < keys {
            let length = Int.random(in: 0...(Int.random(in: 0...9, using: &random) == 0 ? 300 : 14), using: &random)
            let user = (0..<length).map { _ in Self.alphabet.randomElement(using: &random) ?? 0 }
            let key = FullKey.make(NamespaceID(rawValue: UInt32.random(in: 16...17, using: &random)), user)
            guard seen.insert(key).inserted else { continue }
            let versions = Int.random(in: 0...19, using: &random) == 0 ? 60 : Int.random(in: 1...3, using: &random)
            for _ in 0..<versions {
                lsn += UInt64.random(in: 1...1000, using: &random)
                let isDelete = Int.random(in: 0...5, using: &random) == 0
                let large = Int.random(in: 0...60, using: &random) == 0
                let size = Int.random(in: 0...(large ? 20_000 : 150), using: &random)
                records.append(
                    Record(
                        key: key, lsn: lsn, kind: isDelete ? .delete : .put,
                        entry: isDelete ? [] : entry(random.next(), bytes: size)))
            }
        }
        return records.sorted(by: Record.sortsBefore)
    }
}
