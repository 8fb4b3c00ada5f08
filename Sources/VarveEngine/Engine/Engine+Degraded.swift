internal import VarveIO

/// What the degraded mark means to the store, and what a cache that was degraded needs to come back.
extension Engine {
    /// Why the degraded mark is set; nil: it is not. A reader shows no entries of a store whose mark is set.
    public var degradedMark: String? { hidesEntries ? marked?.cause : mark?.cause }

    /// Why everything in the store was dropped when it was opened; nil: it was not.
    public var droppedAtOpening: String? { role == .primary ? marked?.cause : nil }

    /// Drops everything that the mark covers, for followers too, and takes the mark away. At opening, before anybody
    /// reads; a crash in between finds the mark again.
    func dropMarked() throws(VarveError) {
        guard let mark else { return }
        var batch = WriteBatch()
        for namespace in try namespaces() { try batch.deleteRange(from: [], to: nil, in: namespace) }
        // How far loads came stands for entries that are gone now.
        try batch.deleteRange(from: [], to: nil, in: .loadProgress)
        try write(batch, durability: .synced)
        try adoptMarkedFloors()
        try mark.clear()
    }

    /// Keeps the source versions that were acknowledged under the mark as floors of the store's own, durably. Blocks.
    package func adoptMarkedFloors() throws(VarveError) {
        guard let writing, let floors = mark?.floors.raised else { return }
        let known = versions.version.floors
        var edit = VersionEdit()
        edit.floors = floors.filter { $0.version > known.floor(ofSlot: $0.slot) }
        if !edit.isEmpty { try writing.store.install(edit) }
    }

    /// The source versions that stand in the log alone, beyond what of it is known to be durable: who drops what the mark
    /// covers might not find them there.
    package var unsyncedFloors: [DegradedMark.Raise] {
        // Of what was replayed from a log that nobody writes to no one knows how much is durable.
        let synced = writing?.log.syncedLSN ?? versions.version.flushed.lsn
        let state = keeper.cell.pin().state
        var highest: [UInt16: UInt64] = [:]
        for memtable in [state.active] + state.sealed {
            guard memtable.highestSourceVersion > 0, let newest = memtable.largestLSN, newest > synced else { continue }
            let cursor = memtable.makeCursor()
            cursor.seekToFirst()
            while cursor.isValid {
                if cursor.trailer.lsn > synced, let version = unsafe (try? EntryView(cursor.entry))?.sourceVersion {
                    let slot = unsafe FloorTable.slot(ofKeyHash: XXH3.hash64(cursor.key))
                    highest[slot] = max(highest[slot] ?? 0, version)
                }
                cursor.next()
            }
        }
        return highest.map { DegradedMark.Raise(FloorTable.Floor(slot: $0.key, version: $0.value)) }
    }

    /// The end of the log, be it visible or not.
    package var appended: LSN { writing?.log.appendedLSN ?? openedAt.lsn }

    /// Takes LSNs that were given out elsewhere, so that no write gets one of them. Takes one at least, so it also tells
    /// whether the log accepts anything. Blocks.
    package func skipLSNs(upTo last: LSN) throws(VarveError) {
        let parts = try writable()
        // A frame spans a bounded number.
        let span: UInt64 = 1 << 20
        repeat {
            let end = LSN(min(last.rawValue, parts.log.appendedLSN.rawValue &+ span))
            let nothing = [UInt8](repeating: 0, count: 1)
            let ticket = try unsafe nothing.withBytes { (bytes) throws(VarveError) in
                unsafe try parts.pipeline.append(.noOp, bytes, upTo: end)
            }
            try acknowledge(ticket, .synced)
        } while appended < last
    }

    /// Throws while the mark is set: what the store holds may be older than what its cache has acknowledged.
    func checkUnmarked(_ what: String) throws(VarveError) {
        guard let cause = mark?.cause else { return }
        throw VarveError(
            .degraded,
            "the cache goes on in memory alone (\(cause)): what is on disk may be outdated and cannot be \(what) now",
            path: FileName.degraded.path(in: directory))
    }
}

extension NamespaceID {
    /// Whether the degraded mark covers what lies there: what users stored, and what goes with it.
    var isCoveredByMark: Bool { self >= .firstUser || self == .loadProgress }
}
