internal import Synchronization
internal import VarveIO

/// Makes a checkpoint: a folder that is a store of its own, as of one LSN. Tables are hard links; the log after them is
/// copied, as its own frames.
///
/// It is built beside its final name and renamed when all of it is durable, so a folder of that name is a whole
/// checkpoint or is not there.
struct Checkpoint {
    let files: any FileSystem
    let source: String
    let destination: String
    let state: ManifestState
    let version: Version
    /// The place that the checkpoint ends at; durable, and the end of a batch.
    let position: LogPosition
    /// Reads the log from the flushed LSN or before, and so pins it.
    let reader: LogReader

    private var building: String { destination + ".tmp" }

    func make(progress: (_ done: UInt64, _ total: UInt64) -> Void) throws(VarveError) {
        let lock = try takePlace()
        defer { lock.release() }
        do throws(VarveError) {
            try linkTables(progress)
            try copyLog()
            try writeManifest()
            try publish()
        } catch {
            // What is left is named unfinished, and the next attempt removes it.
            try? FolderRemover.remove(building, files)
            throw error
        }
    }

    /// Makes the folder to build in, empty but for its LOCK, and holds that: of two who want the same place the second is
    /// refused. What an attempt that died left there goes; its lock went with it.
    private func takePlace() throws(VarveError) -> any FileLock {
        try refuseExisting()
        let lock = try lifted { () throws(IOError) in
            try files.createDirectory(building)
            try FolderRemover.check(building, files)
            return try files.lock(FileName.lock.path(in: building))
        }
        guard let lock else {
            throw VarveError(.storeInUse, "another checkpoint is being made at \(destination)", path: destination)
        }
        do throws(VarveError) {
            // The holder before may have finished between the two looks.
            try refuseExisting()
            try lifted { () throws(IOError) in try FolderRemover.clear(building, files, except: .lock) }
            return lock
        } catch {
            try? FolderRemover.remove(building, files)
            lock.release()
            throw error
        }
    }

    private func refuseExisting() throws(VarveError) {
        guard try lifted({ () throws(IOError) in try files.exists(destination) }) else { return }
        throw VarveError(.storeExists, "\(destination) is there already; name a new folder", path: destination)
    }

    private func linkTables(_ progress: (_ done: UInt64, _ total: UInt64) -> Void) throws(VarveError) {
        let tables = version.allTables
        let total = version.tableBytes
        var done: UInt64 = 0
        for table in tables {
            let name = FileName.table(table.number)
            do throws(IOError) {
                try files.link(name.path(in: source), to: name.path(in: building))
            } catch {
                // Another file system, or one without hard links.
                guard error.isNoLinkPossible else { throw VarveError(error) }
                try FileCopier.copy(name.path(in: source), to: name.path(in: building), files)
            }
            done &+= table.bytes
            progress(done, total)
        }
    }

    /// The frames after the flushed LSN, byte for byte, in segments of the source's salts and boundaries.
    private func copyLog() throws(VarveError) {
        guard position.lsn > version.flushed.lsn else { return }
        let stream = LogStream(reader, upTo: LogStream.Bound(lsn: position.lsn))
        let target = LogCatalog(fileSystem: files, directory: building)
        let numbers = FileNumbers(from: state.nextFileNumber)
        let origin = version.flushed
        let writer = try LogWriter(
            identity: LogIdentity(storeID: state.identity.storeID, nodeID: state.identity.nodeID), catalog: target,
            start: Checkpoint.start(at: origin, time: state.lastCommitTime),
            options: LogOptions(segmentBytes: 1 << 20, recycledSegments: 0, syncInterval: nil, usesThreads: false),
            nextFileNumber: { numbers.next() })
        do throws(VarveError) {
            while let piece = try stream.next() {
                switch piece {
                case .segment(let header): try writer.beginSegment(mirroring: header)
                case .frames(let bytes, _, _):
                    unsafe try bytes.withBytes { (bytes) throws(VarveError) in
                        _ = unsafe try writer.appendVerbatim(bytes, via: .buffer) { _ in }
                    }
                }
            }
            guard writer.position == position else {
                throw VarveError(
                    .corruption, "the copied log ends at \(writer.position), the checkpoint at \(position)",
                    path: source)
            }
        } catch {
            try? writer.close()
            throw error
        }
        try writer.close()
    }

    private static func start(at position: LogPosition, time: Timestamp) -> LogStart {
        var start = LogStart(position: position, lastCommitTime: time)
        start.follows = true
        return start
    }

    private func writeManifest() throws(VarveError) {
        var state = state
        state.identity.nodeID = .random()
        state.checkpointOrigin = position
        state.nextFileNumber &+= 1_000_000
        var edit = state.snapshot(of: version)
        // Slots belong to the node that serves those readers.
        edit.slots = []
        let number = state.nextFileNumber
        edit.nextFileNumber = number + 1
        let writer = try ManifestWriter(
            number, edit, identity: state.identity, timeline: state.timelines.current, editNumber: 1, in: building,
            files)
        let bytes = writer.bytes
        writer.close()
        try CurrentFile.write(number, in: building, files)
        try CleanClose(log: position, manifest: number, manifestBytes: bytes).write(in: building, files)
    }

    private func publish() throws(VarveError) {
        try lifted { () throws(IOError) in
            try files.syncDirectory(building)
            try files.rename(building, to: destination)
            try files.syncDirectory(FolderRemover.parent(of: destination))
        }
    }
}

/// Numbers for the files of a folder that nobody else writes.
private final class FileNumbers: Sendable {
    private let number: Atomic<UInt64>
    init(from first: FileNumber) { number = Atomic(first) }
    func next() -> FileNumber { number.wrappingAdd(1, ordering: .relaxed).oldValue }
}

/// Removes a folder and the files in it, if all of them are a store's.
enum FolderRemover {
    static func remove(_ directory: String, _ files: any FileSystem) throws(IOError) {
        try check(directory, files)
        try clear(directory, files)
        try files.removeDirectory(directory)
    }

    /// Throws where it is somebody else's folder by that name.
    static func check(_ directory: String, _ files: any FileSystem) throws(IOError) {
        for name in try files.list(directory) where FileName(name) == nil && !FileName.isTemporary(name) {
            throw .notEmpty(operation: "clear the place of the checkpoint", path: directory)
        }
    }

    static func clear(_ directory: String, _ files: any FileSystem, except kept: FileName? = nil) throws(IOError) {
        for name in try files.list(directory) where name != kept?.text { try files.remove(directory + "/" + name) }
    }

    static func parent(of path: String) -> String {
        let trimmed = path.hasSuffix("/") ? String(path.dropLast()) : path
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }
}

/// Copies a file whole and makes the copy's bytes durable.
enum FileCopier {
    static func copy(_ source: String, to destination: String, _ files: any FileSystem) throws(VarveError) {
        try lifted { () throws(IOError) in
            let from = try files.open(source, .read)
            defer { from.close() }
            let into = try files.open(destination, .createNew)
            defer { into.close() }
            let size = try from.size()
            var offset: UInt64 = 0
            while offset < size {
                let piece = try from.read(count: Int(min(1 << 20, size - offset)), at: offset)
                guard !piece.isEmpty else { throw .endedEarly(path: source) }
                try into.write(piece, at: offset)
                offset += UInt64(piece.count)
            }
            try into.sync()
        }
    }
}

extension Engine {
    /// Makes a checkpoint of the store as it is now in a folder that must not exist: hard links to the tables, a copy of
    /// the log after them. Returns the exact place that it ends at. Writers go on meanwhile. Blocks.
    ///
    /// A checkpoint is a store: opened to write it begins a timeline of its own; opened to follow it takes the log of
    /// this store from there. For that the log must be kept: `slot` registers a reader of that name at the checkpoint's
    /// end, before the checkpoint is made.
    /// - Throws: `.storeExists` where the folder is there; `.storeInUse` while another checkpoint is made in its place.
    @discardableResult
    public func checkpoint(
        to destination: String, slot: String? = nil, progress: (_ done: UInt64, _ total: UInt64) -> Void = { _, _ in }
    ) throws(VarveError) -> LogPosition {
        guard let writing else { throw VarveError(.readOnly, "a checkpoint is made of a store that is open to write") }
        try checkUnmarked("copied")
        // The version first: whatever it holds lies before the position that is taken after it.
        let (state, version, reader) = try pinned(writing.log)
        let position = writing.pipeline.position
        try writing.log.groupSync.wait(upTo: position.lsn)
        if let slot { try registerSlot(slot, at: position.lsn) }
        let path = destination.hasSuffix("/") ? String(destination.dropLast()) : destination
        try Checkpoint(
            files: context.files, source: directory, destination: path, state: state, version: version,
            position: position, reader: reader
        ).make(progress: progress)
        return position
    }

    /// The tables of one moment, and a reader that pins the log after what exactly these hold.
    private func pinned(_ log: LogWriter) throws(VarveError) -> (ManifestState, Version, LogReader) {
        while true {
            let (state, version) = versions.current
            do throws(VarveError) {
                return (state, version, try LogReader(log, after: version.flushed.lsn, alignment: .restartFrame))
            } catch {
                // A flush came between the two looks, and the log went; then more is flushed now.
                guard error.code == .logGap else { throw error }
            }
        }
    }

    // MARK: Slots

    /// Registers a reader of the log, or moves one: log after `lsn` is kept for it, up to `capBytes` (nil: as
    /// before, or the store's limit). Durable when it returns. A reader beyond its cap loses the log and is told of the gap.
    public func registerSlot(_ name: String, at lsn: LSN, capBytes: UInt64? = nil) throws(VarveError) {
        try slotTurn.withLock { (_) throws(VarveError) in try setSlot(name, lsn, capBytes: capBytes) }
    }

    /// Under `slotTurn`: who registers, moves or removes has looked at what is there.
    func setSlot(_ name: String, _ lsn: LSN, capBytes: UInt64? = nil) throws(VarveError) {
        guard !name.isEmpty, name.utf8.count <= VersionEdit.slotNameBytes else {
            throw VarveError(.invalidArgument, "a slot's name has 1 to \(VersionEdit.slotNameBytes) bytes")
        }
        guard let writing else { throw VarveError(.readOnly, "slots are kept by a store that is open to write") }
        var edit = VersionEdit()
        let cap = capBytes ?? versions.state.slots[name]?.capBytes ?? options.logRetentionBytes
        edit.slots = [RetentionSlot(name: name, lsn: lsn, capBytes: cap)]
        try writing.store.install(edit)
        writing.compaction.wakeUp()
    }

    /// Lets the log go up to a place that is kept for a reader; never back. Durable when it returns. False, with nothing
    /// changed, where there is none of that name: who removed it is right. Blocks.
    /// - Throws: `.notContinuing` for a place that is not in this store's history, or beyond its end.
    package func moveSlot(_ name: String, to cursor: ChangeCursor) throws(VarveError) -> Bool {
        guard let known = versions.state.slots[name] else { return false }
        try checkHistory(of: cursor)
        guard cursor.lsn > known.lsn else { return true }
        // A reader of what is acknowledged, and not yet durable, may be ahead of what a power cut leaves. What is written in its
        // place must not lie before the slot.
        try writing?.log.groupSync.wait(upTo: cursor.lsn)
        return try slotTurn.withLock { (_) throws(VarveError) in
            guard let known = versions.state.slots[name] else { return false }
            if cursor.lsn > known.lsn { try setSlot(name, cursor.lsn) }
            return true
        }
    }

    /// Forgets a reader of the log. False where there is none of that name.
    @discardableResult
    public func removeSlot(_ name: String) throws(VarveError) -> Bool {
        try slotTurn.withLock { (_) throws(VarveError) in try dropSlot(name) }
    }

    /// Under `slotTurn`.
    func dropSlot(_ name: String) throws(VarveError) -> Bool {
        guard let writing else { throw VarveError(.readOnly, "slots are kept by a store that is open to write") }
        guard versions.state.slots[name] != nil else { return false }
        var edit = VersionEdit()
        edit.removedSlots = [name]
        try writing.store.install(edit)
        writing.compaction.wakeUp()
        return true
    }
}
