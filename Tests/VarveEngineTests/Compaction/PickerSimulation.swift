@testable import VarveEngine

/// A store of keys and sizes without a file: what is flushed goes into synthetic tables of level 0, what the picker
/// chooses is merged in memory, and the edit is applied to a real version (which refuses tables that overlap).
///
/// The merge keeps the newest version of each key, drops a delete where nothing lies beneath, and cuts tables as a job
/// does.
final class PickerSimulation {
    struct Item {
        var key: UInt64
        var lsn: UInt64
        var isDelete: Bool
    }

    /// Why a run is over.
    struct Failure: Error, CustomStringConvertible { let description: String }

    static let entryBytes: UInt64 = 100
    /// Commit time that passes with each write.
    static let tick: Timestamp = 1_000_000

    let options: CompactionOptions
    let picker: CompactionPicker
    private(set) var version = Version.empty(
        flushed: LogPosition(
            timeline: TimelineID(ordinal: 1, unique: UniqueID(high: 1, low: 1)), lsn: .zero, runningHash: 0))
    private(set) var contents: [FileNumber: [Item]] = [:]
    private var cursors = [[UInt8]](repeating: [], count: Limits.levels)
    private var nextNumber: FileNumber = 1
    private var pending: [UInt64: Item] = [:]
    private var lsn: UInt64 = 0
    private let memtableEntries: Int
    /// Time that passed without writes.
    var idle: Timestamp = 0

    private(set) var flushedBytes: UInt64 = 0
    private(set) var compactedBytes: UInt64 = 0
    private(set) var moves = 0
    private(set) var compactions = 0
    /// The largest sum of inputs of one compaction, and the most tables in level 0.
    private(set) var largestInput: UInt64 = 0
    private(set) var mostLevelZero = 0

    init(memtableEntries: Int = 200) {
        self.memtableEntries = memtableEntries
        options = .scaled(toMemtable: UInt64(memtableEntries) * Self.entryBytes)
        picker = CompactionPicker(options: options)
    }

    var writeAmplification: Double { Double(flushedBytes + compactedBytes) / Double(flushedBytes) }
    var commitTime: Timestamp { Timestamp(lsn) * Self.tick + idle }

    func put(_ key: UInt64) throws { try write(Item(key: key, lsn: lsn + 1, isDelete: false)) }
    func delete(_ key: UInt64) throws { try write(Item(key: key, lsn: lsn + 1, isDelete: true)) }

    private func write(_ item: Item) throws {
        lsn += 1
        pending[item.key] = item
        if pending.count == memtableEntries { try flush() }
    }

    /// The memtable becomes a table, and all work is done that then is due.
    func flush() throws {
        guard !pending.isEmpty else { return }
        var edit = VersionEdit()
        flushedBytes += add(pending.values.sorted { $0.key < $1.key }, level: 0, to: &edit)
        pending = [:]
        try apply(edit)
        mostLevelZero = max(mostLevelZero, version.levels[0].tables.count)
        try settle()
    }

    /// Does what the picker chooses until it chooses nothing.
    func settle() throws {
        // Far more than any single flush may set off: the picker must come to rest.
        for _ in 0..<(200 + 4 * version.tableCount) {
            let action = picker.pick(
                version,
                CompactionPicker.Situation(now: 0, commitTime: commitTime, tableBudget: nil, cursors: cursors))
            switch action {
            case .none: return
            case .drop: throw Failure(description: "nothing here expires, and yet a table is dropped")
            case .move(let move):
                moves += 1
                try apply(move.edit)
                cursors[move.tables[0].level] = move.tables[0].file.properties.smallestKey
            case .compact(let compaction): try run(compaction)
            }
        }
        throw Failure(description: "the picker does not come to rest: \(shape)")
    }

    private func run(_ compaction: Compaction) throws {
        let before = version
        var edit = compaction.removal
        compactedBytes += write(merge(compaction), compaction, to: &edit)
        compactions += 1
        largestInput = max(largestInput, compaction.inputBytes)
        try apply(edit)
        for table in compaction.inputs { contents[table.file.number] = nil }
        if let last = compaction.upper.last { cursors[compaction.upperLevel] = last.properties.smallestKey }
        let isProgress = version.tableBytes < before.tableBytes || compaction.outputLevel > compaction.upperLevel
        guard isProgress else { throw Failure(description: "a compaction that changed nothing: \(shape)") }
    }

    private func merge(_ compaction: Compaction) -> [Item] {
        let beneath = KeysBeneath(version, compaction)
        func items(_ tables: [TableFile]) -> [[Item]] { tables.map { contents[$0.number] ?? [] } }
        // Tables of a sorted level follow one another; those of level 0 overlap.
        var merged = items(compaction.lower).flatMap { $0 }
        if compaction.upperLevel == 0 {
            for table in items(compaction.upper) { merged = Self.merged(merged, table) }
        } else {
            merged = Self.merged(merged, items(compaction.upper).flatMap { $0 })
        }
        return merged.filter { item in !item.isDelete || Self.key(item.key).lend { unsafe beneath.mayHold($0) } }
    }

    /// Two sorted runs in one; of two items of a key the newer.
    private static func merged(_ a: [Item], _ b: [Item]) -> [Item] {
        var result: [Item] = []
        result.reserveCapacity(a.count + b.count)
        var (i, j) = (0, 0)
        while i < a.count, j < b.count {
            if a[i].key == b[j].key {
                result.append(a[i].lsn > b[j].lsn ? a[i] : b[j])
                i += 1
                j += 1
            } else if a[i].key < b[j].key {
                result.append(a[i])
                i += 1
            } else {
                result.append(b[j])
                j += 1
            }
        }
        return result + a[i...] + b[j...]
    }

    private func write(_ items: [Item], _ compaction: Compaction, to edit: inout VersionEdit) -> UInt64 {
        var splitter = OutputSplitter(
            targetBytes: options.tableBytes,
            grandparents: compaction.grandparents.map {
                OutputSplitter.Grandparent(range: KeyRange($0.properties), bytes: $0.bytes)
            }, maxOverlapBytes: 10 * options.tableBytes)
        var written: UInt64 = 0
        var table: [Item] = []
        for item in items {
            let size = UInt64(table.count) * Self.entryBytes
            let isFull = Self.key(item.key).lend { unsafe splitter.endsTable(before: $0, bytes: size) }
            if isFull, compaction.outputLevel > 0 {
                written += add(table, level: compaction.outputLevel, to: &edit)
                table = []
            }
            table.append(item)
        }
        if !table.isEmpty { written += add(table, level: compaction.outputLevel, to: &edit) }
        return written
    }

    /// Makes a table of the items, and returns its size.
    private func add(_ items: [Item], level: Int, to edit: inout VersionEdit) -> UInt64 {
        guard let first = items.first, let last = items.last else { return 0 }
        var properties = TableProperties()
        properties.fileID = nextNumber
        properties.fileBytes = UInt64(items.count) * Self.entryBytes
        properties.smallestKey = Self.key(first.key)
        properties.largestKey = Self.key(last.key)
        properties.deleteCount = UInt64(items.count { $0.isDelete })
        properties.putCount = UInt64(items.count) - properties.deleteCount
        properties.smallestLSN = LSN(items.reduce(.max) { min($0, $1.lsn) })
        properties.largestLSN = LSN(items.reduce(0) { max($0, $1.lsn) })
        properties.smallestCommitTime = Timestamp(properties.smallestLSN.rawValue) * Self.tick
        properties.largestCommitTime = Timestamp(properties.largestLSN.rawValue) * Self.tick
        properties.latestUsableUntil = .max
        edit.add(nextNumber, properties, level: level)
        contents[nextNumber] = items
        nextNumber += 1
        return properties.fileBytes
    }

    private func apply(_ edit: VersionEdit) throws {
        version = try version.applying(edit, number: version.editNumber + 1) {
            TableFile(number: $0, properties: $1)
        }.version
        let targets = LevelTargets(version, running: [], options: options)
        for level in 1..<targets.baseLevel where !version.levels[level].tables.isEmpty {
            throw Failure(description: "level \(level) lies above the base level \(targets.baseLevel): \(shape)")
        }
    }

    static func key(_ number: UInt64) -> [UInt8] {
        FullKey.make(.default, (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) })
    }

    /// Tables and bytes of each level.
    var shape: String {
        version.levels.map { "\($0.tables.count)/\($0.bytes)" }.joined(separator: " ")
    }

    // MARK: What must hold

    /// The newest item of each key as a reader finds it: level by level from above. Throws where a deeper one is newer.
    func visible() throws -> [UInt64: Item] {
        var found: [UInt64: Item] = [:]
        for (number, level) in version.levels.enumerated() {
            for table in level.tables {
                for item in contents[table.number] ?? [] {
                    guard let above = found[item.key] else {
                        found[item.key] = item
                        continue
                    }
                    guard above.lsn > item.lsn else {
                        throw Failure(description: "key \(item.key) is newer in level \(number) than above it")
                    }
                }
            }
        }
        for (key, item) in pending { found[key] = item }
        return found
    }

    /// How far each level below the last is above its target; 1: at it.
    var scores: [Double] {
        let targets = LevelTargets(version, running: [], options: options)
        return version.levels.indices.map { targets.score(of: $0, bytes: version.levels[$0].bytes) }
    }
}
