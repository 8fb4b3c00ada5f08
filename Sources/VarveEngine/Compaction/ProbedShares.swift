internal import Synchronization

/// How much of each table a rewrite would let go because keys were invalidated. No table tells that of itself, since it takes
/// keys and the versions of entries: so some blocks of each are looked at, once after each such change in one of its
/// namespaces, and a few tables at a time. Until a table's turn has come, what was found in it before counts. Any thread; one
/// at a time looks.
final class ProbedShares: Sendable {
    /// What a look found of one namespace's entries in a table.
    private struct Part {
        /// When something was last invalidated in the namespace, as of the look.
        var last: LSN
        /// Of the table's bytes.
        var share = 0.0
        /// Readers at or beyond this may see more of it invalidated.
        var until = LSN.max

        /// `share` counts bytes meanwhile.
        mutating func note(_ bytes: Int, goneFrom lsn: LSN, to reader: LSN) {
            if lsn <= reader { share += Double(bytes) } else { until = min(until, lsn) }
        }
    }
    private struct Known {
        /// By namespace. Of a cache that is closed what was found waits until it is open again.
        var parts: [UInt32: Part] = [:]
        /// When the last look failed; nil: it did not.
        var failedAt: Timestamp?

        /// Whose look was longest ago comes first, and whose look failed comes last: it may fail again.
        var turn: (Timestamp, LSN) { (failedAt ?? .min, parts.values.lazy.map(\.last).max() ?? .zero) }
    }
    private let judge: any InvalidationJudge
    private let open: @Sendable (TableFile) throws(VarveError) -> TableReader
    private let known = Mutex<[FileNumber: Known]>([:])

    /// Tables that one look reads of, and blocks of each.
    static let tablesPerLook = 64
    static let blocks = 16
    /// How long a table is left alone whose look failed, in nanoseconds.
    static let failureSpan: Timestamp = 60_000_000_000

    init(
        _ judge: any InvalidationJudge, open: @escaping @Sendable (TableFile) throws(VarveError) -> TableReader
    ) {
        self.judge = judge
        self.open = open
    }

    /// Of each table that has some the share of its bytes, in 0...1, that goes when it is rewritten, as far as is known.
    func shares(of version: Version) -> [FileNumber: Double] {
        let lasts = judge.lastInvalidations
        if lasts.isEmpty { return [:] }
        return known.withLock { known in
            version.allTables.reduce(into: [:]) { shares, table in
                let parts = known[table.number]?.parts ?? [:]
                let share = parts.reduce(0) { lasts[$1.key] == nil ? $0 : $0 + $1.value.share }
                if share > 0 { shares[table.number] = share }
            }
        }
    }

    /// Looks into some of the tables that may have more to let go than is known; false where there was none. Waits for the
    /// disk. `reader`: the oldest of all. What it still sees does not count, or tables would be rewritten for nothing.
    /// `damaged`: no rewrite reads these. `isCancelled` is asked before each table.
    func look(
        at version: Version, from reader: LSN, now: Timestamp, except damaged: Set<FileNumber>,
        isCancelled: () -> Bool
    ) -> Bool {
        // Before the questions: what is invalidated meanwhile is asked for again.
        let lasts = judge.lastInvalidations
        if lasts.isEmpty { return false }
        let tables = version.allTables
        let present = Set(tables.map(\.number))
        let found = known.withLock { known in
            known = known.filter { present.contains($0.key) }
            return known
        }
        var due: [(table: TableFile, lasts: [UInt32: LSN], known: Known)] = []
        for table in tables where !damaged.contains(table.number) {
            let lasts = ProbedShares.lasts(lasts, in: table.properties)
            let known = found[table.number] ?? Known()
            if let failedAt = known.failedAt, now &- failedAt < ProbedShares.failureSpan { continue }
            let isDue = lasts.contains { namespace, last in
                known.parts[namespace].map { $0.last != last || reader >= $0.until } ?? true
            }
            if isDue { due.append((table, lasts, known)) }
        }
        due.sort { $0.known.turn < $1.known.turn }
        for (table, lasts, former) in due.prefix(ProbedShares.tablesPerLook) {
            if isCancelled() { break }
            var next = former
            do throws(VarveError) {
                next.parts.merge(try probe(table, lasts, from: reader)) { $1 }
                next.failedAt = nil
            } catch {
                // Who needs the table will say what is wrong with it.
                next.failedAt = now
            }
            known.withLock { $0[table.number] = next }
        }
        return !due.isEmpty
    }

    /// A rewrite by what was known at these LSNs has left nothing in its tables that it could let go: whatever they look like,
    /// they are not rewritten again before something is new. `until`: nil where no reader has held anything back.
    func note(_ tables: [WrittenTable], asOf lasts: [UInt32: LSN], until reader: LSN?) {
        if lasts.isEmpty { return }
        known.withLock { known in
            for table in tables {
                let parts = ProbedShares.lasts(lasts, in: table.properties)
                    .mapValues { Part(last: $0, until: reader ?? .max) }
                if !parts.isEmpty { known[table.number] = Known(parts: parts) }
            }
        }
    }

    /// Those of the namespaces that a table has something of, which is not newer than all that was invalidated there. A record
    /// that is newer may be judged by an older version that it carries (where it moved a deadline): in a table of nothing older
    /// it waits for the next rewrite, since whoever moves deadlines writes such a table all the time.
    private static func lasts(_ lasts: [UInt32: LSN], in properties: TableProperties) -> [UInt32: LSN] {
        let older = lasts.filter { namespace, last in
            namespace >= NamespaceID.firstUser.rawValue && last >= properties.smallestLSN
        }
        // Of more namespaces than that a table does not tell.
        guard !older.isEmpty, let shares = properties.namespaceShares, shares.count < NamespaceShare.limit else {
            return older
        }
        let held = Set(shares.lazy.filter { $0.putCount > 0 }.map(\.namespace.rawValue))
        return older.filter { held.contains($0.key) }
    }

    /// By whole blocks at even distances; all of them, where there are few.
    private func probe(
        _ table: TableFile, _ lasts: [UInt32: LSN], from reader: LSN
    ) throws(VarveError) -> [UInt32: Part] {
        let table = try open(table)
        // What is read here nobody else is about to want: it takes no place in the cache from what somebody does.
        let cursor = table.makeCursor(access: .aside)
        let looks = min(table.index.count, ProbedShares.blocks)
        var parts = lasts.mapValues { Part(last: $0) }
        var all = 0
        for look in 0..<looks {
            try cursor.seek(toBlock: (2 * look + 1) * table.index.count / (2 * looks))
            while cursor.isValid {
                let bytes = unsafe cursor.key.count + cursor.entry.count
                all += bytes
                if let (namespace, lsn) = unsafe invalidation(cursor.key, cursor.trailer, cursor.entry, lasts) {
                    parts[namespace]?.note(bytes, goneFrom: lsn, to: reader)
                }
                if cursor.isAtEndOfBlock { break }
                try cursor.next()
            }
        }
        for namespace in lasts.keys { parts[namespace]?.share /= Double(max(1, all)) }
        return parts
    }

    private func invalidation(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer, _ lasts: [UInt32: LSN]
    ) -> (namespace: UInt32, LSN)? {
        guard trailer.kind == .put, let namespace = unsafe FullKey.namespace(of: key), lasts[namespace.rawValue] != nil,
            let view = try? unsafe EntryView(entry), let judged = JudgedEntry(trailer.lsn, view, in: namespace)
        else { return nil }
        return unsafe judge.invalidation(of: judged, underFull: key).map { (namespace.rawValue, $0) }
    }
}
