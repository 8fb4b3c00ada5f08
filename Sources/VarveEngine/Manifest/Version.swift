/// The tables of the store at one moment. Immutable: readers hold it and see one state while flushes and compactions go
/// on; holding it keeps its files from being deleted (see `TableFile`).
///
/// Level 0 holds runs that may overlap, newest first; LSN ranges of its tables do not cross, so newest first is one
/// order for every key. Each deeper level is one sorted run of tables that do not overlap. Whatever lies deeper is
/// older, key by key.
final class Version: Sendable {
    /// One level: its tables, and the means to find one.
    struct Level: Sendable {
        let tables: [TableFile]
        let bytes: UInt64
        /// For levels of one sorted run.
        let index: LevelIndex

        init(_ tables: [TableFile], isSorted: Bool) {
            self.tables = tables
            bytes = tables.reduce(0) { $0 &+ $1.bytes }
            index = LevelIndex(isSorted ? tables : [])
        }
    }

    /// The number of the edit that made it.
    let editNumber: UInt64
    let levels: [Level]
    /// Floors belong to the version, so that who finds a dropped entry missing finds its floor as well.
    let floors: FloorTable
    /// Every change up to here is in the tables.
    let flushed: LogPosition
    /// The deepest level that holds anything, below level 0; most of all keys lie there.
    let deepestLevel: Int?
    private let panel = LazyReference<FilterPanel>()
    private let use = LazyReference<UseBox>()

    private final class UseBox: Sendable {
        let use: NamespaceUse
        init(_ use: NamespaceUse) { self.use = use }
    }

    /// What each namespace has; added up when it is asked for first.
    var namespaceUse: NamespaceUse { (use.load() ?? use.storeIfNil(UseBox(NamespaceUse(allTables)))).use }

    init(editNumber: UInt64, levels: [Level], floors: FloorTable, flushed: LogPosition) {
        precondition(levels.count == Limits.levels, "a version has \(Limits.levels) levels")
        self.editNumber = editNumber
        self.levels = levels
        self.floors = floors
        self.flushed = flushed
        deepestLevel = levels.indices.last { $0 > 0 && !levels[$0].tables.isEmpty }
    }

    /// The filters of level 0; nil as long as one of its tables was not opened, or where there is none.
    @inline(__always)
    var filterPanel: FilterPanel? {
        if levels[0].tables.isEmpty { return nil }
        return panel.load() ?? makePanel()
    }

    @inline(never)
    private func makePanel() -> FilterPanel? {
        FilterPanel(levels[0].tables).map { panel.storeIfNil($0) }
    }

    /// No table at all.
    static func empty(flushed: LogPosition) -> Version {
        let levels = (0..<Limits.levels).map { Level([], isSorted: $0 > 0) }
        return Version(editNumber: 0, levels: levels, floors: FloorTable(), flushed: flushed)
    }

    var tableCount: Int { levels.reduce(0) { $0 + $1.tables.count } }
    var tableBytes: UInt64 { levels.reduce(0) { $0 &+ $1.bytes } }
    var allTables: [TableFile] { levels.flatMap(\.tables) }

    /// The table of a sorted level that may hold `key`.
    @inline(__always)
    func table(in level: Int, for key: UnsafeRawBufferPointer) -> TableFile? {
        let tables = levels[level].tables
        let index = unsafe levels[level].index.firstTable(notBefore: key)
        guard index < tables.count else { return nil }
        let starts = unsafe tables[index].properties.smallestKey.withUnsafeBytes {
            unsafe FullKey.compare($0, key) <= 0
        }
        return starts ? tables[index] : nil
    }

    /// The tables of a level that touch [begin, end) (nil: no end), in the level's order.
    func tables(in level: Int, overlapping begin: [UInt8], _ end: [UInt8]?) -> ArraySlice<TableFile> {
        let tables = levels[level].tables
        if level == 0 { return tables.filter { $0.properties.overlaps(begin, end) }[...] }
        let first = unsafe begin.withUnsafeBytes { unsafe levels[level].index.firstTable(notBefore: $0) }
        let rest = tables[first...]
        guard let end else { return rest }
        return rest.prefix { $0.properties.smallestKey.lexicographicallyPrecedes(end) }
    }

    /// The tables of a level that touch `range`, in the level's order.
    func tables(in level: Int, overlapping range: KeyRange) -> ArraySlice<TableFile> {
        let tables = levels[level].tables
        if level == 0 { return tables.filter { range.overlaps(KeyRange($0.properties)) }[...] }
        let first = unsafe range.smallest.withUnsafeBytes { unsafe levels[level].index.firstTable(notBefore: $0) }
        return tables[first...].prefix { range.overlaps(KeyRange($0.properties)) }
    }

    /// Whether something older than what lies at `level` may share a key with `range`: the question of the dropping rule.
    /// At level 0 the tables older than `lsn` count as well.
    func hasOlder(than lsn: LSN, at level: Int, overlapping range: KeyRange) -> Bool {
        if level == 0 {
            let older = levels[0].tables.contains { table in
                table.properties.largestLSN < lsn && range.overlaps(KeyRange(table.properties))
            }
            if older { return true }
        }
        return hasTables(below: level, overlapping: range)
    }

    /// Whether a level deeper than `level` holds a table that touches `range`.
    func hasTables(below level: Int, overlapping range: KeyRange) -> Bool {
        guard level + 1 < levels.count else { return false }
        return (level + 1..<levels.count).contains { !tables(in: $0, overlapping: range).isEmpty }
    }
}

/// The keys that a set of tables spans.
struct KeyRange: Hashable, Sendable {
    var smallest: [UInt8]
    var largest: [UInt8]
    /// Whether `largest` itself is outside.
    var isExclusive: Bool

    init(smallest: [UInt8], largest: [UInt8], isExclusive: Bool = false) {
        self.smallest = smallest
        self.largest = largest
        self.isExclusive = isExclusive
    }

    init(_ properties: TableProperties) {
        self.init(
            smallest: properties.smallestKey, largest: properties.largestKey,
            isExclusive: properties.largestKeyIsExclusive)
    }

    /// The range that spans all of `tables`; nil for none.
    init?(spanning tables: some Collection<TableFile>) {
        guard let first = tables.first else { return nil }
        self.init(first.properties)
        for table in tables.dropFirst() { formUnion(KeyRange(table.properties)) }
    }

    mutating func formUnion(_ other: KeyRange) {
        if other.smallest.lexicographicallyPrecedes(smallest) { smallest = other.smallest }
        if other.largest == largest {
            isExclusive = isExclusive && other.isExclusive
        } else if largest.lexicographicallyPrecedes(other.largest) {
            largest = other.largest
            isExclusive = other.isExclusive
        }
    }

    /// Whether every key of this range sorts before `key`.
    func isEntirely(before key: [UInt8]) -> Bool {
        largest.lexicographicallyPrecedes(key) || (isExclusive && largest == key)
    }

    func overlaps(_ other: KeyRange) -> Bool {
        !isEntirely(before: other.smallest) && !other.isEntirely(before: smallest)
    }
}
