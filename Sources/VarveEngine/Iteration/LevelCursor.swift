/// What a level cursor needs to know of its tables before opening them: sorted, disjoint.
protocol LevelTables {
    associatedtype Table
    var count: Int { get }
    func table(at index: Int) -> Table
    /// The first table that does not lie entirely before `key`; `count` where all do.
    func firstTable(notBefore key: UnsafeRawBufferPointer) -> Int
}

/// A cursor over the sorted, disjoint tables of one level: it opens a table when the walk gets there, so that making one
/// costs nothing and a scan holds one open table a level.
///
/// No two versions of one user key stand in different tables, so a seek needs one table, or the neighbour's edge. One
/// thread at a time; after an error it is invalid until the next seek.
final class LevelCursor<Tables: LevelTables, Child: InternalCursor>: InternalCursor {
    typealias Opener = (Tables.Table) throws(VarveError) -> Child

    private let tables: Tables
    private let open: Opener
    /// The table that `child` shows; kept open when the walk ends, for the next seek.
    private var index = -1
    private var child: Child?
    /// The same as `child` while valid, without the cost of ARC; `child` keeps it alive.
    private var current: Borrowed<Child>?

    init(_ tables: Tables, open: @escaping Opener) {
        self.tables = tables
        self.open = open
    }

    @inline(__always)
    var isValid: Bool { current != nil }
    @inline(__always)
    var key: UnsafeRawBufferPointer { unsafe shown.with { unsafe $0.key } }
    @inline(__always)
    var trailer: Trailer { shown.with { $0.trailer } }
    @inline(__always)
    var entry: UnsafeRawBufferPointer { unsafe shown.with { unsafe $0.entry } }

    @inline(__always)
    private var shown: Borrowed<Child> {
        guard let current else { preconditionFailure("the cursor is at no entry") }
        return current
    }

    func seekToFirst() throws(VarveError) {
        current = nil
        guard tables.count > 0 else { return }
        let child = try opened(0)
        try child.seekToFirst()
        try settleForward(child)
    }

    func seekToLast() throws(VarveError) {
        current = nil
        guard tables.count > 0 else { return }
        let child = try opened(tables.count - 1)
        try child.seekToLast()
        try settleBackward(child)
    }

    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        current = nil
        let index = unsafe tables.firstTable(notBefore: key)
        guard index < tables.count else { return }
        let child = try opened(index)
        unsafe try child.seek(to: key, trailer)
        try settleForward(child)
    }

    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        current = nil
        let index = unsafe tables.firstTable(notBefore: key)
        guard index < tables.count else { return try seekToLast() }
        let child = try opened(index)
        unsafe try child.seek(before: key, trailer)
        try settleBackward(child)
    }

    @inline(__always)
    func next() throws(VarveError) {
        let child = shown
        do {
            try child.attempt { (cursor: Child) throws(VarveError) in try cursor.next() }
        } catch {
            current = nil
            throw error
        }
        if !child.with({ $0.isValid }) { try nextTable() }
    }

    @inline(__always)
    func previous() throws(VarveError) {
        let child = shown
        do {
            try child.attempt { (cursor: Child) throws(VarveError) in try cursor.previous() }
        } catch {
            current = nil
            throw error
        }
        if !child.with({ $0.isValid }) { try previousTable() }
    }

    @inline(never)
    private func nextTable() throws(VarveError) {
        current = nil
        if let child { try settleForward(child) }
    }

    @inline(never)
    private func previousTable() throws(VarveError) {
        current = nil
        if let child { try settleBackward(child) }
    }

    /// Shows `start`, or the first entry of the tables after it.
    private func settleForward(_ start: Child) throws(VarveError) {
        var cursor = start
        while !cursor.isValid {
            guard index + 1 < tables.count else { return }
            cursor = try opened(index + 1)
            try cursor.seekToFirst()
        }
        current = Borrowed(cursor)
    }

    private func settleBackward(_ start: Child) throws(VarveError) {
        var cursor = start
        while !cursor.isValid {
            guard index > 0 else { return }
            cursor = try opened(index - 1)
            try cursor.seekToLast()
        }
        current = Borrowed(cursor)
    }

    private func opened(_ wanted: Int) throws(VarveError) -> Child {
        if wanted == index, let child { return child }
        child = nil
        index = -1
        let fresh = try open(tables.table(at: wanted))
        child = fresh
        index = wanted
        return fresh
    }
}
