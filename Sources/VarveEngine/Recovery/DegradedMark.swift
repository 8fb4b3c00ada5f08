internal import Synchronization
internal import VarveIO

/// The degraded mark: says durably that what the store holds was changed elsewhere (in a cache's memory, while the disk
/// took no writes) and must be dropped by who opens it next.
///
/// A file of its own, whole and synced before it is needed, so that setting the mark needs no space, no log and no
/// manifest: one overwrite in place and one sync. There are two copies of everything. A change goes over the one that is
/// not known to be durable, and once it is synced over the other one as well, whose turn for a sync comes with the next
/// change: so at every moment one copy holds what was acknowledged, whatever byte the power stops at, and where nothing is
/// being written both do, so that one may rot.
///
/// A failed attempt leaves it open whether the mark is set; the next one writes the same place again, so that its sync
/// has something to write (a sync repeated after a failure proves nothing).
///
/// Members that say so block; the rest is for any thread.
package final class DegradedMark: Sendable {
    private let path: String
    private let file: any File
    private let content: Mutex<DegradedMarkFile>
    /// What the disk is known to hold. Held over writes and syncs of this one file: nobody takes it but threads that may
    /// block.
    private let disk: Mutex<Disk>
    private let isDurable: Atomic<Bool>

    private struct Disk {
        var copies: [DegradedMarkFile.Copies]
        /// Sectors that may differ from what they should say.
        var unsynced: Set<Int> = []
    }

    private init(_ path: String, _ file: any File, _ content: DegradedMarkFile, isDurable: Bool) {
        self.path = path
        self.file = file
        self.content = Mutex(content)
        disk = Mutex(Disk(copies: content.copies))
        self.isDurable = Atomic(content.mark != nil && isDurable)
    }

    /// Whether the mark is known to be set on disk.
    package var isSet: Bool { isDurable.load(ordering: .acquiring) }

    /// Why it is set; nil: it is not.
    package var cause: String? { isSet ? content.withLock { $0.mark?.cause } : nil }

    /// Sets the mark durably, unless it is. Blocks.
    package func set(cause: String, at time: Timestamp) throws(VarveError) {
        if isSet { return }
        try disk.withLock { (disk) throws(VarveError) in
            if isSet { return }
            content.withLock { $0.mark = DegradedMarkFile.Mark(time: time, cause: cause) }
            try write([0], &disk)
            isDurable.store(true, ordering: .releasing)
        }
    }

    /// The highest source version that was acknowledged under the mark for keys of this hash; 0: none.
    package func floor(ofKeyHash hash: UInt64) -> UInt64 { content.withLock { $0.floors.floor(forKeyHash: hash) } }

    /// A source version of a key that is acknowledged under the mark.
    package struct Raise: Sendable {
        let floor: FloorTable.Floor

        package init(_ version: UInt64, ofKeyHash hash: UInt64) {
            floor = FloorTable.Floor(slot: FloorTable.slot(ofKeyHash: hash), version: version)
        }

        init(_ floor: FloorTable.Floor) { self.floor = floor }
    }

    /// Notes durably, with one sync, that source versions of keys are acknowledged: whoever drops what the mark covers
    /// refuses older ones from then on. Blocks.
    package func raise(_ raises: [Raise]) throws(VarveError) {
        try disk.withLock { (disk) throws(VarveError) in
            var sectors: Set<Int> = []
            content.withLock { content in
                for raise in raises {
                    let sector = DegradedMarkFile.sector(ofSlot: raise.floor.slot)
                    let isNew = raise.floor.version > content.floors.floor(ofSlot: raise.floor.slot)
                    if isNew || disk.unsynced.contains(sector) { sectors.insert(sector) }
                    content.floors.raise(raise.floor)
                }
            }
            if !sectors.isEmpty { try write(sectors, &disk) }
        }
    }

    /// Takes the mark away durably. Everything that it covers must be durable elsewhere, or dropped. Blocks.
    package func clear() throws(VarveError) {
        try disk.withLock { (disk) throws(VarveError) in
            let wasSet = content.withLock { content in
                defer { content.mark = nil }
                return content.mark != nil
            }
            isDurable.store(false, ordering: .releasing)
            if wasSet || disk.unsynced.contains(0) { try write([0], &disk) }
        }
    }

    var floors: FloorTable { content.withLock { $0.floors } }

    private func write(_ sectors: Set<Int>, _ disk: inout Disk) throws(VarveError) {
        // Until the sync has returned nothing is known of these.
        disk.unsynced.formUnion(sectors)
        let changed = disk.unsynced.sorted()
        do throws(IOError) {
            for sector in changed { try write(sector, copy: 1 - disk.copies[sector].newest, disk) }
            try file.sync()
        } catch {
            throw VarveError(
                .io, "the degraded mark cannot be made durable: \(error.reason)", path: path, underlying: error)
        }
        for sector in changed {
            // The other copy follows. Where it cannot be written, or a power cut tears it, this one stands.
            _ = try? write(sector, copy: disk.copies[sector].newest, disk)
            disk.copies[sector].newest = 1 - disk.copies[sector].newest
            disk.copies[sector].generation &+= 1
        }
        disk.unsynced = []
    }

    private func write(_ sector: Int, copy: Int, _ disk: borrowing Disk) throws(IOError) {
        let generation = disk.copies[sector].generation &+ 1
        let bytes = content.withLock { $0.encoded(sector: sector, copy: copy, generation: generation) }
        try file.write(bytes, at: UInt64(DegradedMarkFile.offset(ofSector: sector, copy: copy)))
    }

    /// Reads the file back: throws where something there is lost. Blocks.
    func verify() throws(VarveError) {
        try disk.withLock { (_) throws(VarveError) in
            let bytes = try lifted { () throws(IOError) in try file.read(count: DegradedMarkFile.bytes, at: 0) }
            try DegradedMarkFile(reading: bytes, path: path).check(path: path)
        }
    }

    func close() { file.close() }
}

// MARK: Finding and making

extension DegradedMark {
    /// What the mark of a store says; nil where it is not set. One that cannot be read counts as set: forgetting is safe.
    static func find(
        in directory: String, of storeID: UniqueID, _ files: any FileSystem
    ) throws(VarveError) -> DegradedMarkFile.Mark? {
        try read(in: directory, of: storeID, files)?.mark
    }

    /// Opens the mark of a store, set or not. `makes`: where there is none it is made, durably and not set; else nil then.
    /// One of which not all can be read is made anew, as it was read; one that cannot be read at all is set then.
    static func open(
        in directory: String, of storeID: UniqueID, _ files: any FileSystem, makes: Bool
    ) throws(VarveError) -> DegradedMark? {
        let path = FileName.degraded.path(in: directory)
        let found = try read(in: directory, of: storeID, files)
        if found == nil, !makes { return nil }
        var content = found ?? DegradedMarkFile(storeID: storeID)
        if found?.isWhole != true {
            content.renewCopies()
            try AtomicFile.replace(.degraded, with: content.encoded(), in: directory, files)
        }
        return DegradedMark(
            path, try lifted { () throws(IOError) in try files.open(path, .readWrite) }, content, isDurable: true)
    }

    /// Opens the mark of a store whose disk has no room, as it is; nil where there is none. Whoever wrote it may have died
    /// before it was synced, so it does not count as set before it is written again.
    static func openInPlace(
        in directory: String, of storeID: UniqueID, _ files: any FileSystem
    ) throws(VarveError) -> DegradedMark? {
        let path = FileName.degraded.path(in: directory)
        // A place that is not there would need room.
        guard let found = try read(in: directory, of: storeID, files), found.isAllThere else { return nil }
        return DegradedMark(
            path, try lifted { () throws(IOError) in try files.open(path, .readWrite) }, found, isDurable: false)
    }

    /// The same of a store whose manifest cannot be read, so that only the mark itself says whose it is; nil where that cannot
    /// be read either.
    static func openInPlace(in directory: String, _ files: any FileSystem) throws(VarveError) -> DegradedMark? {
        let path = FileName.degraded.path(in: directory)
        let bytes = try AtomicFile.read(.degraded, in: directory, files, limit: DegradedMarkFile.bytes)
        guard let bytes, let file = try? DegradedMarkFile(reading: bytes, path: path) else { return nil }
        return try openInPlace(in: directory, of: file.storeID, files)
    }

    private static func read(
        in directory: String, of storeID: UniqueID, _ files: any FileSystem
    ) throws(VarveError) -> DegradedMarkFile? {
        try AtomicFile.read(.degraded, in: directory, files, limit: DegradedMarkFile.bytes).map {
            DegradedMarkFile(salvaging: $0, of: storeID, path: FileName.degraded.path(in: directory))
        }
    }
}
