internal import Synchronization
internal import VarveIO

/// The parts that only a store opened for writing has: the commit pipeline, flushing and compaction.
final class WritingParts: Sendable {
    let log: LogWriter
    let pipeline: CommitPipeline
    let flushing: FlushLoop
    let compaction: CompactionLoop
    let store: StoreParts
    private let threads: Mutex<[IOThread]>
    private let isStopped = Atomic<Bool>(false)

    init(
        _ parts: EngineParts, _ log: LogWriter, _ memtables: borrowing MemtableRecovery, keeper: ReadStateKeeper,
        snapshots: SnapshotRegistry, accounts: NamespaceAccounts, health: Health, gate: WriteGate
    ) {
        self.log = log
        threads = Mutex([])
        let options = parts.context.options
        let state = CommitPipeline.State(
            clock: CommitClock(clock: parts.context.clock, last: parts.lastCommitTime), active: memtables.active,
            activeTimes: memtables.activeTimes)
        let later = LateFlush()
        pipeline = CommitPipeline(
            log: log, keeper: keeper, health: health, storeClock: parts.clock,
            options: CommitPipeline.Options(
                memtableBytes: options.memtableBytes, sealedMemtables: options.sealedMemtables,
                memtableEntries: options.memtableEntries ?? .max),
            didSeal: { later.wakeUp() }, state: state)
        let pipeline = self.pipeline
        log.didSync.set { [weak pipeline] lsn in pipeline?.didSync(upTo: lsn) }
        // Whoever meets it, a sync of the log's own thread too: writers that wait for background work ask for nothing else.
        log.sink.didFail.set { error in
            health.stop(error)
            gate.changed.raise()
        }
        // The log's own thread may have met one before.
        if let failure = log.failure { health.stop(failure) }
        let clock = parts.context.clock
        store = StoreParts(
            files: parts.context.files, directory: parts.context.directory, options: options,
            versions: parts.versions, keeper: keeper, log: log, snapshots: snapshots, clock: parts.clock,
            health: health, tables: parts.tables,
            limiter: RateLimiter(bytesPerSecond: options.backgroundBytesPerSecond ?? 0) {
                UInt64(max(0, clock.bootNanoseconds))
            },
            accounts: accounts,
            sealIfLarge: { [weak pipeline] in
                guard let pipeline, pipeline.reading.activeBytes >= options.memtableBytes / 4 else { return false }
                return (try? pipeline.sealActive()) != nil
            },
            visibleLSN: { [weak pipeline] in pipeline?.visibleLSN ?? .zero })
        // The pipeline keeps it alive; the loop must not, for what flushes refers to the loop.
        let compaction = CompactionLoop(store, gate: gate, didLook: { [weak later] in later?.wakeUp() })
        self.compaction = compaction
        flushing = FlushLoop(store, hasRoom: { [gate] in gate.tell(flushesMay: compaction.hasRoomForFlush) }) {
            compaction.wakeUp()
            gate.changed.raise()
        }
        later.set(flushing)
        parts.versions.obsolete.onArrival { [weak compaction] in compaction?.wakeUp() }
    }

    /// The pipeline is made before the loop that it wakes.
    private final class LateFlush: Sendable {
        private let loop = Mutex<FlushLoop?>(nil)
        func set(_ flushing: FlushLoop) { loop.withLock { $0 = flushing } }
        func wakeUp() { loop.withLock { $0 }?.wakeUp() }
    }

    /// Begins the timeline that is due, then the threads. Where it throws, `stop` ends what runs already.
    func start(fork reason: TimelineOrigin.Reason?) throws(VarveError) {
        if let reason { try beginTimeline(reason) }
        guard store.options.usesThreads else { return }
        try startThread("varve-flush") { [flushing] in flushing.run() }
        try startThread("varve-compact") { [compaction] in compaction.run() }
        flushing.wakeUp()
    }

    private func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) throws(VarveError) {
        let thread = try lifted { () throws(IOError) in try IOThread(name: name, body) }
        threads.withLock { $0.append(thread) }
    }

    /// A store that continues another one's history, or its own after a power cut, must not share positions with it.
    private func beginTimeline(_ reason: TimelineOrigin.Reason) throws(VarveError) {
        // What the parent holds is durable before the fork is written down, and the fork before its first record: a
        // crash between leaves a timeline without records, and the next opening begins another.
        try log.sync()
        let parent = log.position
        let ordinal = max(parent.timeline.ordinal, store.versions.state.timelines.current.ordinal) &+ 1
        let origin = TimelineOrigin(
            timeline: TimelineID(ordinal: ordinal, unique: .random()), parent: parent.timeline, forkLSN: parent.lsn,
            reason: reason)
        try pipeline.begin(origin)
        try log.sync()
        var edit = VersionEdit()
        edit.timelines = [origin]
        edit.origin = VersionEdit.OriginChange.none
        try store.install(edit)
    }

    /// Ends the threads. What is sealed stays in the log.
    func stop() {
        endBackgroundWork()
        guard !isStopped.exchange(true, ordering: .relaxed) else { return }
        try? log.close()
    }

    /// Ends the threads and the log, and changes nothing on disk any more: the store is to be opened anew, or takes no
    /// writes for good. What memtables hold can still be read.
    func retire() {
        pipeline.settle()
        endThreads()
        guard !isStopped.exchange(true, ordering: .relaxed) else { return }
        // A log that failed has nothing to say; where another part failed, it ends whole.
        try? log.close()
    }

    private func endBackgroundWork() {
        pipeline.close()
        endThreads()
    }

    private func endThreads() {
        flushing.stop()
        compaction.stop()
        let made = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in made { thread.join() }
    }

    func close(_ versions: VersionSet, _ context: StoreContext) throws(VarveError) {
        endBackgroundWork()
        guard !isStopped.exchange(true, ordering: .relaxed) else { return }
        let position = log.position
        try log.close()
        // After a failure the end is unknown: the next opening must find out.
        guard store.health.failure == nil else { return }
        // The wall may have stepped back at the next opening; time that entries have lived through does not come back.
        var edit = VersionEdit()
        edit.clock = store.clockState()
        try store.install(edit)
        // Every edit that made a file obsolete is durable by now. What cannot be deleted, or what a reader still holds, is
        // a file that no manifest names: the next opening removes it.
        _ = try? versions.obsolete.deleteAll(in: context.directory, of: context.files)
        guard let manifest = versions.manifestEnd else { return }
        try CleanClose(log: position, manifest: manifest.number, manifestBytes: manifest.bytes)
            .write(in: context.directory, context.files)
    }
}
