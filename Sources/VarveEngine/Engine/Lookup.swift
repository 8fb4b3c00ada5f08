/// The point read: newest source first, until a version is found that the reader may see.
///
/// Sources lie in order of age for every key, so the first version found is the newest, and a range tombstone met on the
/// way down hides whatever lies deeper with a smaller LSN.
enum Lookup {
    /// A version in place; `table` keeps a table's bytes alive, and confirms them.
    @safe
    struct Hit {
        let trailer: Trailer
        let entry: UnsafeRawBufferPointer
        let table: TableLookup?

        init(trailer: Trailer, entry: UnsafeRawBufferPointer, table: TableLookup?) {
            self.trailer = trailer
            unsafe self.entry = entry
            self.table = table
        }

        init(_ found: TableLookup) { unsafe self.init(trailer: found.trailer, entry: found.entry, table: found) }
    }

    /// The newest version of a full key at `lsn`, be it a delete or expired; nil where there is none or a range tombstone
    /// hides it. `hash` is XXH3-64 of the key. Throws `.wouldBlock` in memory-only mode where the disk must be asked.
    static func newest(
        _ key: UnsafeRawBufferPointer, hash: UInt64, in state: ReadState, at lsn: LSN, _ mode: ReadMode,
        _ source: TableSource
    ) throws(VarveError) -> Hit? {
        let panel = state.version.filterPanel
        panel?.prefetch(hash)
        var hidden = LSN.zero
        if let hit = unsafe find(key, hash, in: state.active, at: lsn, &hidden) {
            return unsafe hit.trailer.lsn < hidden ? nil : Hit(trailer: hit.trailer, entry: hit.entry, table: nil)
        }
        for memtable in state.sealed {
            if let hit = unsafe find(key, hash, in: memtable, at: lsn, &hidden) {
                return unsafe hit.trailer.lsn < hidden ? nil : Hit(trailer: hit.trailer, entry: hit.entry, table: nil)
            }
        }
        // No sooner: this looks at mapped pages, for which a key that is still in a memtable should not have to wait.
        let deepest = unsafe approachDeepest(key, hash, in: state.version, at: lsn)
        if let panel {
            var index = 0
            while let reader = unsafe panel.next(key, hash, from: &index) {
                if let hit = unsafe try find(key, hash, in: reader, at: lsn, mode, &hidden) {
                    try panel.confirm(upTo: index)
                    return hit.trailer.lsn < hidden ? nil : Hit(hit)
                }
            }
            try panel.confirm(upTo: index)
        } else {
            for table in state.version.levels[0].tables {
                guard unsafe KeyRange.covers(table.properties, key) else { continue }
                let reader = try source.reader(of: table, mode)
                if let hit = unsafe try find(key, hash, in: reader, at: lsn, mode, &hidden) {
                    return hit.trailer.lsn < hidden ? nil : Hit(hit)
                }
            }
        }
        guard let lowest = state.version.deepestLevel else { return nil }
        for level in 1...lowest {
            let hit: TableLookup?
            if level == lowest, let deepest {
                hit = unsafe try find(key, hash, in: deepest, at: lsn, mode, &hidden)
            } else {
                guard let table = unsafe state.version.table(in: level, for: key) else { continue }
                hit = unsafe try find(key, hash, in: source.reader(of: table, mode), at: lsn, mode, &hidden)
            }
            if let hit { return hit.trailer.lsn < hidden ? nil : Hit(hit) }
        }
        return nil
    }

    /// The table of the deepest level in which a key may lie, asked by its filter.
    private struct Approach {
        let table: TableReader
        /// Nil: the filter says no.
        let block: Int?
    }

    /// Most keys lie in the deepest level, and their blocks seldom in the processor's cache. So that level's filter and
    /// index are asked before the tables above it are, and the block is under way meanwhile.
    @inline(__always)
    private static func approachDeepest(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, in version: Version, at lsn: LSN
    ) -> Approach? {
        guard let level = version.deepestLevel, let reader = unsafe version.table(in: level, for: key)?.reader else {
            return nil
        }
        return unsafe Approach(table: reader, block: reader.approach(key, keyHash: hash, at: lsn))
    }

    @inline(__always)
    private static func find(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, in approach: Approach, at lsn: LSN, _ mode: ReadMode,
        _ hidden: inout LSN
    ) throws(VarveError) -> TableLookup? {
        let table = approach.table
        if let covering = unsafe table.rangeTombstones.maxLSN(covering: key, at: lsn), covering > hidden {
            hidden = covering
        }
        guard let block = approach.block else {
            try table.confirmMap()
            return nil
        }
        return unsafe try table.get(key, keyHash: hash, at: lsn, in: block, mode: mode)
    }

    @inline(__always)
    private static func find(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, in memtable: Memtable, at lsn: LSN, _ hidden: inout LSN
    ) -> MemtableHit? {
        if let covering = unsafe memtable.rangeTombstoneLSN(covering: key, at: lsn), covering > hidden {
            hidden = covering
        }
        return unsafe memtable.get(key: key, hash: hash, at: lsn)
    }

    @inline(__always)
    private static func find(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, in table: TableReader, at lsn: LSN, _ mode: ReadMode,
        _ hidden: inout LSN
    ) throws(VarveError) -> TableLookup? {
        if let covering = unsafe table.rangeTombstones.maxLSN(covering: key, at: lsn), covering > hidden {
            hidden = covering
        }
        return unsafe try table.get(key, keyHash: hash, at: lsn, mode: mode)
    }

    /// What a reader has of a key.
    enum Live<R> {
        /// What was made of the entry.
        case entry(R)
        case absent
        /// There is one, past its deadline.
        case expired

        @inline(__always)
        var value: R? { if case .entry(let value) = self { value } else { nil } }
    }

    /// Lends the live entry of a full key to `body`: not deleted, not expired at the time that `now` tells (asked only
    /// where the entry has a deadline).
    @inline(__always)
    static func withLive<R>(
        _ key: UnsafeRawBufferPointer, hash: UInt64, in state: ReadState, at lsn: LSN, now: () -> Timestamp,
        _ mode: ReadMode, _ source: TableSource, _ body: (EntryView, LSN) throws(VarveError) -> R
    ) throws(VarveError) -> Live<R> {
        guard let hit = unsafe try newest(key, hash: hash, in: state, at: lsn, mode, source) else { return .absent }
        guard hit.trailer.kind == .put else {
            if hit.trailer.kind == nil { throw VersionDamage.unknownKind(hit.trailer) }
            return .absent
        }
        let view: EntryView
        do throws(DecodeError) { view = unsafe try EntryView(hit.entry) } catch {
            try hit.table?.confirm()
            throw VersionDamage.entry(error, hit.trailer)
        }
        if view.usableUntil != .max, view.isExpired(at: now()) {
            try hit.table?.confirm()
            return .expired
        }
        let result = try body(view, hit.trailer.lsn)
        try hit.table?.confirm()
        return .entry(result)
    }
}

/// A source version that stands in the way of an older one.
struct StandingSourceVersion: Hashable, Sendable {
    var version: UInt64
    /// No version of the key has it, only the floor of the key's slot.
    var isShared: Bool
}

extension Lookup {
    /// A source version above `given` that the store knows of a key: from every version that it still holds up to `lsn`
    /// (whatever hides it), or the floor that those which went have left. Nil where none is above.
    ///
    /// Every version counts, not the newest alone: which of them compaction has turned into a floor already must make no
    /// difference. Tables whose highest source version is no higher are not asked.
    static func sourceVersion(
        above given: UInt64, of key: UnsafeRawBufferPointer, hash: UInt64, in state: ReadState, at lsn: LSN,
        _ mode: ReadMode, _ source: TableSource
    ) throws(VarveError) -> StandingSourceVersion? {
        var own: UInt64?
        for memtable in [state.active] + state.sealed where own == nil {
            own = unsafe memtable.sourceVersion(above: given, of: key, hash: hash, at: lsn)
        }
        for table in state.version.levels[0].tables where own == nil {
            own = unsafe try find(above: given, key, hash, table, at: lsn, mode, source)
        }
        for level in 1..<Limits.levels where own == nil {
            guard let table = unsafe state.version.table(in: level, for: key) else { continue }
            own = unsafe try find(above: given, key, hash, table, at: lsn, mode, source)
        }
        if let own { return StandingSourceVersion(version: own, isShared: false) }
        let floor = state.version.floors.floor(forKeyHash: hash)
        return floor > given ? StandingSourceVersion(version: floor, isShared: true) : nil
    }

    private static func find(
        above given: UInt64, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ table: TableFile, at lsn: LSN,
        _ mode: ReadMode, _ source: TableSource
    ) throws(VarveError) -> UInt64? {
        guard table.properties.highestSourceVersion > given, unsafe KeyRange.covers(table.properties, key) else {
            return nil
        }
        let reader = try source.reader(of: table, mode)
        var upper = lsn
        while let hit = unsafe try reader.get(key, keyHash: hash, at: upper, mode: mode) {
            let carried: UInt64?
            do throws(DecodeError) { carried = unsafe try EntryView(hit.entry).sourceVersion } catch {
                try hit.confirm()
                throw VersionDamage.entry(error, hit.trailer)
            }
            try hit.confirm()
            if let carried, carried > given { return carried }
            guard hit.trailer.lsn > .zero else { return nil }
            upper = LSN(hit.trailer.lsn.rawValue - 1)
        }
        return nil
    }
}

extension KeyRange {
    /// Whether a table's range covers the key.
    @inline(__always)
    static func covers(_ properties: TableProperties, _ key: UnsafeRawBufferPointer) -> Bool {
        let startsBefore = unsafe properties.smallestKey.withBytes { unsafe FullKey.compare($0, key) <= 0 }
        guard startsBefore else { return false }
        // An exclusive end only lets a key through that the table then does not find.
        return unsafe properties.largestKey.withBytes { unsafe FullKey.compare(key, $0) <= 0 }
    }
}
