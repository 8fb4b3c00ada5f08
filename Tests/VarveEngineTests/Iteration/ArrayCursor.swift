@testable import VarveEngine

/// One version of a key, as tests write it.
struct TestVersion: Hashable, Comparable {
    let key: [UInt8]
    let trailer: Trailer
    let entry: [UInt8]

    init(_ key: [UInt8], _ lsn: UInt64, _ kind: RecordKind = .put, entry: [UInt8] = [0]) {
        self.key = key
        trailer = Trailer(LSN(lsn), kind)
        self.entry = entry
    }

    init(_ key: [UInt8], _ trailer: Trailer, _ entry: [UInt8]) {
        self.key = key
        self.trailer = trailer
        self.entry = entry
    }

    init(_ cursor: some InternalCursor) {
        key = unsafe Array(cursor.key)
        trailer = cursor.trailer
        entry = unsafe Array(cursor.entry)
    }

    var lsn: LSN { trailer.lsn }

    static func < (a: TestVersion, b: TestVersion) -> Bool {
        a.key == b.key ? a.trailer > b.trailer : RangeTombstone.isBefore(a.key, b.key)
    }

    /// The bytes of a put with the given fields.
    static func entry(_ fields: EntryFields = .none, value: [UInt8] = []) -> [UInt8] {
        var buffer = ByteBuffer()
        EntryCodec.appendFields(fields, to: &buffer)
        buffer.append(value)
        return buffer.array()
    }
}

/// The plainest cursor: a sorted array. What it shows stands in a buffer of its own that every move overwrites, so that
/// whoever keeps a pointer over a move is found out.
@safe
final class ArrayCursor: InternalCursor {
    private let versions: [TestVersion]
    private var index = -1
    private let shown = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 8)
    private var keyCount = 0
    private var entryCount = 0
    /// Moves so far, and the one that is to fail.
    private(set) var moves = 0
    var failAt: Int?

    init(_ versions: some Sequence<TestVersion>) { self.versions = versions.sorted() }
    deinit { unsafe shown.deallocate() }

    var isValid: Bool { versions.indices.contains(index) }
    var key: UnsafeRawBufferPointer {
        precondition(isValid)
        return unsafe UnsafeRawBufferPointer(rebasing: shown[..<keyCount])
    }
    var trailer: Trailer { versions[index].trailer }
    var entry: UnsafeRawBufferPointer {
        precondition(isValid)
        return unsafe UnsafeRawBufferPointer(rebasing: shown[keyCount..<keyCount + entryCount])
    }

    func seekToFirst() throws(VarveError) { try go(to: 0) }
    func seekToLast() throws(VarveError) { try go(to: versions.count - 1) }
    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        try go(to: unsafe place(key, trailer))
    }
    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        try go(to: unsafe place(key, trailer) - 1)
    }
    func next() throws(VarveError) {
        precondition(isValid)
        try go(to: index + 1)
    }
    func previous() throws(VarveError) {
        precondition(isValid)
        try go(to: index - 1)
    }

    private func place(_ key: UnsafeRawBufferPointer, _ trailer: Trailer) -> Int {
        let key = unsafe Array(key)
        return versions.firstIndex { version in
            version.key == key ? version.trailer <= trailer : RangeTombstone.isBefore(key, version.key)
        } ?? versions.count
    }

    private func go(to place: Int) throws(VarveError) {
        for position in 0..<keyCount + entryCount { unsafe shown[position] = 0xAA }
        moves += 1
        index = place
        guard isValid else { return }
        if moves == failAt {
            index = -1
            throw VarveError(.io, "told to fail")
        }
        let version = versions[index]
        (keyCount, entryCount) = (version.key.count, version.entry.count)
        unsafe shown.copyBytes(from: version.key + version.entry)
    }
}

/// The tables of a level, in memory.
struct ArrayLevel: LevelTables {
    var tables: [[TestVersion]] = []
    var count: Int { tables.count }
    func table(at index: Int) -> [TestVersion] { tables[index] }
    func firstTable(notBefore key: UnsafeRawBufferPointer) -> Int {
        tables.firstIndex { table in
            table.contains { version in
                unsafe version.key.withUnsafeBytes { unsafe FullKey.compare($0, key) >= 0 }
            }
        } ?? tables.count
    }
}

/// Cuts sorted versions into tables, never between versions of one key.
func arrayLevel(_ versions: [TestVersion], tableSize: Int) -> LevelCursor<ArrayLevel, ArrayCursor> {
    var level = ArrayLevel()
    for version in versions.sorted() {
        if let last = level.tables.last, last.count < tableSize || last.last?.key == version.key {
            level.tables[level.count - 1].append(version)
        } else {
            level.tables.append([version])
        }
    }
    return LevelCursor(level) { (table: [TestVersion]) throws(VarveError) in ArrayCursor(table) }
}

extension [UInt8] {
    /// Lends the bytes to a call that throws `VarveError`.
    @safe func lend<T>(_ body: (UnsafeRawBufferPointer) throws -> T) rethrows -> T { unsafe try withUnsafeBytes(body) }
}
