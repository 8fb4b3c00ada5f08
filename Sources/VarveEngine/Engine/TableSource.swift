internal import VarveIO

/// Where open tables come from: each is opened at its first use and stays open as long as a version names it.
struct TableSource: Sendable {
    let files: any FileSystem
    let directory: String
    let cache: BlockCache

    /// The open table; opened now if nobody did before.
    @inline(__always)
    func reader(of table: TableFile) throws(VarveError) -> TableReader {
        if let reader = table.reader { return reader }
        return try open(table)
    }

    /// The same for a point read: opening a table reads it, which a caller that may not block leaves to another thread.
    @inline(__always)
    func reader(of table: TableFile, _ mode: ReadMode) throws(VarveError) -> TableReader {
        if let reader = table.reader { return reader }
        if mode == .memoryOnly { throw .wouldBlock }
        return try open(table)
    }

    @inline(never)
    private func open(_ table: TableFile) throws(VarveError) -> TableReader {
        let path = FileName.table(table.number).path(in: directory)
        let opened = try TableReader.open(
            files, path: path, fileNumber: table.number, expected: table.properties, cache: cache)
        // Of two threads that open it at once, one wins and both use the winner's.
        return table.setReader(opened)
    }
}
