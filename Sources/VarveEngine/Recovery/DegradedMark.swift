internal import Synchronization
internal import VarveIO

/// The degraded mark: says durably that what the store holds was changed elsewhere (in a cache's memory, while the disk
/// took no writes) and must be dropped by who opens it next.
///
/// A file of its own, whole and synced before it is needed, so that setting the mark needs no space, no log and no
/// manifest: one overwrite in place and one sync. A failed attempt leaves it open whether the mark is set; the next one
/// writes the same bytes again, so that its sync has something to write (a sync repeated after a failure proves nothing).
///
/// Members that say so block; the rest is for any thread.
package final class DegradedMark: Sendable {
    private let path: String
    private let file: any File
    private let content: Mutex<DegradedMarkFile>
    /// Sectors that may differ from what the disk is known to hold. Held over writes and syncs of this one file: nobody
    /// takes it but threads that may block.
    private let unsynced: Mutex<Set<Int>>
    private let isDurable: Atomic<Bool>

    private init(_ path: String, _ file: any File, _ content: DegradedMarkFile) {
        self.path = path
        self.file = file
        self.content = Mutex(content)
        unsynced = Mutex([])
        isDurable = Atomic(content.mark != nil)
    }

    /// Whether the mark is known to be set on disk.
    package var isSet: Bool { isDurable.load(ordering: .acquiring) }

    /// Why it is set; nil: it is not.
    package var cause: String? { isSet ? content.withLock { $0.mark?.cause } : nil }

    /// Sets the mark durably, unless it is. Blocks.
    package func set(cause: String, at time: Timestamp) throws(VarveError) {
        if isSet { return }
        try unsynced.withLock { (unsynced) throws(VarveError) in
            if isSet { return }
            content.withLock { $0.mark = DegradedMarkFile.Mark(time: time, cause: cause) }
            try write(0, &unsynced)
            isDurable.store(true, ordering: .releasing)
        }
    }

    /// The highest source version that was acknowledged under the mark for keys of this hash; 0: none.
    package func floor(ofKeyHash hash: UInt64) -> UInt64 { content.withLock { $0.floors.floor(forKeyHash: hash) } }

    /// Notes durably that a source version of a key is acknowledged: whoever drops what the mark covers refuses older ones
    /// from then on. Blocks.
    package func raise(_ version: UInt64, ofKeyHash hash: UInt64) throws(VarveError) {
        let slot = FloorTable.slot(ofKeyHash: hash)
        let sector = DegradedMarkFile.sector(ofSlot: slot)
        try unsynced.withLock { (unsynced) throws(VarveError) in
            let isNew = content.withLock { content in
                defer { content.floors.raise(FloorTable.Floor(slot: slot, version: version)) }
                return version > content.floors.floor(ofSlot: slot)
            }
            if isNew || unsynced.contains(sector) { try write(sector, &unsynced) }
        }
    }

    /// Takes the mark away durably. Everything that it covers must be durable elsewhere, or dropped. Blocks.
    package func clear() throws(VarveError) {
        try unsynced.withLock { (unsynced) throws(VarveError) in
            let wasSet = content.withLock { content in
                defer { content.mark = nil }
                return content.mark != nil
            }
            isDurable.store(false, ordering: .releasing)
            if wasSet || unsynced.contains(0) { try write(0, &unsynced) }
        }
    }

    var floors: FloorTable { content.withLock { $0.floors } }

    private func write(_ sector: Int, _ unsynced: inout Set<Int>) throws(VarveError) {
        // Until the sync has returned nothing is known of these.
        unsynced.insert(sector)
        do throws(IOError) {
            for sector in unsynced.sorted() {
                let bytes = content.withLock { $0.encoded(sector: sector) }
                try file.write(bytes, at: UInt64(sector * DegradedMarkFile.sectorBytes))
            }
            try file.sync()
        } catch {
            throw VarveError(
                .io, "the degraded mark cannot be made durable: \(error.reason)", path: path, underlying: error)
        }
        unsynced = []
    }

    /// Reads the file back: throws where what is there cannot be read. Blocks.
    func verify() throws(VarveError) {
        try unsynced.withLock { (_) throws(VarveError) in
            let bytes = try lifted { () throws(IOError) in try file.read(count: DegradedMarkFile.bytes, at: 0) }
            try DegradedMarkFile(reading: bytes, path: path).checkFloors(path: path)
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
        try read(in: directory, of: storeID, files)?.content.mark
    }

    /// Opens the mark of a store, set or not. `makes`: where there is none it is made, durably and not set; else nil then.
    /// One that cannot be read is replaced by one that is set.
    static func open(
        in directory: String, of storeID: UniqueID, _ files: any FileSystem, makes: Bool
    ) throws(VarveError) -> DegradedMark? {
        let path = FileName.degraded.path(in: directory)
        let found = try read(in: directory, of: storeID, files)
        if found == nil, !makes { return nil }
        let content = found?.content ?? DegradedMarkFile(storeID: storeID)
        if found?.isWhole != true {
            try AtomicFile.replace(.degraded, with: content.encoded(), in: directory, files)
        }
        return DegradedMark(path, try lifted { () throws(IOError) in try files.open(path, .readWrite) }, content)
    }

    private static func read(
        in directory: String, of storeID: UniqueID, _ files: any FileSystem
    ) throws(VarveError) -> (content: DegradedMarkFile, isWhole: Bool)? {
        let path = FileName.degraded.path(in: directory)
        guard let bytes = try AtomicFile.read(.degraded, in: directory, files, limit: DegradedMarkFile.bytes) else {
            return nil
        }
        do throws(VarveError) {
            let content = try DegradedMarkFile(reading: bytes, path: path)
            guard content.storeID == storeID else {
                throw VarveError(.corruption, "\(path) is of another store", path: path)
            }
            return (content, bytes.count == DegradedMarkFile.bytes && content.damagedSectors.isEmpty)
        } catch {
            var content = DegradedMarkFile(storeID: storeID)
            content.mark = DegradedMarkFile.Mark(time: 0, cause: "the mark cannot be read: \(error.message)")
            return (content, false)
        }
    }
}
