internal import Synchronization
internal import VarveIO

/// Carries out what the picker chooses, one at a time, on a thread of its own, and keeps the pressure on writers and the
/// removal of obsolete files up to date.
final class CompactionLoop: Sendable {
    struct Counts: Sendable {
        var compactions: UInt64 = 0
        var bytesRead: UInt64 = 0
        var bytesWritten: UInt64 = 0
        var tablesDropped: UInt64 = 0
        var evicted: UInt64 = 0
        var expired: UInt64 = 0
        var invalidated: UInt64 = 0
        /// Entries that compactions wrote again.
        var rewritten: UInt64 = 0
    }

    /// A compaction that somebody waits for.
    final class Request: Sendable {
        enum Wish: Sendable {
            /// Nil: everything.
            case compact(KeyRange?)
            case giveBack
        }
        let wish: Wish
        /// How it went; nil until it has ended. A success holds no error.
        let outcome = Mutex<VarveError??>(nil)
        init(_ wish: Wish) { self.wish = wish }
    }

    struct State {
        var cursors = [[UInt8]](repeating: [], count: Limits.levels)
        var counts = Counts()
        var requests: [Request] = []
        var running: JobControl?
        var logBytes: UInt64 = 0
        /// Tables that came out of a sweep or a merge, or were there when the store was opened.
        var swept: Set<FileNumber> = []
        /// Sweeps in a row that let hardly anything go, and what had been flushed then: where all is pinned, no more are
        /// tried until something comes.
        var poorSweeps = 0
        var poorSince = LSN.zero
        /// Whether sweeps ask the tier in front of the store.
        var frontTrust = FrontTrust()
        /// Tables that could not be read, as far as a version has them.
        var setAside: [FileNumber: SetAside] = [:]
        /// Passes over namespaces with limits of their own.
        var quotas: [NamespaceID: QuotaProgress] = [:]
        /// Nil: what an idle store does is not done.
        var idle: IdleWatch?
        /// When tables were last looked into for what is invalidated by keys.
        var lookedAt: Timestamp?
        /// What had been flushed when there was nothing to carry out.
        var settledAt: LSN?
        var isStopping = false
    }

    let store: StoreParts
    private let gate: WriteGate
    private let picker: CompactionPicker
    private let controller: WriteController
    /// Nil: nobody invalidates anything.
    private let invalidated: InvalidatedShares?
    private let probed: ProbedShares?
    let state = Mutex(State())
    private let wake = Signal()
    private let progress = Signal()
    /// Called after each compaction, and where there is none to carry out: a flush may wait for that.
    private let didLook: @Sendable () -> Void

    init(_ store: StoreParts, gate: WriteGate, didLook: @escaping @Sendable () -> Void) {
        self.store = store
        self.gate = gate
        self.didLook = didLook
        picker = CompactionPicker(options: store.options.compaction)
        controller = WriteController(store.options.compaction)
        invalidated = store.options.judge.map { InvalidatedShares($0) }
        let tables = store.tables
        probed = store.options.judge.map { judge in
            ProbedShares(judge) { (table) throws(VarveError) in try tables.reader(of: table) }
        }
        let found = store.versions.version.allTables.map(\.number)
        state.withLock { state in
            state.swept = Set(found)
            state.idle = store.options.idleSpan.map { IdleWatch(after: $0, now: .now) }
        }
        noteOccupancy()
    }

    var statistics: Counts { state.withLock { $0.counts } }
    /// Bytes of log as of the last look.
    var logBytes: UInt64 { state.withLock { $0.logBytes } }

    /// Tables, time or space have changed: look again.
    func wakeUp() { wake.raise() }

    func stop() {
        let running = state.withLock { state in
            state.isStopping = true
            return state.running
        }
        running?.cancel()
        wake.raise()
        progress.raise()
    }

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    /// How often it looks by itself: entries expire without anything happening.
    private static let period = Duration.seconds(5)
    /// How long something that comes up may wait for a look into tables.
    private static let patience = Duration.milliseconds(100)

    /// The thread's body.
    func run() {
        var asked = ContinuousClock.now
        while true {
            // Before the look at anything that a wake-up tells of.
            let seen = wake.generation
            if isStopping { break }
            do throws(VarveError) {
                try removeObsolete()
                updatePressure()
                if try serveRequest() { continue }
                let flushed = store.versions.version.flushed.lsn
                if try carryOut(choose()) {
                    store.health.setPassing(nil)
                    didLook()
                    continue
                }
                noteSettled(at: flushed)
                didLook()
                if try settleIfIdle() { continue }
            } catch {
                fail(error)
                if store.health.failure != nil { return }
                wake.wait(after: seen, atMost: .seconds(1))
                continue
            }
            wake.wait(after: seen, atMost: CompactionLoop.period)
            // What the kernel had in memory a while ago may be gone.
            guard asked.duration(to: .now) >= CompactionLoop.period else { continue }
            for table in store.versions.version.allTables { table.reader?.checkResidency() }
            asked = .now
        }
        fail(VarveError(.closed, "the store was closed"))
    }

    /// Does all that is to be done on the calling thread: where the store has no threads of its own.
    func runHere() throws(VarveError) {
        do throws(VarveError) {
            try removeObsolete()
            while try carryOut(choose(looking: .atOnce)) { try removeObsolete() }
            updatePressure()
        } catch {
            store.health.note(error)
            throw error
        }
    }

    /// A compaction that was asked for, on the calling thread.
    func compactHere(_ range: KeyRange?) throws(VarveError) {
        for level in 0..<Limits.levels {
            guard let compaction = picker.manual(store.versions.version, from: level, range) else { continue }
            do throws(VarveError) {
                try run(compaction)
            } catch {
                // Who asked for it is told, even where it was known.
                setAside(error, compaction)
                throw error
            }
        }
    }

    /// Work that nobody asked for has failed: that concerns everybody who waits, for it comes before what they asked.
    private func fail(_ error: VarveError) {
        store.health.note(error)
        for request in state.withLock({ $0.requests }) { end(request, error) }
        gate.changed.raise()
        didLook()
    }

    // MARK: One at a time

    /// Whether tables may be looked into of which nobody knows yet how much is invalidated by keys.
    enum Looking {
        case no
        /// Some of them, once in a while.
        case inTurn
        /// All of them, for who wants to have it done.
        case atOnce
    }

    /// A look into tables waits for the disk, so it comes after what is more urgent than what it may find.
    func choose(isIdle: Bool = false, looking: Looking = .inTurn) -> CompactionAction {
        func pick() -> CompactionAction {
            var situation = situation(mayEvict: true)
            situation.isIdle = isIdle
            return picker.pick(store.versions.version, situation)
        }
        var action = pick()
        // Bounded where it is to be done at once too: somebody may go on invalidating.
        var looks = looking == .atOnce ? store.versions.version.allTables.count / ProbedShares.tablesPerLook + 1 : 1
        while looks > 0, action.comesAfterExpired, look(looking) {
            looks -= 1
            action = pick()
        }
        return action
    }

    /// False where there was nothing to look into, or it is not time yet.
    private func look(_ looking: Looking) -> Bool {
        guard looking != .no, let probed, store.log.failure == nil, !isStopping else { return false }
        let began = store.clock.now()
        if looking == .inTurn, let last = state.withLock({ $0.lookedAt }),
            .nanoseconds(began &- last) < CompactionLoop.period
        {
            return false
        }
        let seen = wake.generation
        let hasLooked = probed.look(
            at: store.versions.version, from: oldestReader, now: began, except: damagedTables,
            isCancelled: {
                if self.isStopping { return true }
                // Something has come up, which may be more urgent: the rest has time.
                return looking == .inTurn && self.wake.generation != seen
                    && .nanoseconds(self.store.clock.now() &- began) > CompactionLoop.patience
            })
        // From its end: on a slow disk it takes a while.
        state.withLock { $0.lookedAt = store.clock.now() }
        return hasLooked
    }

    private var oldestReader: LSN { store.snapshots.live(store.visibleLSN)[0] }

    private func situation(mayEvict: Bool) -> CompactionPicker.Situation {
        let flushed = store.versions.version.flushed.lsn
        let (cursors, swept, quotas, poor) = state.withLock { state in
            (state.cursors, state.swept, state.quotas, state.poorSince == flushed ? state.poorSweeps : 0)
        }
        let evicts = mayEvict && poor < CompactionLoop.hopelessSweeps
        var situation = CompactionPicker.Situation(
            now: store.clock.now(), commitTime: store.versions.state.lastCommitTime,
            tableBudget: evicts ? tableBudget : nil, entryBudget: evicts ? store.options.diskBudgetEntries : nil,
            cursors: cursors, swept: swept, poorSweeps: poor, prefersFresh: store.options.eviction.prefersFresh)
        situation.damaged = damagedTables
        // See `run`: where the log has failed nothing of it would go.
        if mayEvict, let invalidated, let probed, store.log.failure == nil {
            let version = store.versions.version
            situation.invalidated = invalidated.shares(of: version, from: oldestReader)
                .merging(probed.shares(of: version), uniquingKeysWith: +)
        }
        if mayEvict, store.accounts.hasLimits {
            situation.limits = store.accounts.limits
            situation.quotaProgress = quotas
        }
        return situation
    }

    /// Sweeps that may let nothing go before it is taken that nothing can.
    private static let hopelessSweeps = 64

    /// How much of its budgets the store takes; 0 where it has none.
    var occupancy: Double {
        var whole = situation(mayEvict: false)
        whole.tableBudget = tableBudget
        whole.entryBudget = store.options.diskBudgetEntries
        return whole.occupancy(of: store.versions.version)
    }

    private func noteOccupancy() {
        if store.options.hasBudget {
            store.options.eviction.noteEntries(store.versions.version.putCount)
            store.options.eviction.noteOccupancy(occupancy)
        }
        if store.accounts.hasLimits { store.accounts.note(store.versions.version.namespaceUse) }
    }

    /// What the budget leaves for tables, with room for the log and for the outputs of one compaction.
    var tableBudget: UInt64? {
        guard let budget = store.options.diskBudgetBytes else { return nil }
        let log = state.withLock { $0.logBytes }
        let headroom = min(budget / 4, store.options.compaction.compactionBytes)
        let reserved = log &+ headroom
        return budget > reserved ? budget - reserved : 0
    }

    /// False where there was nothing to do.
    func carryOut(_ action: CompactionAction) throws(VarveError) -> Bool {
        switch action {
        case .none: return false
        case .drop(let drop):
            try store.install(drop.edit)
            state.withLock { $0.counts.tablesDropped += UInt64(drop.tables.count) }
        case .move(let move):
            try store.install(move.edit)
            advance(move.tables[0].level, move.tables.last?.file)
        case .compact(let compaction):
            do throws(VarveError) {
                try run(compaction)
            } catch {
                guard setAside(error, compaction) else { throw error }
            }
        }
        return true
    }

    private func advance(_ level: Int, _ file: TableFile?) {
        guard let file else { return }
        state.withLock { $0.cursors[level] = file.properties.smallestKey }
    }

    private func run(_ compaction: Compaction) throws(VarveError) {
        let control = JobControl(
            limiter: store.limiter,
            sleep: { [wake] in wake.wait(after: wake.generation, atMost: .nanoseconds(Int64($0))) })
        let stops = state.withLock { state in
            state.running = control
            return state.isStopping
        }
        if stops { control.cancel() }
        defer { state.withLock { $0.running = nil } }
        // A log that failed cannot make durable what invalidated an entry; without that the entry stays.
        let generation = store.log.failure == nil ? store.options.judge?.generation ?? 0 : 0
        // Before the horizon: all that it knows of the disk is visible there.
        let judge = generation > 0 ? store.options.judge?.makePass() : nil
        let horizon = store.visibleLSN()
        let snapshots = store.snapshots.live { horizon }.filter { $0 <= horizon }
        let job = CompactionJob(
            compaction, version: store.versions.version, snapshots: snapshots, horizon: horizon,
            now: store.clock.now(), policy: store.options.eviction, judge: judge,
            front: front(for: compaction), targetBytes: store.options.compaction.tableBytes, control: control,
            unreadable: damagedTables,
            openTable: { (file) throws(VarveError) in try self.store.tables.reader(of: file) })
        guard let result = try job.runUnlessVain(into: store.outputs(commitTimes: job.commitTimes)) else {
            return noteQuotas(compaction, nil)
        }
        // What invalidated an entry must be durable before the entry goes: tables may not know more than the log.
        if result.counts.invalidated > 0 {
            do throws(VarveError) { try store.log.groupSync.wait(upTo: horizon) } catch {
                store.discard(result)
                throw error
            }
        }
        var edit = job.edit(for: result)
        edit.clock = store.clockState()
        try store.install(edit, made: result)
        let readers = RetentionRules.readers(snapshots, horizon)
        invalidated?.note(result.tables, generation: generation, from: readers[0])
        probed?.note(
            result.tables, asOf: judge?.lastInvalidations ?? [:], until: readers.count > 1 ? horizon : nil)
        store.accounts.count(result, isFlush: false)
        noteSweep(compaction, result)
        noteQuotas(compaction, result)
        noteOccupancy()
        advance(compaction.upperLevel, compaction.upper.last)
        state.withLock { state in
            state.counts.compactions += 1
            state.counts.bytesRead += compaction.inputBytes
            state.counts.bytesWritten += result.bytesWritten
            state.counts.evicted += result.counts.evicted
            state.counts.expired += result.counts.expired
            state.counts.invalidated += result.counts.invalidated
            state.counts.rewritten += result.tables.reduce(0) { $0 &+ $1.properties.putCount }
        }
        progress.raise()
    }

    /// A namespace's pass: where it made room, what was tried in vain may be tried again, but for what has to stay. One that
    /// wrote its tables anew for nothing has tried what came out of them. Nil: it wrote nothing.
    private func noteQuotas(_ compaction: Compaction, _ result: RunResult?) {
        guard case .quota(let namespace) = compaction.reason else { return }
        let outputs = result.map { $0.tables.map { TableFile(number: $0.number, properties: $0.properties) } }
        let madeRoom = outputs.map { QuotaProgress.madeRoom(for: namespace, compaction, $0) } ?? false
        let tables = Set(store.versions.version.allTables.map(\.number))
        state.withLock { state in
            var progress = state.quotas[namespace] ?? QuotaProgress()
            progress.cursor = compaction.upper.last?.properties.smallestKey ?? []
            progress.lastRun = compaction.upper.last?.number ?? 0
            let isForced = compaction.quotas.contains { $0.namespace == namespace && $0.isForced }
            progress.rest = isForced ? QuotaProgress.restPasses : max(0, progress.rest - 1)
            if !compaction.onlyCarriesDown {
                progress.note(compaction.inputs.map(\.file), outputs: outputs, madeRoom: madeRoom)
            }
            progress.poor = progress.poor.filter { tables.contains($0.key) }
            state.quotas[namespace] = progress
        }
    }

    private func noteSweep(_ compaction: Compaction, _ result: RunResult) {
        let flushed = store.versions.version.flushed.lsn
        state.withLock { state in
            for table in compaction.inputs { state.swept.remove(table.file.number) }
            state.swept.formUnion(result.tables.map(\.number))
            switch compaction.reason {
            case .eviction, .sweep: break
            default: return
            }
            let wasPoor = result.counts.evicted &* 20 < result.counts.read
            state.poorSweeps = wasPoor ? (state.poorSince == flushed ? state.poorSweeps + 1 : 1) : 0
            state.poorSince = flushed
            state.frontTrust.note(
                read: result.counts.read, asked: result.counts.asked, spared: result.counts.spared,
                storeEntries: store.versions.version.putCount, poor: state.poorSweeps)
        }
    }

    /// The tier to ask of what is used; nil where that left too little to let go.
    private func front(for compaction: Compaction) -> (any FrontTier)? {
        let asks = state.withLock { state in
            if case .quota(let namespace) = compaction.reason { return state.quotas[namespace]?.rest ?? 0 == 0 }
            return state.frontTrust.asks
        }
        return asks ? store.options.front : nil
    }

    // MARK: Asked for

    /// Compacts [begin, end) through all levels, and returns when that is done. Blocks.
    func compact(_ range: KeyRange?) throws(VarveError) { try wait(for: Request(.compact(range))) }

    func wait(for request: Request) throws(VarveError) {
        state.withLock { $0.requests.append(request) }
        wake.raise()
        // Flushes do not wait for what may take its time.
        didLook()
        while true {
            let seen = progress.generation
            if let outcome = request.outcome.withLock({ $0 }) {
                if let failure = outcome { throw failure }
                return
            }
            if isStopping { throw VarveError(.closed, "the store was closed") }
            // The thread has ended with it: nobody serves this request.
            if let failure = store.health.failure { throw failure }
            progress.wait(after: seen, atMost: .seconds(1))
        }
    }

    /// Serves who has waited longest, and tells that one how it went; false where nobody waits. Throws what must end the
    /// thread, or what has it wait before it goes on.
    private func serveRequest() throws(VarveError) -> Bool {
        guard let request = state.withLock({ $0.requests.first }) else { return false }
        do throws(VarveError) {
            switch request.wish {
            case .compact(let range): try compactHere(range)
            case .giveBack: try giveBackHere()
            }
            end(request, nil)
        } catch {
            // It was set aside, which ends nothing.
            if !isDamage(error) { store.health.note(error) }
            end(request, error)
            if store.health.failure != nil || isStopping { throw error }
        }
        return true
    }

    private func end(_ request: Request, _ error: VarveError?) {
        request.outcome.withLock { $0 = .some(error) }
        state.withLock { $0.requests.removeAll { $0 === request } }
        progress.raise()
        gate.changed.raise()
    }

    /// Compactions that were asked for and have not ended.
    var waitingRequests: Int { state.withLock { $0.requests.count } }

    /// Whether nothing is left to do, by what is known: no level is above its target, nothing waits. See `Engine.isSettled`.
    var isSettled: Bool {
        if state.withLock({ !$0.requests.isEmpty || $0.running != nil }) { return false }
        if case .none = choose(looking: .no) { return true }
        return false
    }

    // MARK: Around it

    /// Deletes what nobody reads any more, and lets log go that tables hold.
    func removeObsolete() throws(VarveError) {
        try store.versions.obsolete.deleteAll(in: store.directory, of: store.files)
        let manifest = store.versions.state
        let slots = manifest.slots.values.map {
            LogRetention.Slot(name: $0.name, lsn: $0.lsn, capBytes: min($0.capBytes, store.options.logRetentionBytes))
        }
        let decision = try store.log.removeObsoleteSegments(flushed: manifest.flushed.lsn, slots: slots)
        state.withLock { $0.logBytes = decision.keptBytes }
        forgetRefusals(until: .now)
    }

    private func updatePressure() {
        noteOccupancy()
        let version = store.versions.version
        let targets = LevelTargets(version, running: [], options: store.options.compaction)
        let log = state.withLock { $0.logBytes }
        let damaged = damagedTables
        gate.set(
            controller.pressure(
                WriteController.Load(
                    levelZeroTables: version.levels[0].tables.count { !damaged.contains($0.number) },
                    // What a damaged table holds up does not come sooner for writers that wait.
                    compactionDebt: damaged.isEmpty
                        ? targets.debt(of: version, options: store.options.compaction) : 0,
                    diskBytes: version.tableBytes &+ log &+ store.versions.obsolete.waitingBytes,
                    diskBudget: store.options.diskBudgetBytes, excessEntries: excessEntries(version))))
    }
}
