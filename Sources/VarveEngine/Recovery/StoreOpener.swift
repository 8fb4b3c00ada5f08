internal import VarveIO

/// Opens a store: takes its lock, reads its manifest, replays its log, and puts the parts together.
///
/// Nothing on disk is changed for a reader. A writer removes what an earlier process left unfinished, and only then the
/// record of a clean close; a crash anywhere in between finds the same store again.
struct StoreOpener {
    let directory: String
    let options: EngineOptions
    let files: any FileSystem
    let role: Engine.Role
    let clock: any SystemClock
    let progress: (@Sendable (RecoveryProgress) -> Void)?
    /// Where the engine takes the place of another one.
    var handover: StoreHandover?
    /// Where a reader keeps writers out, and has the degraded mark ready, until it can be written.
    var standsIn = false

    /// What was there before this opening.
    private struct Found {
        let versions: VersionSet
        let closed: CleanClose?
        let previous: LockRecord?
        let isNew: Bool
    }

    func open() throws(VarveError) -> Engine {
        try options.validate()
        if let handover { return try assemble(try findStore(handover.lock), handover.lock) }
        let lockPath = FileName.lock.path(in: directory)
        try lifted { () throws(IOError) in
            guard role == .primary, options.createIfMissing, try !files.exists(directory) else { return }
            try files.createDirectory(directory)
        }
        // The lock is taken where there is a store, or where one may be made; a foreign folder gets no LOCK.
        let isStore = try lifted { () throws(IOError) in
            if try files.exists(lockPath) { return true }
            return try files.exists(FileName.current.path(in: directory))
        }
        guard isStore || (role == .primary && options.createIfMissing) else { throw notAStore() }
        let lock = try StoreLock.take(files, path: lockPath, role == .readOnly && !standsIn ? .shared : .exclusive)
        do {
            return try assemble(try findStore(lock), lock)
        } catch {
            lock.release(keepsRecord: true)
            throw error
        }
    }

    private func notAStore() -> VarveError {
        VarveError(.notAStore, "there is no store in \(directory)", path: directory)
    }

    // MARK: Finding

    private func findStore(_ lock: StoreLock) throws(VarveError) -> Found {
        let names = try lifted { () throws(IOError) in try files.list(directory) }.compactMap { FileName($0) }
        let closed = try CleanClose.read(in: directory, files)
        let highest = names.compactMap(\.number).max() ?? 0
        let versions = try VersionSet.open(
            in: directory, files, closed: closed, forWriting: role != .readOnly, minimumFileNumber: highest + 1,
            admit: checkMayWrite)
        if let versions {
            if let handover, handover.storeID != versions.state.identity.storeID {
                throw VarveError(
                    .corruption, "another store lies in \(directory) than the one that was open", path: directory)
            }
            return Found(versions: versions, closed: closed, previous: lock.previous, isNew: false)
        }
        if let witness = names.first(where: StoreOpener.provesStore) {
            throw VarveError(
                .missingFile,
                "\(directory) holds \(witness.text) but no CURRENT, which names the manifest; run repair to salvage it",
                path: FileName.current.path(in: directory))
        }
        guard role != .follower, handover == nil, !standsIn else { throw notAStore() }
        // Nothing, or a creation that was cut short: an empty store either way.
        if role == .primary {
            for name in names where name != .lock {
                try lifted { () throws(IOError) in try files.remove(name.path(in: directory)) }
            }
            try removeUnfinished()
        }
        let first = TimelineOrigin(
            timeline: TimelineID(ordinal: 1, unique: .random()), parent: nil, forkLSN: .zero, reason: .created)
        let created = try VersionSet.create(
            identity: StoreIdentity(storeID: .random(), nodeID: .random()), first: first, in: directory, files,
            isDurable: role == .primary)
        return Found(versions: created, closed: nil, previous: nil, isNew: true)
    }

    /// Before anything is changed.
    private func checkMayWrite(_ state: ManifestState) throws(VarveError) {
        guard role == .primary, !options.promotesCopies, state.checkpointOrigin != nil else { return }
        throw VarveError(
            .readOnly,
            "\(directory) is a copy of another store; to write it is to begin a history of its own, and then it can "
                + "follow that store no longer", path: directory)
    }

    /// Whether a file of that name is only made once CURRENT is there for good: a creation that was cut short leaves at
    /// most the first manifest.
    static func provesStore(_ name: FileName) -> Bool {
        switch name {
        case .table, .log, .closed, .degraded: true
        case .manifest(let number): number > 1
        case .current, .lock: false
        }
    }

    /// Every table that the manifest names must be there before anything is changed: what an opening removes might be
    /// what a repair needs.
    private func checkTables(_ versions: VersionSet) throws(VarveError) {
        let names = Set(try lifted { () throws(IOError) in try files.list(directory) })
        for table in versions.version.allTables where !names.contains(FileName.table(table.number).text) {
            let path = FileName.table(table.number).path(in: directory)
            throw VarveError(.missingFile, "\(path), which the manifest names, is not there", path: path)
        }
    }

    /// The store's folder is a name in its parent.
    private func syncParent() throws(VarveError) {
        let trimmed = directory.hasSuffix("/") ? String(directory.dropLast()) : directory
        let parent = trimmed.lastIndex(of: "/").map { String(trimmed[..<$0]) } ?? "."
        try lifted { () throws(IOError) in try files.syncDirectory(parent.isEmpty ? "/" : parent) }
    }

    // MARK: Replaying

    /// Replays the log after what tables hold; nil where there is none yet: a store that was just created, or a
    /// checkpoint whose tables hold everything.
    private func replay(
        _ found: Found, into memtables: inout MemtableRecovery
    ) throws(VarveError) -> LogRecovery.Result? {
        let state = found.versions.state
        let hasLog = try lifted { () throws(IOError) in try files.list(directory) }.contains {
            if case .log? = FileName($0) { true } else { false }
        }
        let isClosedBeyond = found.closed.map { $0.log.lsn > state.flushed.lsn } ?? false
        let mayLackLog = state.flushed.lsn == .zero || state.checkpointOrigin?.lsn == state.flushed.lsn
        if !hasLog, mayLackLog, !isClosedBeyond { return nil }
        let recovery = LogRecovery(
            fileSystem: files, directory: directory, storeID: state.identity.storeID, flushed: state.flushed.lsn,
            closedEnd: found.closed?.log, usesThread: options.usesThreads, repairsTail: role != .readOnly,
            mayHoldStale: lostPower(found))
        let began = clock.bootNanoseconds
        return try recovery.run(
            progress: { step in
                progress?(
                    RecoveryProgress(
                        bytesDone: step.bytesDone, bytesTotal: step.bytesTotal, lsn: step.lsn,
                        nanoseconds: clock.bootNanoseconds - began))
            },
            deliver: { (frame) throws(VarveError) in try memtables.take(frame) })
    }

    // MARK: Assembling

    private func assemble(_ found: Found, _ lock: StoreLock) throws(VarveError) -> Engine {
        let state = found.versions.state
        try checkTables(found.versions)
        let marked = if let handover { handover.marked } else { try findMark(found) }
        var memtables = try MemtableRecovery(limit: options.memtableBytes, from: state.flushed)
        let replayed = try replay(found, into: &memtables)
        let reading = max(state.clock.reading, memtables.clockReading)
        if role != .readOnly {
            // Whoever made the folder may have died before its name was durable.
            try syncParent()
        }
        try found.versions.learn(memtables.timelines)
        if role != .readOnly { try makeWritable(found, lock) }
        let mark = try openMark(state.identity.storeID)
        let log = role == .readOnly ? nil : try openLog(found, replayed)
        let position = replayed?.position ?? state.flushed
        let threads: IOThreads
        do throws(VarveError) {
            // Its clean close would hide from the next writer that a timeline is due.
            if role == .follower, lostPower(found) { try found.versions.markAsCopy(at: position) }
            threads = try lifted { () throws(IOError) in try IOThreads(name: "varve-read", count: 2) }
        } catch {
            // Its threads would go on under a lock that is free.
            try? log?.close()
            throw error
        }
        let parts = EngineParts(
            context: StoreContext(
                files: files, directory: directory, options: options, threads: threads,
                feedThreads: LazyThreads(name: "varve-feed", count: 2), clock: clock),
            role: role, lock: lock, versions: found.versions,
            tables: TableSource(
                files: files, directory: directory, cache: BlockCache(capacity: options.blockCacheBytes)),
            clock: handover?.clock ?? StoreClock(clock: clock, lastReading: reading), log: log,
            catalog: log?.catalog ?? replayed?.catalog
                ?? LogCatalog(fileSystem: files, directory: directory),
            accounts: handover?.accounts ?? NamespaceAccounts(), feedGate: handover?.feedGate ?? FeedGate(),
            position: position,
            lastCommitTime: max(replayed?.lastCommitTime ?? .min, state.lastCommitTime),
            cut: replayed?.cut.map { RecoveryCut($0) }, mark: mark, marked: marked)
        let engine = Engine(parts, memtables)
        try engine.start(
            fork: forkReason(found, endingAt: position) ?? (marked == nil ? nil : .degraded),
            dropsMarked: handover == nil)
        return engine
    }

    private func openMark(_ storeID: UniqueID) throws(VarveError) -> DegradedMark? {
        if let handover { return handover.mark }
        if standsIn {
            if let mark = try DegradedMark.openInPlace(in: directory, of: storeID, files) { return mark }
            throw VarveError(
                .degraded, "there is no degraded mark in \(directory), nor room to make one", path: directory)
        }
        guard role == .primary else { return nil }
        return try DegradedMark.open(in: directory, of: storeID, files, makes: options.keepsDegradedMark)
    }

    /// The degraded mark, where it is set. A writer drops what it covers, a reader shows nothing of it; a store that follows
    /// another one can write no deletes of its own.
    private func findMark(_ found: Found) throws(VarveError) -> DegradedMarkFile.Mark? {
        guard !found.isNew else { return nil }
        let mark = try DegradedMark.find(in: directory, of: found.versions.state.identity.storeID, files)
        guard let mark, role == .follower else { return mark }
        let path = FileName.degraded.path(in: directory)
        throw VarveError(
            .degraded,
            "\(directory) cannot follow while its degraded mark is set (\(mark.cause)); open it once to write, or begin "
                + "from another checkpoint", path: path)
    }

    /// The steps after which the folder is this process's to write in.
    private func makeWritable(_ found: Found, _ lock: StoreLock) throws(VarveError) {
        try removeLeftovers(found.versions)
        // The boot's id must be there after a power cut, to tell one from a mere death of the process. Until the timeline
        // that such a cut asks for has begun, the record names the boot before (or none): if this opening dies first, the
        // next one must still see that the power went.
        let boot = lostPower(found) ? found.previous?.bootID ?? "" : clock.bootID
        try lock.publish(
            LockRecord(
                processID: ProcessIdentity.id, bootID: boot, started: clock.wallNanoseconds,
                program: ProcessIdentity.program, socketPath: nil))
        try lifted { () throws(IOError) in try files.syncDirectory(directory) }
        try CleanClose.remove(in: directory, files)
    }

    private func removeUnfinished() throws(VarveError) {
        try lifted { () throws(IOError) in
            for name in try files.list(directory) where FileName.isTemporary(name) {
                try files.remove(directory + "/" + name)
            }
        }
    }

    /// Files that no manifest names: outputs of jobs that were cut short, old manifests, unfinished files.
    private func removeLeftovers(_ versions: VersionSet) throws(VarveError) {
        let tables = Set(versions.version.allTables.map(\.number))
        let manifest = versions.manifestEnd?.number
        try removeUnfinished()
        try lifted { () throws(IOError) in
            for name in try files.list(directory) {
                guard let known = FileName(name) else { continue }
                let isLeft =
                    switch known {
                    case .table(let number): !tables.contains(number)
                    case .manifest(let number): number != manifest
                    case .current, .lock, .closed, .degraded, .log: false
                    }
                if isLeft { try files.remove(known.path(in: directory)) }
            }
        }
    }

    private func openLog(_ found: Found, _ replayed: LogRecovery.Result?) throws(VarveError) -> LogWriter {
        let state = found.versions.state
        let isClean = found.closed != nil
        var start = LogStart(
            position: replayed?.position ?? state.flushed,
            lastCommitTime: max(replayed?.lastCommitTime ?? .min, state.lastCommitTime),
            syncedLSN: isClean ? nil : min(state.flushed.lsn, replayed?.position.lsn ?? .max))
        if !isClean { start.unsynced = replayed?.unsynced ?? [] }
        if role == .follower || isClean { start.resume = replayed?.end }
        start.follows = role == .follower
        if role == .follower { start.decoder = replayed?.decoder }
        let versions = found.versions
        return try LogWriter(
            identity: LogIdentity(storeID: state.identity.storeID, nodeID: state.identity.nodeID),
            catalog: replayed?.catalog ?? LogCatalog(fileSystem: files, directory: directory), start: start,
            options: LogOptions(
                segmentBytes: options.logSegmentBytes, compresses: options.compressLog,
                syncInterval: options.syncInterval, usesThreads: options.usesThreads),
            nextFileNumber: { versions.takeFileNumber() })
    }

    /// Why the store must begin a timeline before it is written; nil: it goes on with its own.
    private func forkReason(_ found: Found, endingAt end: LogPosition) -> TimelineOrigin.Reason? {
        guard role == .primary, !found.isNew else { return nil }
        if let origin = found.versions.state.checkpointOrigin { return end.lsn > origin.lsn ? .promotion : .fork }
        return lostPower(found) ? .powerLoss : nil
    }

    /// Whether the store was open under another boot of the kernel and was not closed.
    private func lostPower(_ found: Found) -> Bool {
        !found.isNew && found.closed == nil && found.previous?.bootID != clock.bootID
    }
}

/// How far an opening is.
public struct RecoveryProgress: Sendable {
    /// Bytes of log that were read, and that there are.
    public let bytesDone: UInt64
    public let bytesTotal: UInt64
    public let lsn: LSN
    /// Since it began.
    public let nanoseconds: Int64
}

/// What recovery cut off the log's end: bytes that had never been synced, or were being written.
public struct RecoveryCut: Sendable {
    public let path: String
    public let offset: UInt64
    public let bytes: UInt64
    public let removedSegments: [String]
    public let reason: String

    init(_ cut: LogRecovery.Cut) {
        path = cut.path
        offset = cut.offset
        bytes = cut.bytes
        removedSegments = cut.removed
        reason = cut.reason
    }
}
