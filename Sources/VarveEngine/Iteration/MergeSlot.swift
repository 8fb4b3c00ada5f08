/// A source of a merge and what it shows now: key, trailer and entry are read once per step and then compared and handed
/// out from here, without asking the source again. The pointers are good until the source moves, by the promise of
/// `InternalCursor`.
@safe
struct MergeSlot {
    private let source: SourceCursor.Unowned
    private(set) var isValid = false
    private(set) var key = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private(set) var trailer = Trailer.oldest
    private(set) var entry = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    init(_ source: SourceCursor.Unowned) { self.source = source }

    @safe
    enum Move {
        case first, last, next, previous
        case at(UnsafeRawBufferPointer, Trailer)
        case before(UnsafeRawBufferPointer, Trailer)
    }

    @inline(__always)
    mutating func next() throws(VarveError) {
        switch source {
        case .memtable(let borrowed):
            borrowed.with { $0.next() }
            borrowed.with { show($0) }
        case .table(let borrowed):
            try borrowed.attempt { (cursor: TableCursor) throws(VarveError) in try cursor.next() }
            borrowed.with { show($0) }
        case .level(let borrowed):
            try borrowed.attempt { (cursor: TableLevelCursor) throws(VarveError) in try cursor.next() }
            borrowed.with { show($0) }
        case .other(let borrowed):
            let cursor = unsafe borrowed.cursor
            try cursor.next()
            show(cursor)
        }
    }

    @inline(__always)
    mutating func previous() throws(VarveError) {
        switch source {
        case .memtable(let borrowed):
            borrowed.with { $0.previous() }
            borrowed.with { show($0) }
        case .table(let borrowed):
            try borrowed.attempt { (cursor: TableCursor) throws(VarveError) in try cursor.previous() }
            borrowed.with { show($0) }
        case .level(let borrowed):
            try borrowed.attempt { (cursor: TableLevelCursor) throws(VarveError) in try cursor.previous() }
            borrowed.with { show($0) }
        case .other(let borrowed):
            let cursor = unsafe borrowed.cursor
            try cursor.previous()
            show(cursor)
        }
    }

    mutating func move(_ move: Move) throws(VarveError) {
        isValid = false
        switch source {
        case .memtable(let borrowed):
            try borrowed.attempt { (cursor: MemtableCursor) throws(VarveError) in try apply(move, to: cursor) }
        case .table(let borrowed):
            try borrowed.attempt { (cursor: TableCursor) throws(VarveError) in try apply(move, to: cursor) }
        case .level(let borrowed):
            try borrowed.attempt { (cursor: TableLevelCursor) throws(VarveError) in try apply(move, to: cursor) }
        case .other(let borrowed): try apply(move, to: unsafe borrowed.cursor)
        }
    }

    @inline(__always)
    private mutating func apply(_ move: Move, to cursor: some InternalCursor) throws(VarveError) {
        switch move {
        case .first: try cursor.seekToFirst()
        case .last: try cursor.seekToLast()
        case .next: try cursor.next()
        case .previous: try cursor.previous()
        case .at(let key, let trailer): unsafe try cursor.seek(to: key, trailer)
        case .before(let key, let trailer): unsafe try cursor.seek(before: key, trailer)
        }
        show(cursor)
    }

    @inline(__always)
    private mutating func show(_ cursor: some InternalCursor) {
        isValid = cursor.isValid
        guard isValid else { return }
        unsafe key = cursor.key
        trailer = cursor.trailer
        unsafe entry = cursor.entry
    }

    /// Whether this one's entry comes first in key order.
    @inline(__always)
    static func order(_ a: borrowing MergeSlot, _ b: borrowing MergeSlot) -> Int {
        let order = unsafe KeyWords.compare(a.key, b.key)
        if order != 0 { return order }
        return a.trailer == b.trailer ? 0 : (a.trailer > b.trailer ? -1 : 1)
    }
}
