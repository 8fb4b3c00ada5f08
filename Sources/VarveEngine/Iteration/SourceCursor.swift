/// One sorted source of a merge. An enum over final classes and not `any InternalCursor`, so that each step of a merge
/// is a direct call that the compiler can inline.
enum SourceCursor {
    case memtable(MemtableCursor)
    case table(TableCursor)
    case level(TableLevelCursor)
    /// Any other cursor; tests use it. Each step costs a dynamic call.
    case other(any InternalCursor)

    /// The same by reference, for the hot loop. Whoever makes one keeps `self` alive beside it.
    enum Unowned {
        case memtable(Borrowed<MemtableCursor>)
        case table(Borrowed<TableCursor>)
        case level(Borrowed<TableLevelCursor>)
        case other(BorrowedCursor)
    }

    var unowned: Unowned {
        switch self {
        case .memtable(let cursor): .memtable(Borrowed(cursor))
        case .table(let cursor): .table(Borrowed(cursor))
        case .level(let cursor): .level(Borrowed(cursor))
        case .other(let cursor): .other(BorrowedCursor(cursor))
        }
    }
}

/// A cursor over a sorted level of a version.
typealias TableLevelCursor = LevelCursor<Version.Level, TableCursor>

extension Version.Level: LevelTables {
    var count: Int { tables.count }
    func table(at index: Int) -> TableFile { tables[index] }
    func firstTable(notBefore key: UnsafeRawBufferPointer) -> Int { unsafe index.firstTable(notBefore: key) }
}

/// A cursor behind a protocol, by reference.
@safe
struct BorrowedCursor {
    // The owner of the merge keeps it alive.
    unowned(unsafe) let cursor: any InternalCursor
    init(_ cursor: any InternalCursor) { unsafe self.cursor = cursor }
}
