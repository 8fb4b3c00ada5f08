/// The filters of all tables of level 0 side by side. A point read asks each of them, and each answer lies in a cache line
/// of its own that is seldom at hand: with the filters in one array all lines are under way before the first is waited
/// for, and of a table whose filter says no nothing else is looked at but whether its map is whole. Immutable; any thread.
@safe
final class FilterPanel: @unchecked Sendable {
    // Unchecked: the array is written before this is shared, and never again.

    /// Newest first, as level 0 is.
    private let tables: [TableFile]
    private let readers: [TableReader]
    /// Nil: the table must be asked whatever the key, since it has no filter, or range tombstones.
    private let filters: UnsafeMutablePointer<FilterReader?>

    /// Nil where a table has not been opened yet.
    init?(_ tables: [TableFile]) {
        guard tables.allSatisfy({ $0.reader != nil }) else { return nil }
        self.tables = tables
        readers = tables.compactMap(\.reader)
        unsafe filters = .allocate(capacity: readers.count)
        for (index, reader) in readers.enumerated() {
            unsafe (filters + index).initialize(to: reader.rangeTombstones.isEmpty ? reader.filter : nil)
        }
    }

    deinit {
        unsafe filters.deinitialize(count: readers.count)
        unsafe filters.deallocate()
    }

    @inline(__always)
    func prefetch(_ keyHash: UInt64) {
        for index in readers.indices { unsafe filters[index]?.prefetch(keyHash) }
    }

    /// The next table from `index` on that may hold the key; moves `index` behind it.
    @inline(__always)
    func next(_ key: UnsafeRawBufferPointer, _ keyHash: UInt64, from index: inout Int) -> TableReader? {
        while index < readers.count {
            let passes = unsafe filters[index]?.mayContain(keyHash) ?? true
            index += 1
            if passes, unsafe KeyRange.covers(tables[index - 1].properties, key) { return readers[index - 1] }
        }
        return nil
    }

    /// Throws where one of the first `count` filters, which were asked, can no longer be trusted.
    @inline(__always)
    func confirm(upTo count: Int) throws(VarveError) {
        for index in 0..<count { try readers[index].confirmMap() }
    }
}
