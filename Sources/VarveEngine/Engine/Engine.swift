internal import Synchronization
public import VarveIO

/// A durable, ordered store of bytes: a write-ahead log, memtables, sorted tables, compaction in the background.
///
/// One process opens a store for writing; others meet `.storeInUse`, which names that process, and ask it through its
/// socket. Any thread or task may call any member at any time. Members without `async` may block the caller's thread for
/// the disk; from tasks the `async` forms are chosen, which never block the cooperative pool: what memory can answer they
/// answer without suspending.
///
/// Crash-only: nothing depends on `close`. A process killed at any instant loses no acknowledged write.
///
///     let engine = try Engine.open(at: "/var/lib/app/store")
///     try engine.put(Array("answer".utf8), Array("42".utf8))
///     let found = try engine.get(Array("answer".utf8))
///
/// The engine wires parts and holds no logic of its own; see docs/architecture.md.
public final class Engine: Sendable {
    /// What this opener may do with the store.
    public enum Role: String, Sendable {
        /// Reads and writes, as the only one.
        case primary
        /// Reads, and takes the log of another store.
        case follower
        /// Reads a store that nobody has open, and changes nothing on disk.
        case readOnly
    }

    public let role: Role
    /// What recovery cut off the log's end at this opening; nil: nothing.
    public let recoveryCut: RecoveryCut?
    let context: StoreContext
    let versions: VersionSet
    let tables: TableSource
    let clock: StoreClock
    let health: Health
    let gate: WriteGate
    let snapshots: SnapshotRegistry
    let keeper: ReadStateKeeper
    let catalog: LogCatalog
    /// The place at which a reader found the log's end.
    let openedAt: LogPosition
    /// The commit time of the last batch that was found at opening.
    let openedCommitTime: Timestamp
    /// Nil for a reader.
    let writing: WritingParts?
    /// A writer's degraded mark, where one is kept.
    package let mark: DegradedMark?
    /// The degraded mark as the opening found it; nil: it was not set.
    let marked: DegradedMarkFile.Mark?
    /// Whether the entries are not to be shown: see `marked`.
    package let hidesEntries: Bool
    let hold: StoreHold
    private let closed = Atomic<Bool>(false)
    var isClosed: Bool { closed.load(ordering: .relaxed) }
    private let retired = Atomic<Bool>(false)
    /// Whether another engine takes, or has taken, this one's place: see `reopened`.
    package var isRetired: Bool { retired.load(ordering: .acquiring) }
    func setRetired() { retired.store(true, ordering: .releasing) }

    var options: EngineOptions { context.options }
    let accounts: NamespaceAccounts
    /// Tells the engines apart that count there one after the other.
    let opening: UInt64
    private let hasBudget: Bool
    /// Only a store that has to forget ever asks the policy.
    @inline(__always)
    var recordsReads: Bool { hasBudget || accounts.hasLimits }
    /// The store's folder.
    public var directory: String { context.directory }

    let feedGate: FeedGate

    /// Whoever looks at a feed's slot and then changes it does so alone. Held over a manifest's sync: not for a thread that
    /// may not block.
    let slotTurn = Mutex(())

    /// Wires the parts; `start` sets them going.
    init(_ parts: EngineParts, _ memtables: borrowing MemtableRecovery) {
        role = parts.role
        recoveryCut = parts.cut
        context = parts.context
        versions = parts.versions
        tables = parts.tables
        clock = parts.clock
        catalog = parts.catalog
        accounts = parts.accounts
        opening = parts.accounts.nextOpening()
        feedGate = parts.feedGate
        hasBudget = parts.context.options.hasBudget
        openedAt = parts.position
        openedCommitTime = parts.lastCommitTime
        health = Health()
        snapshots = SnapshotRegistry()
        gate = WriteGate(limit: parts.context.options.stallLimit, health: health)
        keeper = ReadStateKeeper(active: memtables.active, sealed: memtables.sealed, versions: parts.versions)
        hold = StoreHold(parts.lock)
        mark = parts.mark
        marked = parts.marked
        hidesEntries = parts.role == .readOnly && parts.marked != nil
        if let log = parts.log {
            writing = WritingParts(
                parts, log, memtables, keeper: keeper, snapshots: snapshots, accounts: accounts, health: health,
                gate: gate)
        } else {
            writing = nil
        }
    }

    /// Begins the timeline that is due and the background work, and says who has the store. Where it throws nothing is
    /// left running, and the lock is free. `dropsMarked`: nobody else sees to what the degraded mark covers.
    func start(fork: TimelineOrigin.Reason?, dropsMarked: Bool) throws(VarveError) {
        do throws(VarveError) {
            try writing?.start(fork: fork)
            if dropsMarked, role == .primary, mark?.isSet == true { try dropMarked() }
            if role != .readOnly { try announce() }
        } catch {
            closed.store(true, ordering: .relaxed)
            ending.run()
            throw error
        }
    }

    private var ending: EngineEnding { EngineEnding(writing: writing, context: context, hold: hold) }

    deinit {
        guard !isClosed else { return }
        // Crash-only: an engine that is let go without `close` only lets go of its threads and its lock. The last
        // reference may go on one of those threads, which must not wait for its own end.
        let ending = ending
        guard let thread = try? IOThread(name: "varve-end", { ending.run() }) else { return }
        if !IOThread.isOnOne { thread.join() }
    }

    /// The LSN as of which a reader that starts now reads.
    var visibleLSN: LSN { writing?.pipeline.visibleLSN ?? openedAt.lsn }

    /// Says in LOCK, now that a timeline which was due has begun, under which boot and behind which socket the store is
    /// open. A machine without a place for sockets still gets its store.
    private func announce() throws(VarveError) {
        let stale = hold.previous?.socketPath
        let listener = options.offersSocket ? try? OwnerSocket.listen(for: context.directory, stale: stale) : nil
        let server = try listener.map { (listener) throws(VarveError) in
            try OwnerServer(
                listener: listener, service: EngineOwnerService(self), bounds: context.options.ownerBounds)
        }
        try hold.announce(
            LockRecord(
                processID: ProcessIdentity.id, bootID: context.clock.bootID,
                started: context.clock.wallNanoseconds, program: ProcessIdentity.program,
                socketPath: listener?.path), server)
    }

    /// Ends the store's use: everything synced, the end of log and manifest written down, no thread left. Later calls
    /// throw `.closed`. Call it once no other call is under way; calling it twice is fine.
    public func close() throws(VarveError) {
        guard !closed.exchange(true, ordering: .relaxed) else { return }
        hold.stopServer()
        var isClean = false
        defer { hold.release(keepsRecord: !isClean) }
        // Also where the log's end could not be made durable; before others get the lock.
        defer {
            versions.close()
            context.endThreads()
            mark?.close()
        }
        try writing?.close(versions, context)
        isClean = health.failure == nil
    }

    /// The same without blocking the caller's thread.
    public func close() async throws(VarveError) {
        try await IOThread.run(name: "varve-close") { () throws(VarveError) in try self.closeBlocking() }
    }

    private func closeBlocking() throws(VarveError) { try close() }
}

// MARK: Opening

extension Engine {
    /// Opens the store in `directory` to read and write, and creates it where there is none (unless the options say
    /// otherwise). Replays what the log holds beyond the tables; `progress` is told.
    ///
    /// Blocks: call the `async` form from a task.
    /// - Throws: `.storeInUse`, naming the process; `.corruption`, `.missingFile` and `.unsupportedFormat`, naming the
    ///   file; `.invalidArgument` for an option.
    public static func open(
        at directory: String, _ options: EngineOptions = EngineOptions(),
        fileSystem: any FileSystem = PosixFileSystem(), progress: (@Sendable (RecoveryProgress) -> Void)? = nil
    ) throws(VarveError) -> Engine {
        try openBlocking(directory, .primary, options, fileSystem, progress)
    }

    /// Opens a store that nobody has open, and changes nothing on disk.
    public static func openReadOnly(
        at directory: String, _ options: EngineOptions = EngineOptions(),
        fileSystem: any FileSystem = PosixFileSystem(), progress: (@Sendable (RecoveryProgress) -> Void)? = nil
    ) throws(VarveError) -> Engine {
        try openBlocking(directory, .readOnly, options, fileSystem, progress)
    }

    /// Opens a store to take another one's log (`apply`): a checkpoint, a store that took a log before, or one that was
    /// written and that the other's log continues. The last is marked as a copy by the first `apply` that is not refused,
    /// or here if power was lost while it was open: from then on it is written only where `EngineOptions.promotesCopies`
    /// allows that.
    ///
    /// Blocks: call the `async` form from a task.
    /// - Throws: `.notAStore` where there is none; `.degraded` where its degraded mark is set; `.storeInUse`, naming the
    ///   process; `.corruption`, `.missingFile` and `.unsupportedFormat`, naming the file; `.invalidArgument` for an
    ///   option.
    public static func openFollower(
        at directory: String, _ options: EngineOptions = EngineOptions(),
        fileSystem: any FileSystem = PosixFileSystem(), progress: (@Sendable (RecoveryProgress) -> Void)? = nil
    ) throws(VarveError) -> Engine {
        try openBlocking(directory, .follower, options, fileSystem, progress)
    }

    static func openBlocking(
        _ directory: String, _ role: Role, _ options: EngineOptions, _ files: any FileSystem,
        _ progress: (@Sendable (RecoveryProgress) -> Void)?
    ) throws(VarveError) -> Engine {
        let clock: any SystemClock
        if let given = options.clock {
            clock = given
        } else {
            clock = try lifted { () throws(IOError) in try KernelClock() }
        }
        return try StoreOpener(
            directory: directory, options: options, files: files, role: role, clock: clock, progress: progress
        ).open()
    }
}
