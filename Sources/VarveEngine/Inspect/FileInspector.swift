package import VarveIO

/// Prints any file that the engine writes as text: what `varve inspect` shows. What a file is, its name says; one that
/// was renamed is known by its magic.
package struct FileInspector {
    private let fileSystem: any FileSystem
    private let path: String
    /// Only frames and entries at or after this LSN.
    package var since = LSN.zero
    /// Only batches and entries of this user key.
    package var key: [UInt8]?

    package init(_ fileSystem: any FileSystem, path: String) {
        self.fileSystem = fileSystem
        self.path = path
    }

    private enum Kind {
        case current, log, manifest, table, lock, closed, degraded
    }

    /// Calls `line` for each line. A file is shown as far as it can be read; damage is thrown then.
    package func run(_ line: (String) -> Void) throws(VarveError) {
        switch try kind() {
        case .log:
            try LogInspector(fileSystem: fileSystem, path: path, since: since, key: key).run(line)
        case .manifest:
            try LogInspector(fileSystem: fileSystem, path: path, since: since, key: key)
                .run(magic: LogFormat.manifestMagic, line)
        case .table: try inspectTable(line)
        case .current:
            line("CURRENT names \(FileName.manifest(try CurrentFile.read(atPath: path, fileSystem)).text)")
        case .closed: try inspectClose(line)
        case .lock: try inspectLock(line)
        case .degraded: try inspectMark(line)
        }
    }

    private var name: String { path.split(separator: "/").last.map { String($0) } ?? path }

    private func kind() throws(VarveError) -> Kind {
        switch FileName(name) {
        case .current: return .current
        case .manifest: return .manifest
        case .log: return .log
        case .table: return .table
        case .lock: return .lock
        case .closed: return .closed
        case .degraded: return .degraded
        case nil: break
        }
        let (head, tail) = try ends()
        if head.elementsEqual(FileInspector.bytes(LogFormat.logMagic)) { return .log }
        if head.elementsEqual(FileInspector.bytes(LogFormat.manifestMagic)) { return .manifest }
        if tail.elementsEqual(TableFooter.magic) { return .table }
        throw VarveError(
            .invalidArgument, "\(path) is no file that Varve writes, by its name and by its magic", path: path)
    }

    private static func bytes(_ magic: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: magic >> UInt64($0 * 8)) }
    }

    /// The first and the last eight bytes.
    private func ends() throws(VarveError) -> ([UInt8], [UInt8]) {
        try lifted { () throws(IOError) in
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            let size = try file.size()
            let tail = try file.read(count: 8, at: size - min(8, size))
            return (try file.read(count: 8, at: 0), tail)
        }
    }

    private func inspectTable(_ line: (String) -> Void) throws(VarveError) {
        let number = FileName(name)?.number ?? 0
        let table = try TableReader.open(
            fileSystem, path: path, fileNumber: number, cache: BlockCache(capacity: 1 << 20))
        try TableInspector(table).run(since: since, userKey: key, line)
    }

    private func inspectClose(_ line: (String) -> Void) throws(VarveError) {
        let closed = try CleanClose.read(atPath: path, fileSystem)
        line("closed with the log at LSN \(closed.log.lsn), timeline \(closed.log.timeline)")
        line("running hash \(hexadecimal(closed.log.runningHash))")
        line("\(FileName.manifest(closed.manifest).text) with \(closed.manifestBytes) bytes")
    }

    private func inspectMark(_ line: (String) -> Void) throws(VarveError) {
        let bytes = try AtomicFile.read(atPath: path, fileSystem, limit: DegradedMarkFile.bytes)
        let file = try DegradedMarkFile(reading: bytes, path: path)
        line(file.mark.map { "set at \($0.time): \($0.cause)" } ?? "not set")
        let floors = file.floors.raised
        if !floors.isEmpty { line("\(floors.count) floors, the highest \(floors.map(\.version).max() ?? 0)") }
        let single = file.copies.count { $0.readable == 1 }
        if single > 0 { line("\(single) sectors of which one copy of the two cannot be read: nothing is lost") }
        for sector in file.lostSectors { line("sector \(sector) is damaged in both copies: its floors are lost") }
    }

    private func inspectLock(_ line: (String) -> Void) throws(VarveError) {
        let size = try lifted { () throws(IOError) in
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            return try file.size()
        }
        guard size > 0 else { return line("nobody is named: the store is closed, or open to read only") }
        let record = try StoreLock.record(fileSystem, path: path)
        line("\(record.holder), opened at \(record.started), boot \(record.bootID)")
        line(record.socketPath.map { "socket \($0)" } ?? "no socket")
    }
}
