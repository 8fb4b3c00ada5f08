public import VarveIO

/// What a repair brought over, and what it had to leave.
public struct RepairReport: Sendable {
    /// A place that could not be read.
    public struct Loss: Sendable, Hashable {
        public var path: String
        /// Where the unreadable bytes begin; nil: the whole file.
        public var offset: UInt64?
        /// How many there are, where that is known.
        public var bytes: UInt64?
        public var reason: String
    }

    /// Entries in the new store.
    public var entries: UInt64 = 0
    public var tables = 0
    public var blocks: UInt64 = 0
    public var logSegments = 0
    public var logFrames: UInt64 = 0
    /// Whether a manifest told which tables belong to the store. If none did, every table in the folder was taken, among
    /// them perhaps some that were about to be removed: what had been deleted may be back.
    public var hasManifest = false
    public var losses: [Loss] = []

    public init() {}

    /// One JSON object.
    public var json: String {
        var text = JSONText()
        text.add("entries", entries)
        text.add("tables", tables)
        text.add("blocks", blocks)
        text.add("logSegments", logSegments)
        text.add("logFrames", logFrames)
        text.add("hasManifest", hasManifest)
        text.add(
            "lost",
            losses.map { loss in
                var object = JSONText()
                object.add("path", loss.path)
                object.add("offset", loss.offset.map { String($0) })
                object.add("bytes", loss.bytes.map { String($0) })
                object.add("reason", loss.reason)
                return object
            })
        return text.finished()
    }

    mutating func lose(_ path: String, _ error: VarveError) {
        losses.append(Loss(path: path, offset: error.offset, bytes: nil, reason: error.message))
    }
}

extension Engine {
    /// Salvages what can be read of a damaged store into a new one in `destination`, which must not exist.
    ///
    /// Reads every table that opens, block by block, and every frame of the log that verifies, after damage too; of
    /// each key the newest version that could be read wins. Deletes and range deletes count where they can be read; one
    /// that is lost brings back what it hid. Log that tables hold already counts only where a table is not whole: what
    /// that lost may be there, and so may what was deleted since. The new store has an identity and LSNs of its own.
    /// The damaged one is not changed. Blocks.
    /// - Throws: `.storeInUse`, `.notAStore`, `.storeExists`, `.unsupportedFormat` for a store whose manifest or log is
    ///   of another format or holds what this version does not know, and what keeps the new store from being written.
    ///   Damage is in the report.
    public static func repair(
        storeAt source: String, into destination: String, fileSystem: any FileSystem = PosixFileSystem(),
        progress: (_ done: UInt64, _ total: UInt64) -> Void = { _, _ in }
    ) throws(VarveError) -> RepairReport {
        try Repair(source: source, destination: destination, files: fileSystem).run(progress)
    }
}

/// One repair: finds the tables, turns the log into further ones, and merges them all into the new store.
struct Repair {
    let source: String
    let destination: String
    let files: any FileSystem

    /// Where the log's content lies as tables while it is merged.
    private var scratch: String { destination + ".salvage.tmp" }

    func run(_ progress: (UInt64, UInt64) -> Void) throws(VarveError) -> RepairReport {
        let names = try list()
        let lock =
            names.contains(.lock) ? try StoreLock.take(files, path: FileName.lock.path(in: source), .shared) : nil
        defer { lock?.release() }
        try lifted { () throws(IOError) in
            if try files.exists(scratch) { try FolderRemover.remove(scratch, files) }
            try files.createDirectory(scratch)
        }
        defer { try? FolderRemover.remove(scratch, files) }
        do throws(VarveError) {
            return try salvage(names, progress)
        } catch {
            // What was begun is of no use, and would stand in the way of the next attempt.
            try? FolderRemover.remove(destination, files)
            throw error
        }
    }

    private func list() throws(VarveError) -> [FileName] {
        let names = try lifted { () throws(IOError) in
            try files.exists(source) ? try files.list(source) : []
        }.compactMap { FileName($0) }
        guard !names.isEmpty else { throw VarveError(.notAStore, "there is no store in \(source)", path: source) }
        if names.contains(.degraded) { try checkMark() }
        guard try lifted({ () throws(IOError) in try !files.exists(destination) }) else {
            throw VarveError(.storeExists, "\(destination) is there already; name a new folder", path: destination)
        }
        return names.sorted { ($0.number ?? 0) < ($1.number ?? 0) }
    }

    /// What a set mark covers was changed elsewhere: salvaging it would bring old values back.
    private func checkMark() throws(VarveError) {
        let path = FileName.degraded.path(in: source)
        let bytes = try AtomicFile.read(atPath: path, files, limit: DegradedMarkFile.bytes)
        if let file = try? DegradedMarkFile(reading: bytes, path: path), file.mark == nil { return }
        throw VarveError(
            .degraded,
            "the degraded mark of \(source) is set, or cannot be read: its entries were changed in memory alone, and none "
                + "may be trusted; to salvage what may be outdated remove \(path) first", path: path)
    }

    /// What a manifest says.
    private struct Known {
        let version: Version
        /// CURRENT names it. Whoever writes a store begins a manifest in its own format at every opening, before
        /// anything else: so nothing here is of a later version than this one.
        let isInForce: Bool
    }

    private func salvage(
        _ names: [FileName], _ progress: (UInt64, UInt64) -> Void
    ) throws(VarveError) -> RepairReport {
        var report = RepairReport()
        let known = try readManifest(names, &report)
        let live = known.map { Set($0.version.allTables.map(\.number)) }
        var tables: [SalvagedTable] = []
        for name in names {
            guard case .table(let number) = name, live?.contains(number) ?? true else { continue }
            open(name.path(in: source), number, &tables, &report)
        }
        if let live {
            for number in live.sorted() where !names.contains(.table(number)) {
                let path = FileName.table(number).path(in: source)
                report.losses.append(RepairReport.Loss(path: path, reason: "the table is not there"))
            }
        }
        report.tables = tables.count
        let log = try SalvagedLog(
            files: files, scratch: scratch, covered: known.map { covered($0.version, tables) } ?? .zero,
            isOfThisVersion: known?.isInForce ?? false)
        try salvage(log, names, &tables, &report)
        try merge(tables, known?.version.floors ?? FloorTable(), &report, progress)
        for table in tables { report.losses += table.losses }
        report.blocks = tables.reduce(0) { $0 + $1.blocksRead }
        return report
    }

    /// The tables that belong to the store, and its floors; nil where no manifest can be read. One of another format is not
    /// damaged: to go on without it would bring back what was deleted.
    private func readManifest(_ names: [FileName], _ report: inout RepairReport) throws(VarveError) -> Known? {
        var numbers: [FileNumber] = []
        do throws(VarveError) {
            if let current = try CurrentFile.read(in: source, files) { numbers = [current] }
        } catch {
            report.lose(FileName.current.path(in: source), error)
        }
        let isNamed = !numbers.isEmpty
        if !isNamed {
            for case .manifest(let number) in names.reversed() { numbers.append(number) }
        }
        for number in numbers {
            do throws(VarveError) {
                let manifest = try ManifestReader.read(number, in: source, files) {
                    TableFile(number: $0, properties: $1)
                }
                report.hasManifest = true
                return Known(version: manifest.version, isInForce: isNamed)
            } catch {
                if error.code == .unsupportedFormat { throw error }
                report.lose(FileName.manifest(number).path(in: source), error)
            }
        }
        return nil
    }

    private func open(
        _ path: String, _ number: FileNumber, _ tables: inout [SalvagedTable], _ report: inout RepairReport
    ) {
        do throws(VarveError) {
            tables.append(
                SalvagedTable(
                    try TableReader.open(files, path: path, fileNumber: number, cache: BlockCache(capacity: 0))))
        } catch {
            report.lose(path, error)
        }
    }

    /// The LSN up to which the tables hold everything, so that the log has nothing to add; it would only bring back
    /// what a delete hid that has rotted there, and that the tables have let go of. Zero where a table is not whole:
    /// the log may hold what that has lost.
    private func covered(_ version: Version, _ tables: [SalvagedTable]) -> LSN {
        let live = version.allTables
        guard tables.count == live.count else { return .zero }
        let hashes = Dictionary(live.map { ($0.number, $0.properties.contentHash) }) { first, _ in first }
        for table in tables {
            guard let hash = hashes[table.number], table.isWhole(hash) else { return .zero }
        }
        return version.flushed.lsn
    }

    private func salvage(
        _ log: SalvagedLog, _ names: [FileName], _ tables: inout [SalvagedTable], _ report: inout RepairReport
    ) throws(VarveError) {
        for case .log(let number) in names {
            try log.read(FileName.log(number).path(in: source), &report)
        }
        for (path, number) in try log.finish() {
            tables.append(
                SalvagedTable(
                    try TableReader.open(files, path: path, fileNumber: number, cache: BlockCache(capacity: 0))))
        }
    }

    /// Writes the newest version of every key that is not deleted, and keeps as floors the source versions of those that
    /// are.
    private func merge(
        _ tables: [SalvagedTable], _ floors: FloorTable, _ report: inout RepairReport,
        _ progress: (UInt64, UInt64) -> Void
    ) throws(VarveError) {
        var floors = floors
        var options = EngineOptions()
        options.offersSocket = false
        let engine = try Engine.open(at: destination, options, fileSystem: files)
        do throws(VarveError) {
            let total = tables.reduce(0) { $0 + UInt64($1.blockCount) }
            let tombstones = tables.map(\.rangeTombstones).filter { !$0.isEmpty }
            var merge = SalvageMerge(tables)
            var batch = WriteBatch()
            while let found = merge.next() {
                guard found.trailer.kind == .put, !Repair.isHidden(found, by: tombstones) else {
                    Repair.raise(&floors, by: found)
                    continue
                }
                try batch.putEntry(fullKey: found.key, entry: found.entry)
                report.entries += 1
                if batch.byteCount >= 1 << 20 {
                    try engine.write(batch)
                    batch.removeAll()
                    progress(tables.reduce(0) { $0 + $1.blocksRead }, total)
                }
            }
            try engine.write(batch)
            try engine.flush()
            var edit = VersionEdit()
            edit.floors = floors.raised
            if !edit.isEmpty { try engine.versions.logAndApply(edit) }
        } catch {
            try? engine.close()
            throw error
        }
        try engine.close()
    }

    private static func raise(_ floors: inout FloorTable, by found: SalvagedEntry) {
        unsafe found.entry.withBytes { entry in
            guard let version = unsafe (try? EntryView(entry))?.sourceVersion else { return }
            let hash = unsafe found.key.withBytes { unsafe XXH3.hash64($0) }
            floors.raise(FloorTable.Floor(slot: FloorTable.slot(ofKeyHash: hash), version: version))
        }
    }

    private static func isHidden(_ found: SalvagedEntry, by tombstones: [RangeTombstones]) -> Bool {
        tombstones.contains { tombstones in
            let newest = unsafe found.key.withBytes { unsafe tombstones.maxLSN(covering: $0, at: .max) }
            return newest.map { $0 > found.trailer.lsn } ?? false
        }
    }
}
