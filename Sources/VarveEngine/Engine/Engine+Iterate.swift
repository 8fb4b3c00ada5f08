internal import VarveIO

extension Engine {
    /// An iterator over a namespace as of one moment, in [from, to) and with the given prefix, where they are given.
    /// It blocks where the disk must be read; from tasks use `scan`.
    public func makeIterator(
        in namespace: Namespace = .default, prefix: [UInt8] = [], from: [UInt8]? = nil, to: [UInt8]? = nil,
        at snapshot: Snapshot? = nil
    ) throws(VarveError) -> EngineIterator {
        try checkOwner(of: snapshot)
        var bounds = KeyBounds(namespace: namespace.id, prefix: prefix, from: from, to: to)
        if hidesEntries, namespace.id.isCoveredByMark { bounds = KeyBounds(lower: bounds.lower, upper: bounds.lower) }
        let pin = keeper.cell.pin()
        let lsn = snapshot?.lsn ?? visibleLSN
        let cursor = try SourceAssembly.visibleCursor(
            over: pin.state, bounds: bounds, at: lsn, now: clock.now(), tables)
        return EngineIterator(cursor: cursor, pin: pin, snapshot: snapshot, namespace: namespace.id)
    }

    /// One page of a scan.
    public struct Page: Sendable {
        public var entries: [(key: [UInt8], value: StoredValue)] = []
        /// Where the next page begins; nil: this was the last.
        public var next: [UInt8]?
    }

    /// Up to `limit` entries in key order (or from the last back), without blocking the caller's thread. For one state
    /// over several pages take a snapshot; the page names where the next one begins: as `from`, or, in reverse, as `to`.
    public func scan(
        in namespace: Namespace = .default, prefix: [UInt8] = [], from: [UInt8]? = nil, to: [UInt8]? = nil,
        limit: Int, reverse: Bool = false, at snapshot: Snapshot? = nil
    ) async throws(VarveError) -> Page {
        try await context.threads.run { () throws(VarveError) in
            try self.page(
                in: namespace, prefix: prefix, from: from, to: to, limit: limit, reverse: reverse, at: snapshot)
        }
    }

    /// The same for threads that may block.
    public func page(
        in namespace: Namespace = .default, prefix: [UInt8] = [], from: [UInt8]? = nil, to: [UInt8]? = nil,
        limit: Int, reverse: Bool = false, at snapshot: Snapshot? = nil
    ) throws(VarveError) -> Page {
        guard limit > 0 else { throw VarveError(.invalidArgument, "a page holds at least one entry") }
        let iterator = try makeIterator(in: namespace, prefix: prefix, from: from, to: to, at: snapshot)
        var page = Page()
        if reverse { try iterator.seekToLast() } else { try iterator.seekToFirst() }
        while iterator.isValid {
            let key = iterator.key
            if page.entries.count == limit {
                // In reverse the bound is exclusive: the last key given out.
                page.next = reverse ? page.entries.last?.key : key
                break
            }
            page.entries.append((key, try iterator.storedValue()))
            if reverse { try iterator.previous() } else { try iterator.next() }
        }
        return page
    }

    /// About how many bytes [from, to) takes in tables, and how many entries lie in memtables.
    public func approximateSize(
        in namespace: Namespace = .default, from: [UInt8]? = nil, to: [UInt8]? = nil
    ) throws(VarveError) -> UInt64 {
        let bounds = KeyBounds(namespace: namespace.id, from: from, to: to)
        let version = keeper.cell.pin().state.version
        var bytes: UInt64 = 0
        for level in 0..<Limits.levels {
            for table in version.tables(in: level, overlapping: bounds.lower, bounds.upper) {
                let reader = try tables.reader(of: table)
                let begin = unsafe bounds.lower.withBytes { unsafe reader.approximateOffset(of: $0) }
                let end = bounds.upper.map { unsafe $0.withBytes { unsafe reader.approximateOffset(of: $0) } }
                bytes += (end ?? reader.fileBytes) &- min(begin, end ?? begin)
            }
        }
        return bytes
    }
}

extension EngineIterator {
    func storedValue() throws(VarveError) -> StoredValue {
        do throws(DecodeError) { return unsafe try StoredValue(entry: EntryView(currentEntry), version: version) } catch
        {
            throw VersionDamage.entry(error, Trailer(version, .put))
        }
    }
}

/// Puts the sources of a read state together.
enum SourceAssembly {
    /// A cursor over everything in `state`, newest sources first, as a reader at `lsn` sees it.
    static func visibleCursor(
        over state: ReadState, bounds: KeyBounds, at lsn: LSN, now: Timestamp, _ source: TableSource
    ) throws(VarveError) -> VisibleCursor {
        var cursors: [SourceCursor] = []
        var tombstones: [RangeTombstones] = []
        for memtable in [state.active] + state.sealed where !memtable.isEmpty {
            cursors.append(.memtable(memtable.makeCursor()))
            tombstones.append(memtable.rangeTombstones(at: lsn))
        }
        for level in 0..<Limits.levels {
            let files = state.version.tables(in: level, overlapping: bounds.lower, bounds.upper)
            for file in files where file.properties.rangeTombstoneCount > 0 {
                tombstones.append(try source.reader(of: file).rangeTombstones)
            }
            if level == 0 {
                for file in files { cursors.append(.table(try source.reader(of: file).makeCursor())) }
            } else if !files.isEmpty {
                cursors.append(
                    .level(
                        TableLevelCursor(Version.Level(Array(files), isSorted: true)) {
                            (file: TableFile) throws(VarveError) in
                            try source.reader(of: file).makeCursor()
                        }))
            }
        }
        return VisibleCursor(
            MergingCursor(cursors), bounds: bounds, snapshot: lsn, now: now, tombstones: tombstones)
    }
}
