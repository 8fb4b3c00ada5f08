/// A table as text, for `varve inspect` and for tests that compare it.
struct TableInspector {
    private let table: TableReader

    init(_ table: TableReader) { self.table = table }

    /// Footer and properties, range tombstones, and with `entries` each block and entry (at most `limit` of them).
    func text(entries: Bool, limit: Int = 1000) throws(VarveError) -> String {
        var lines = header()
        for tombstone in table.rangeTombstones.tombstones() {
            lines.append(
                "range tombstone \(Self.key(tombstone.begin)) ..< \(Self.key(tombstone.end)) @\(tombstone.lsn)")
        }
        if entries { try appendEntries(&lines, limit) }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The same line by line, with the entries at or after an LSN, and of a user key where one is given.
    func run(since: LSN, userKey: [UInt8]?, _ line: (String) -> Void) throws(VarveError) {
        for text in header() { line(text) }
        for tombstone in table.rangeTombstones.tombstones() where tombstone.lsn >= since {
            line("range tombstone \(Self.key(tombstone.begin)) ..< \(Self.key(tombstone.end)) @\(tombstone.lsn)")
        }
        let cursor = table.makeCursor(access: .sequential)
        try cursor.seekToFirst()
        while cursor.isValid {
            let isWanted = userKey.map { unsafe cursor.key.dropFirst(FullKey.namespaceBytes).elementsEqual($0) }
            if cursor.trailer.lsn >= since, isWanted ?? true { line(entryLine(cursor)) }
            try cursor.next()
        }
    }

    private func entryLine(_ cursor: TableCursor) -> String {
        let kind = cursor.trailer.kind.map { "\($0)" } ?? "unknown kind"
        return unsafe "  \(Self.key(Array(cursor.key))) @\(cursor.trailer.lsn) \(kind), \(cursor.entry.count) bytes"
    }

    private func header() -> [String] {
        let (footer, properties) = (table.footer, table.properties)
        var lines = ["table: file id \(footer.fileID), \(table.fileBytes) bytes, format version \(TableFooter.version)"]
        for (name, handle) in [
            ("filter", footer.filter), ("index", footer.index), ("range tombstones", footer.rangeTombstones),
            ("properties", footer.properties),
        ] where !handle.isNone {
            lines.append("\(name): \(handle.size) bytes at \(handle.offset)")
        }
        let bound = properties.largestKeyIsExclusive ? "..<" : "..."
        lines.append("keys: \(Self.key(properties.smallestKey)) \(bound) \(Self.key(properties.largestKey))")
        lines.append(
            "entries: \(properties.putCount) puts, \(properties.deleteCount) deletes, "
                + "\(properties.rangeTombstoneCount) range tombstones in \(properties.dataBlockCount) blocks")
        lines.append("LSNs: \(properties.smallestLSN) ... \(properties.largestLSN)")
        if properties.smallestCommitTime <= properties.largestCommitTime {
            lines.append("commit times: \(properties.smallestCommitTime) ... \(properties.largestCommitTime)")
        }
        lines.append(
            "bytes: \(properties.rawKeyBytes) of keys, \(properties.rawEntryBytes) of entries, "
                + "\(properties.storedDataBytes) stored")
        for share in properties.namespaces {
            lines.append(
                "namespace \(share.namespace.rawValue): \(share.putCount) puts, \(share.rawBytes) bytes, "
                    + "\(share.storedBytes) stored")
        }
        if properties.earliestUsableUntil != .max {
            let latest = properties.latestUsableUntil == .max ? "never" : "\(properties.latestUsableUntil)"
            lines.append("expiry: \(properties.earliestUsableUntil) ... \(latest)")
        }
        if !properties.tagSample.isEmpty {
            let tagged = properties.tagSample.entries.reduce(0) { $0 + $1.weight }
            lines.append("tags: on \(tagged) of \(properties.tagSample.count) samples")
        }
        if properties.sourceVersionCount > 0 {
            lines.append(
                "source versions: \(properties.sourceVersionCount), highest \(properties.highestSourceVersion)")
        }
        return lines
    }

    private func appendEntries(_ lines: inout [String], _ limit: Int) throws(VarveError) {
        let cursor = table.makeCursor(access: .sequential)
        try cursor.seekToFirst()
        var (block, shown) = (-1, 0)
        while cursor.isValid {
            if shown == limit {
                lines.append("...")
                return
            }
            if cursor.blockNumber != block {
                block = cursor.blockNumber
                let extent = try table.extent(of: block)
                lines.append("block \(block): \(extent.count) bytes at \(extent.lowerBound)")
            }
            lines.append(entryLine(cursor))
            shown += 1
            try cursor.next()
        }
    }

    /// Namespace and user key; bytes that do not print as hexadecimal escapes.
    static func key(_ full: [UInt8]) -> String {
        guard full.count >= FullKey.namespaceBytes else { return escaped(full[...]) }
        let namespace = full[..<FullKey.namespaceBytes].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return "\(namespace)/" + escaped(full[FullKey.namespaceBytes...])
    }

    private static func escaped(_ bytes: ArraySlice<UInt8>) -> String {
        var text = ""
        for byte in bytes {
            if byte >= 0x21, byte < 0x7F, byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16)
                text += "\\x" + (digits.count < 2 ? "0" : "") + digits
            }
        }
        return text
    }
}
