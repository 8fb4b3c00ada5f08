internal import Synchronization
internal import VarveIO

/// The one way into log and memtable: gives a batch its LSNs and time, appends it, inserts it, and makes it visible when
/// its durability allows, all in LSN order.
///
/// Appending and inserting happen under one lock, in about a microsecond for a small batch; a second lock, or a hand-over
/// to another thread (11 us), would cost more than it could save. Waiting for a sync happens outside of it, so the next
/// group forms while one syncs. A batch is visible once it is in log and memtable and everything before it that asked for
/// a sync has been synced; that keeps LSN order at the price that a write of `.interval` behind one of `.synced` waits for
/// a sync as well.
final class CommitPipeline: Sendable {
    /// What a committed batch still waits for.
    struct Ticket: Sendable {
        let first: LSN
        let last: LSN
        /// The log must be synced up to here before the batch is visible and acknowledged; nil: it is both.
        let waitsFor: LSN?
    }

    /// Why a batch was not taken now. Nothing of it was written.
    enum Refusal: Error {
        /// The active memtable is full and as many wait for their flush as may: wait for a flush, then come again.
        case noRoom
        /// Something changed since the conditions were checked: check them again.
        case conflict
        case failed(VarveError)
    }

    struct State: ~Copyable {
        var clock: CommitClock
        var scratch = ByteBuffer(capacity: 4096)
        var key = ByteBuffer(capacity: 256)
        var active: Memtable
        var activeTimes: ClosedRange<Timestamp>?
        /// Timelines that a followed log has begun since the active memtable began.
        var activeTimelines: [TimelineOrigin] = []
        /// The end of the last batch that waits for a sync before it may be seen; zero: none did.
        var unsyncedEnd = LSN.zero
        var isClosed = false
        /// A follower's: the log took frames that the memtable refused. Nothing more may be shown.
        var isTorn = false
        /// The commit time at which the store clock's reading last went into the log, and that reading.
        var clockLogged = Timestamp.min
        var readingLogged = Timestamp.min
        var statistics = CommitStatistics()

        init(clock: CommitClock, active: Memtable, activeTimes: ClosedRange<Timestamp>?) {
            self.clock = clock
            self.active = active
            self.activeTimes = activeTimes
        }
    }

    struct Options: Sendable {
        var memtableBytes: Int
        var sealedMemtables: Int
        var memtableEntries: Int
    }

    let log: LogWriter
    let state: Mutex<State>
    let visible: Atomic<UInt64>
    private let keeper: ReadStateKeeper
    let health: Health
    let storeClock: StoreClock
    let options: Options
    /// A memtable was sealed: flushing should begin. Must not wait.
    private let didSeal: @Sendable () -> Void

    init(
        log: LogWriter, keeper: ReadStateKeeper, health: Health, storeClock: StoreClock, options: Options,
        didSeal: @escaping @Sendable () -> Void, state: consuming State
    ) {
        self.log = log
        self.keeper = keeper
        self.health = health
        self.storeClock = storeClock
        self.options = options
        self.didSeal = didSeal
        visible = Atomic(log.appendedLSN.rawValue)
        self.state = Mutex(state)
    }

    /// The LSN as of which a reader that starts now reads. A reader pins its read state first and loads this after, so
    /// that no version it may see is gone from what it pinned.
    @inline(__always)
    var visibleLSN: LSN { LSN(visible.load(ordering: .acquiring)) }

    /// What statistics say of writing, all of one moment.
    struct Reading {
        let position: LogPosition
        let visible: LSN
        let synced: LSN
        let counts: CommitStatistics
        let lastCommitTime: Timestamp
        let heldBack: UInt64
        let activeBytes: Int
    }

    var reading: Reading {
        state.withLock { state in
            Reading(
                position: log.position, visible: visibleLSN, synced: log.syncedLSN, counts: state.statistics,
                lastCommitTime: state.clock.last, heldBack: state.clock.heldBack,
                activeBytes: state.active.approximateBytes)
        }
    }

    /// The place after the last batch.
    var position: LogPosition { state.withLock { _ in log.position } }
}

/// What the pipeline counts.
struct CommitStatistics: Sendable {
    var batches: UInt64 = 0
    var records: UInt64 = 0
    var payloadBytes: UInt64 = 0
    var traffic = NamespaceTraffic()
}

// MARK: Writing

extension CommitPipeline {
    /// Takes one batch: log, memtable, visibility. Waits for nothing but the lock.
    ///
    /// `check` runs under the commit lock before anything is written and may refuse; it must neither wait nor touch a
    /// file.
    func commit(
        _ payload: UnsafeRawBufferPointer, count: Int, _ durability: Durability,
        check: () throws(Refusal) -> Void = {}
    ) throws(Refusal) -> Ticket {
        try state.withLock { (state) throws(Refusal) in
            try prepare(&state, payload.count, count)
            try check()
            return unsafe try take(&state, payload, count, durability)
        }
    }

    /// The common case, one operation: `encode` writes its record straight into the pipeline's own buffer.
    @inline(__always)
    func commitOne(
        _ durability: Durability, _ encode: (inout ByteBuffer) throws(VarveError) -> Void
    ) throws(Refusal) -> Ticket {
        try state.withLock { (state) throws(Refusal) in
            // The buffer leaves the state while its bytes are read, so that nothing else can reach it.
            var record = ByteBuffer(capacity: 0)
            swap(&record, &state.scratch)
            defer { swap(&record, &state.scratch) }
            record.removeAll()
            do throws(VarveError) { try encode(&record) } catch { throw .failed(error) }
            try prepare(&state, record.count, 1)
            return unsafe try take(&state, record.bytes, 1, durability)
        }
    }

    /// What must hold before a batch is taken: the store is open and the memtable has room.
    @inline(__always)
    private func prepare(_ state: inout State, _ bytes: Int, _ count: Int) throws(Refusal) {
        if state.isClosed { throw .failed(VarveError(.closed, "the store was closed")) }
        do throws(VarveError) { try health.checkWrites() } catch { throw .failed(error) }
        if isFull(state.active) || !state.active.hasRoom(records: count, bytes: bytes)
            || state.active.rangeTombstoneCount >= CommitPipeline.rangeDeletesPerMemtable
        {
            try rotate(&state, bytes, count)
        }
    }

    @inline(__always)
    func isFull(_ memtable: Memtable) -> Bool {
        memtable.approximateBytes >= options.memtableBytes || memtable.entryCount >= options.memtableEntries
    }

    @inline(__always)
    private func take(
        _ state: inout State, _ payload: UnsafeRawBufferPointer, _ count: Int, _ durability: Durability
    ) throws(Refusal) -> Ticket {
        if isReadingDue(state) { try logClock(&state) }
        let time = state.clock.next()
        // Behind a batch that waits for its sync this one waits as well, and shares its write call.
        let waits = durability == .synced || state.unsyncedEnd.rawValue > visible.load(ordering: .relaxed)
        let position: LogPosition
        do throws(VarveError) {
            position = unsafe try log.append(
                .batch, payload: payload, count: UInt64(count), commitTime: time, via: waits ? .buffer : .map)
        } catch {
            throw .failed(error)
        }
        state.clock.observe(time)
        let first = LSN(position.lsn.rawValue &- UInt64(count) &+ 1)
        unsafe insert(&state, payload, from: first, count)
        state.note(time, count, payload.count)
        if durability == .synced { state.unsyncedEnd = position.lsn }
        // Its own sync, not the one in flight: that may have begun before this batch was there to be written.
        if waits { return Ticket(first: first, last: position.lsn, waitsFor: position.lsn) }
        visible.store(position.lsn.rawValue, ordering: .releasing)
        return Ticket(first: first, last: position.lsn, waitsFor: nil)
    }

    /// Range deletes that nest cost the square of their number to read, so a memtable is sealed before they are many.
    private static let rangeDeletesPerMemtable = 2000

    /// How long writes may go on before the store clock's reading is written down again, by their commit times and by
    /// that clock itself.
    private static let clockPeriod: Timestamp = 60_000_000_000

    /// Whether a batch must not go before a reading. Commit times alone cannot tell: they go with the wall, and where
    /// that was set back between two writes they show any part of the gap, or none.
    @inline(__always)
    private func isReadingDue(_ state: borrowing State) -> Bool {
        state.clockLogged == .min || state.clock.last &- state.clockLogged > CommitPipeline.clockPeriod
            || storeClock.now() &- state.readingLogged > CommitPipeline.clockPeriod
    }

    /// Writes down what the store clock says, so that it never falls below that, here or on a follower.
    @inline(never)
    private func logClock(_ state: inout State) throws(Refusal) {
        var payload = ByteBuffer(capacity: 32)
        let (time, reading) = (state.clock.next(), storeClock.now())
        ClockRecord(reading: reading, change: .reading, offset: 0).encode(to: &payload)
        let waits = state.unsyncedEnd.rawValue > visible.load(ordering: .relaxed)
        do throws(VarveError) {
            _ = unsafe try log.append(
                .clock, payload: payload.bytes, count: 1, commitTime: time, via: waits ? .buffer : .map)
        } catch {
            throw .failed(error)
        }
        state.clock.observe(time)
        (state.clockLogged, state.readingLogged) = (time, reading)
    }

    /// Puts the records of a payload into the active memtable. Room was made before, and the payload was encoded here or
    /// verified with its frame, so neither can fail.
    @inline(__always)
    private func insert(
        _ state: inout State, _ payload: UnsafeRawBufferPointer, from first: LSN, _ count: Int
    ) {
        let done = unsafe MemtableInserter.insert(
            payload, from: first, count: UInt64(count), into: state.active, key: &state.key,
            traffic: &state.statistics.traffic)
        precondition(done, "a batch that the log took fits the memtable")
    }

    /// Seals the active memtable and begins another, with room for the batch that is to come.
    @inline(never)
    func rotate(_ state: inout State, _ bytes: Int, _ count: Int) throws(Refusal) {
        guard keeper.sealedCount < options.sealedMemtables else { throw .noRoom }
        try seal(&state, capacity: Memtable.worstCaseBytes(records: count, bytes: bytes))
    }

    private func seal(_ state: inout State, capacity: Int) throws(Refusal) {
        let fresh: Memtable
        do throws(VarveError) {
            fresh = try MemtableInserter.makeMemtable(
                limit: options.memtableBytes, atLeast: capacity, like: state.active)
        } catch {
            throw .failed(error)
        }
        let last = state.clock.last
        keeper.rotate(
            to: fresh, times: state.activeTimes ?? last...last, end: log.position, timelines: state.activeTimelines)
        state.active = fresh
        state.activeTimes = nil
        state.activeTimelines = []
        didSeal()
    }

    /// Seals the active memtable, however little it holds, unless it is empty. Returns the LSN that a flush of all that
    /// is sealed reaches.
    func sealActive() throws(Refusal) -> LSN {
        try state.withLock { (state) throws(Refusal) in
            if !state.active.isEmpty {
                guard keeper.sealedCount < options.sealedMemtables else { throw .noRoom }
                try seal(&state, capacity: 0)
            }
            return log.appendedLSN
        }
    }

    /// Appends a record that changes no key (a mark, a reading of the clock) and returns its LSN. `upTo`: it takes all LSNs
    /// up to that one, where there are any.
    func append(
        _ kind: FrameKind, _ payload: UnsafeRawBufferPointer, upTo last: LSN = .zero
    ) throws(VarveError) -> Ticket {
        do throws(Refusal) {
            return try state.withLock { (state) throws(Refusal) in
                try prepare(&state, 0, 0)
                let position: LogPosition
                let (first, time) = (log.appendedLSN.next, state.clock.next())
                let count = last > first ? last.rawValue &- first.rawValue &+ 1 : 1
                do throws(VarveError) {
                    position = unsafe try log.append(
                        kind, payload: payload, count: count, commitTime: time, via: .buffer)
                } catch {
                    throw .failed(error)
                }
                state.clock.observe(time)
                state.unsyncedEnd = position.lsn
                return Ticket(first: first, last: position.lsn, waitsFor: position.lsn)
            }
        } catch {
            throw CommitPipeline.lift(error)
        }
    }

    static func lift(_ refusal: Refusal) -> VarveError {
        switch refusal {
        case .failed(let error): error
        case .noRoom: VarveError(.stalled, "writes wait for a flush")
        case .conflict: .wouldBlock
        }
    }
}

extension CommitPipeline.State {
    @inline(__always)
    fileprivate mutating func note(_ time: Timestamp, _ count: Int, _ bytes: Int) {
        activeTimes = (activeTimes?.lowerBound ?? time)...time
        statistics.batches &+= 1
        statistics.records &+= UInt64(count)
        statistics.payloadBytes &+= UInt64(bytes)
    }
}

// MARK: Syncing, beginning, closing

extension CommitPipeline {
    /// Everything up to `lsn` is durable: what waited for it becomes visible. Called by the sync that reached it, before
    /// those who wait for it are woken.
    func didSync(upTo lsn: LSN) {
        state.withLock { state in
            if state.isTorn { return }
            var reached = lsn
            // Beyond the last batch that asked for a sync, everything that is in log and memtable may be seen. What came
            // during the sync may still be buffered: it goes into the file first, or the process's death could take what
            // somebody saw. A failure poisons the log, which tells the next write.
            if lsn >= state.unsyncedEnd, (try? log.writeBuffered()) != nil { reached = log.appendedLSN }
            if reached.rawValue > visible.load(ordering: .relaxed) {
                visible.store(reached.rawValue, ordering: .releasing)
            }
        }
    }

    /// The record that begins a timeline, as the log's next. At opening, before the first write.
    func begin(_ origin: TimelineOrigin) throws(VarveError) {
        try state.withLock { (state) throws(VarveError) in
            let time = state.clock.next()
            _ = try log.appendTimeline(origin, commitTime: time, via: .map)
            state.clock.observe(time)
            visible.store(log.appendedLSN.rawValue, ordering: .releasing)
        }
    }

    /// Returns when no write is on its way into the log: to be called once `health` refuses them.
    func settle() { state.withLock { _ in } }

    /// Refuses all writes from now on.
    func close() { state.withLock { $0.isClosed = true } }
}
