internal import Synchronization

/// How much of each table a rewrite would let go because keys were invalidated. No table tells that of itself, since it takes
/// keys and the versions of entries: so some blocks of each are looked at, once after each such change, and a few tables at a
/// time. Until a table's turn has come, what was found in it before counts. Any thread.
final class ProbedShares: Sendable {
    private struct Known {
        /// Of the judge, when the table was looked at.
        var generation: UInt64
        var share = 0.0
        /// Readers at or beyond this may see more of it invalidated.
        var until = LSN.max
    }
    private let judge: any InvalidationJudge
    private let open: @Sendable (TableFile) throws(VarveError) -> TableReader
    private let known = Mutex<[FileNumber: Known]>([:])

    /// Tables that one look reads of, and blocks of each.
    static let tablesPerLook = 64
    static let blocks = 16

    init(
        _ judge: any InvalidationJudge, open: @escaping @Sendable (TableFile) throws(VarveError) -> TableReader
    ) {
        self.judge = judge
        self.open = open
    }

    /// Of each table that has some the share of its bytes, in 0...1, that goes when it is rewritten. `reader`: the oldest of
    /// all. What it still sees does not count, or tables would be rewritten for nothing. `reads`: whether it may wait for the
    /// disk; else it goes by what is known.
    func shares(of version: Version, from reader: LSN, reads: Bool) -> [FileNumber: Double] {
        // Before the questions: an answer that is newer than this is asked for again.
        let generation = judge.keyGeneration
        if generation == 0 { return [:] }
        let tables = version.allTables.filter(mayHoldInvalidated)
        var found = known.withLock { $0 }
        if reads { look(at: tables, generation, from: reader, into: &found) }
        let present = tables.reduce(into: [:]) { $0[$1.number] = found[$1.number] }
        if reads { known.withLock { $0 = present } }
        return present.compactMapValues { $0.share > 0 ? $0.share : nil }
    }

    private func look(
        at tables: [TableFile], _ generation: UInt64, from reader: LSN, into found: inout [FileNumber: Known]
    ) {
        let due = tables.filter { table in
            guard let known = found[table.number] else { return true }
            return known.generation != generation || reader >= known.until
        }
        let next = due.sorted { found[$0.number]?.generation ?? 0 < found[$1.number]?.generation ?? 0 }
        for table in next.prefix(ProbedShares.tablesPerLook) {
            found[table.number] = look(at: table, generation, from: reader)
        }
    }

    /// A rewrite by what was known at this generation has left nothing in its tables that it could let go: whatever they look
    /// like, they are not rewritten again before something is new. `until`: nil where no reader has held anything back.
    func note(_ tables: [WrittenTable], generation: UInt64, until reader: LSN?) {
        if generation == 0 { return }
        known.withLock { known in
            for table in tables { known[table.number] = Known(generation: generation, until: reader ?? .max) }
        }
    }

    /// Of a table that was written after all that is invalidated nothing need be read, nor of one that has nothing of the
    /// namespaces in question.
    private func mayHoldInvalidated(_ table: TableFile) -> Bool {
        guard let shares = table.properties.namespaceShares else { return true }
        return shares.contains { share in
            guard share.namespace >= .firstUser, share.putCount > 0 else { return false }
            let last = judge.lastInvalidation(ofKeysIn: share.namespace.rawValue)
            return last.map { $0 >= table.properties.smallestLSN } ?? false
        }
    }

    private func look(at table: TableFile, _ generation: UInt64, from reader: LSN) -> Known {
        var result = Known(generation: generation)
        // Who needs the table will say what is wrong with it.
        guard let probe = try? probe(table, from: reader) else { return result }
        (result.share, result.until) = probe
        return result
    }

    /// By whole blocks at even distances; all of them, where there are few.
    private func probe(
        _ table: TableFile, from reader: LSN
    ) throws(VarveError) -> (share: Double, until: LSN) {
        let table = try open(table)
        let cursor = table.makeCursor()
        let looks = min(table.index.count, ProbedShares.blocks)
        var (gone, all, until) = (0, 0, LSN.max)
        for look in 0..<looks {
            try cursor.seek(toBlock: (2 * look + 1) * table.index.count / (2 * looks))
            while cursor.isValid {
                let bytes = unsafe cursor.key.count + cursor.entry.count
                all += bytes
                if let lsn = unsafe invalidation(cursor.key, cursor.trailer, cursor.entry) {
                    if lsn <= reader { gone += bytes } else { until = min(until, lsn) }
                }
                if cursor.isAtEndOfBlock { break }
                try cursor.next()
            }
        }
        return (Double(gone) / Double(max(1, all)), until)
    }

    private func invalidation(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer
    ) -> LSN? {
        guard trailer.kind == .put, let namespace = unsafe FullKey.namespace(of: key), namespace >= .firstUser,
            let view = try? unsafe EntryView(entry), let judged = JudgedEntry(trailer.lsn, view, in: namespace)
        else { return nil }
        return unsafe judge.invalidation(of: judged, underFull: key)
    }
}
