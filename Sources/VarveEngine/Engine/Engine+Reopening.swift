package import VarveIO

/// How a store goes on with a fresh engine in the place of one that takes no more writes, within one process and under one
/// lock, while the old one is still read.
extension Engine {
    /// Whether only a store that is opened anew takes writes again.
    package var mustBeReopened: Bool {
        role == .readOnly || health.failure != nil || writing?.log.hasFailed == true || isRetired
    }

    /// Opens the store anew and returns the engine that takes this one's place. What the degraded mark covers is left to the
    /// caller, who must hide it, and what `changes(beyond:)` tells, before anybody reads there.
    ///
    /// From the first call on, whether it throws or not, this engine does nothing on disk any more; it can be read for as
    /// long as somebody holds it. Its feeds end, and so does its socket: the new engine has one of its own. Where it throws,
    /// the store stays locked, and it may be called again. Blocks; one call at a time, and none beside `close`.
    package func reopened() throws(VarveError) -> Engine {
        try probeDisk()
        carryTraffic()
        retire()
        guard let lock = hold.passOn() else { throw VarveError(.closed, "the store was closed") }
        let handover = StoreHandover(
            lock: lock, mark: mark, marked: role == .readOnly ? marked : nil, accounts: accounts,
            feedGate: feedGate, clock: clock,
            storeID: versions.state.identity.storeID)
        // Here or there: whoever has it may let go of it.
        defer { lock.hasArrived() }
        let engine = try StoreOpener(
            directory: directory, options: options, files: context.files, role: .primary, clock: context.clock,
            progress: nil, handover: handover
        ).open()
        hold.letGo()
        return engine
    }

    /// Leaves to the store's accounts what this engine has sent to the log, so that the next one goes on from there.
    func carryTraffic() {
        guard let writing else { return }
        accounts.carry(writing.pipeline.reading.counts.traffic, of: opening)
    }

    /// Opens a store whose disk takes no writes, to be read until it can be `reopened`: the lock is taken, nothing is
    /// written, and the degraded mark is ready to be set. Throws where there is no store, or none that keeps a mark.
    package static func openStandIn(
        at directory: String, _ options: EngineOptions, fileSystem: any FileSystem
    ) async throws(VarveError) -> Engine {
        try await IOThread.run(name: "varve-open") { () throws(VarveError) in
            let clock: any SystemClock
            if let given = options.clock {
                clock = given
            } else {
                clock = try lifted { () throws(IOError) in try KernelClock() }
            }
            return try StoreOpener(
                directory: directory, options: options, files: fileSystem, role: .readOnly, clock: clock, progress: nil,
                standsIn: true
            ).open()
        }
    }

    /// Throws where the folder takes no writes: before anything is given up for a new opening, which would fail.
    private func probeDisk() throws(VarveError) {
        let name = FileName.closed.temporaryPath(in: directory)
        try lifted { () throws(IOError) in
            let files = context.files
            if try files.exists(name) { try files.remove(name) }
            let file = try files.open(name, .createNew)
            defer { file.close() }
            do throws(IOError) {
                try file.write([UInt8](repeating: 1, count: 4096), at: 0)
                try file.sync()
            } catch {
                // The first failure is the one to tell; an unfinished file is removed at the next opening.
                _ = try? files.remove(name)
                throw error
            }
            try files.remove(name)
        }
        guard try lifted({ () throws(IOError) in try context.files.freeBytes(directory) }) >= leastRoom else {
            throw VarveError(.diskFull, "there is no room in \(directory) for a segment of the log and a manifest")
        }
    }

    private var leastRoom: UInt64 { UInt64(options.logSegmentBytes) + 1 << 20 }

    private func retire() {
        hold.stopServer()
        // Who still asks it for work is refused, where nothing else has.
        if writing != nil { health.stop(VarveError(.closed, "the store was opened anew in this process")) }
        writing?.retire()
        versions.retire()
        setRetired()
    }

    // MARK: What the new engine may lack

    /// A change that this engine's memtables hold.
    package enum HeldChange: Sendable {
        case key([UInt8], sourceVersion: UInt64?)
        /// Keys from `begin` on and before `end`; nil: to the namespace's last.
        case range(begin: [UInt8], end: [UInt8]?)
    }

    /// Where the opening found the log's end.
    package var foundEnd: LSN { openedAt.lsn }

    /// Tells every change beyond `bound` that this engine's memtables hold, in these namespaces, of tags and of floors: what it may
    /// have shown and the one that takes its place does not hold, or the other way round. In no particular order; a key may
    /// come several times.
    package func forEachChange(
        beyond bound: LSN, in namespaces: [Namespace], _ visit: (Namespace, HeldChange) -> Void
    ) {
        var names: [NamespaceID: Namespace] = [.tagEpochs: .tagDrops, .sourceFloors: .sourceFloors]
        for namespace in namespaces { names[namespace.id] = namespace }
        let state = keeper.cell.pin().state
        for memtable in [state.active] + state.sealed {
            guard let newest = memtable.largestLSN, newest > bound else { continue }
            let cursor = memtable.makeCursor()
            cursor.seekToFirst()
            while cursor.isValid {
                if cursor.trailer.lsn > bound {
                    let (id, key) = FullKey.parts(unsafe Array(cursor.key))
                    let version = unsafe (try? EntryView(cursor.entry))?.sourceVersion
                    if let namespace = names[id] { visit(namespace, .key(key, sourceVersion: version)) }
                }
                cursor.next()
            }
            for tombstone in memtable.rangeTombstones().tombstones() where tombstone.lsn > bound {
                let (id, begin) = FullKey.parts(tombstone.begin)
                let (endID, end) = FullKey.parts(tombstone.end)
                guard let namespace = names[id] else { continue }
                visit(namespace, .range(begin: begin, end: endID == id ? end : nil))
            }
        }
    }
}

extension FullKey {
    /// The namespace's id and the user's key.
    fileprivate static func parts(_ full: [UInt8]) -> (NamespaceID, [UInt8]) {
        let id = full.prefix(namespaceBytes).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return (NamespaceID(rawValue: id), Array(full.dropFirst(namespaceBytes)))
    }
}

/// What an engine that takes another one's place gets from it.
struct StoreHandover: Sendable {
    let lock: StoreLock
    let mark: DegradedMark?
    /// The degraded mark as the first opening found it.
    let marked: DegradedMarkFile.Mark?
    /// With the limits of namespaces.
    let accounts: NamespaceAccounts
    /// Shut, where what was changed in memory is yet to come to the disk.
    let feedGate: FeedGate
    /// Entries go on to expire by it.
    let clock: StoreClock
    let storeID: UniqueID
}
