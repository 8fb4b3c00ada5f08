/// What a level cursor needs to know of a table before opening it.
protocol LevelTable {
    /// Whether every key of the table sorts before `key`.
    func isEntirely(before key: UnsafeRawBufferPointer) -> Bool
}

/// A cursor over the sorted, disjoint tables of one level: it opens a table when the walk gets there, so that making one
/// costs nothing and a scan holds one open table a level.
///
/// No two versions of one user key stand in different tables, so a seek needs one table, or the neighbour's edge. One
/// thread at a time; after an error it is invalid until the next seek.
final class LevelCursor<Table: LevelTable, Child: InternalCursor>: InternalCursor {
    typealias Opener = (Table) throws(VarveError) -> Child

    private let tables: [Table]
    private let open: Opener
    /// The table that `child` shows; kept open when the walk ends, for the next seek.
    private var index = -1
    private var child: Child?
    /// The same as `child` while valid, without the cost of ARC; `child` keeps it alive.
    private var current: Borrowed<Child>?

    init(_ tables: [Table], open: @escaping Opener) {
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
        guard !tables.isEmpty else { return }
        let child = try opened(0)
        try child.seekToFirst()
        try settleForward(child)
    }

    func seekToLast() throws(VarveError) {
        current = nil
        guard !tables.isEmpty else { return }
        let child = try opened(tables.count - 1)
        try child.seekToLast()
        try settleBackward(child)
    }

    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        current = nil
        let index = unsafe tablesBefore(key)
        guard index < tables.count else { return }
        let child = try opened(index)
        unsafe try child.seek(to: key, trailer)
        try settleForward(child)
    }

    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        current = nil
        let index = unsafe tablesBefore(key)
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
        let fresh = try open(tables[wanted])
        child = fresh
        index = wanted
        return fresh
    }

    /// How many tables lie entirely before `key`.
    private func tablesBefore(_ key: UnsafeRawBufferPointer) -> Int {
        var low = 0
        var high = tables.count
        while low < high {
            let middle = (low + high) / 2
            if unsafe tables[middle].isEntirely(before: key) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
