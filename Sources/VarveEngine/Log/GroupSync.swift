internal import Synchronization
internal import VarveIO

/// Lets writers share syncs: one syncs for all who appended before it began, and the next group forms meanwhile.
///
/// A blocking waiter leads when no sync is in flight, so a lone writer pays no hand-over. Async waiters are led for by
/// the log's own thread, which also syncs every interval while the log is dirty. After a failed sync every waiter, now
/// and later, gets the error: its outcome is unknown, and calling again proves nothing.
///
/// Waiters of two generations sleep apart: those whom the sync in flight covers, and those who wait for the next. When a
/// sync ends the first are all woken and of the second one, to lead; nobody wakes for nothing. (Group commit with
/// leaders as LevelDB's writer queue has it; the two conditions instead of a queue keep a waiter free of allocation.)
@safe
final class GroupSync: @unchecked Sendable {
    // Unchecked: `monitor` guards every `var`.
    struct Statistics: Sendable, Equatable {
        var syncs: UInt64 = 0
        var nanoseconds: Int64 = 0
        var longestNanoseconds: Int64 = 0
        /// Writes that waited because a sync took longer than the interval.
        var laggedWrites: UInt64 = 0
        /// What they waited.
        var laggedNanoseconds: Int64 = 0
    }

    private struct Waiter {
        let id: UInt64
        let lsn: LSN
        /// Of one who follows the log: when the wait is over whatever the log does.
        let isInterrupted: (@Sendable () -> Bool)?
        let continuation: CheckedContinuation<VarveError?, Never>
    }

    private enum Condition {
        // 0 and 1: the two generations.
        static let thread = 2
        static let progress = 3
    }

    private let monitor = ConditionLock(conditions: 4)
    private let perform: @Sendable () throws(VarveError) -> LSN
    private let appended: @Sendable () -> LSN
    /// Nanoseconds between syncs while dirty; nil: only on request.
    private let interval: Int64?
    private let published: Atomic<UInt64>
    /// When the sync in flight began, 0 while none is.
    private let began = Atomic<Int64>(0)
    /// An append should call `noticeAppend`: the thread sleeps for good, or somebody wants every append synced at once.
    private let wantsNotice = Atomic<Bool>(false)
    /// When the next sync must begin for the sake of a write that asked for a shorter interval. Changed under the lock,
    /// read without it by writes that may rely on a promise made already.
    private let promised = Atomic<Int64>(.max)

    private var inFlight = false
    private var generation: UInt64 = 0
    private var sleepers = [0, 0]
    private var failure: VarveError?
    private var waiters: [Waiter] = []
    private var nextID: UInt64 = 0
    private var wanted = LSN.zero
    private var urgentReaders = 0
    private var urgencyIsFresh = false
    private var cancelled: Set<UInt64> = []
    private var isIdle = false
    private var isStopped = false
    private var counts = Statistics()
    private var thread: IOThread?

    /// - Parameters:
    ///   - synced: what is durable already.
    ///   - appended: the end of the log now.
    ///   - startsThread: false in tests that must not depend on scheduling; async waiters then need somebody to lead.
    ///   - perform: makes everything appended so far durable and returns up to where; one call at a time.
    init(
        synced: LSN, interval: Duration?, startsThread: Bool = true, appended: @escaping @Sendable () -> LSN,
        perform: @escaping @Sendable () throws(VarveError) -> LSN
    ) throws(VarveError) {
        published = Atomic(synced.rawValue)
        self.appended = appended
        self.perform = perform
        self.interval = interval.map { max(1_000_000, $0.clampedNanoseconds) }
        if startsThread {
            thread = try lifted { () throws(IOError) in try IOThread(name: "varve-log-sync") { [self] in lead() } }
        }
    }

    /// Everything up to here is durable.
    var syncedLSN: LSN { LSN(published.load(ordering: .acquiring)) }

    var statistics: Statistics { monitor.withLock { counts } }

    /// Whether `stop` was called.
    var isEnded: Bool { monitor.withLock { isStopped } }

    // MARK: Waiting for durability

    /// Returns once everything up to `lsn`, which was appended, is durable.
    func wait(upTo lsn: LSN) throws(VarveError) {
        if syncedLSN >= lsn { return }
        monitor.lock()
        defer { monitor.unlock() }
        var target: UInt64 = 0
        while true {
            if syncedLSN >= lsn { break }
            if let failure { throw GroupSync.later(failure) }
            if !inFlight {
                if let error = runSync() { throw error }
                continue
            }
            // The sync in flight covers those who waited when it began, the next one everybody after.
            if target < generation { target = generation + 1 }
            let side = Int(target & 1)
            sleepers[side] += 1
            monitor.wait(side)
            sleepers[side] -= 1
        }
        // Woken to lead, but covered already: hand the lead on.
        if !inFlight { monitor.signal(Int((generation + 1) & 1)) }
    }

    /// The same for a task: the log's thread leads. A cancelled task stops waiting; its write stands.
    func wait(upTo lsn: LSN) async throws(VarveError) {
        if syncedLSN >= lsn { return }
        try await suspend(until: lsn, startsSync: true)
    }

    /// Asks the log's thread to sync what is appended, and returns at once.
    func request() {
        monitor.withLock {
            wanted = max(wanted, appended())
            monitor.signal(Condition.thread)
        }
    }

    // MARK: Following

    /// Returns once something beyond `lsn` is durable, or `isCancelled` says so after a `wakeFollowers`. Starts no sync.
    func waitForProgress(beyond lsn: LSN, isCancelled: () -> Bool) throws(VarveError) {
        monitor.lock()
        defer { monitor.unlock() }
        while syncedLSN <= lsn {
            if isCancelled() { throw VarveError(.cancelled, "the wait for more log was cancelled") }
            if let failure { throw GroupSync.later(failure) }
            if isStopped { throw VarveError(.closed, "the log was closed") }
            monitor.wait(Condition.progress)
        }
    }

    /// The same for a task, until it is cancelled; returns also where `isInterrupted` says so, at first or after a
    /// `wakeFollowers`.
    func waitForProgress(
        beyond lsn: LSN, isInterrupted: @escaping @Sendable () -> Bool = { false }
    ) async throws(VarveError) {
        if syncedLSN > lsn { return }
        try await suspend(until: lsn.next, startsSync: false, isInterrupted: isInterrupted)
    }

    /// Has everybody who follows the log look whether the wait is over.
    func wakeFollowers() {
        let interrupted = monitor.withLock {
            monitor.broadcast(Condition.progress)
            let interrupted = waiters.filter { $0.isInterrupted?() == true }
            if !interrupted.isEmpty { waiters.removeAll { waiter in interrupted.contains { $0.id == waiter.id } } }
            return interrupted
        }
        for waiter in interrupted { waiter.continuation.resume(returning: nil) }
    }

    /// From now until `endUrgency`, every append is synced at once: somebody waits for what leaves the node.
    func beginUrgency() {
        monitor.withLock {
            urgentReaders += 1
            urgencyIsFresh = true
            wantsNotice.store(true, ordering: .sequentiallyConsistent)
            wanted = max(wanted, appended())
            monitor.signal(Condition.thread)
        }
    }

    /// A write that was appended before this call was promised a sync within `limit`: one is made in time, if that is
    /// sooner than the interval. No lock where another write was promised one that comes in time for this one as well.
    func promise(within limit: Duration) {
        let nanoseconds = max(1_000_000, limit.clampedNanoseconds)
        if let interval, nanoseconds >= interval { return }
        let due = ConditionLock.now() &+ nanoseconds
        // The append, then the look at the promise; `withdrawPromise` does it the other way round. So either this sees
        // that the promise is gone, or the sync that takes it away sees the append.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if promised.load(ordering: .relaxed) <= due { return }
        makePromise(due)
    }

    @inline(never)
    private func makePromise(_ due: Int64) {
        monitor.withLock {
            promised.store(min(promised.load(ordering: .relaxed), due), ordering: .relaxed)
            isIdle = false
            monitor.signal(Condition.thread)
        }
    }

    /// Before a sync that keeps the promise, or where nothing is left to sync. Under the lock; what is appended is to be
    /// looked at after it.
    private func withdrawPromise() -> Int64 {
        let promise = promised.load(ordering: .relaxed)
        guard promise != .max else { return .max }
        promised.store(.max, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return promise
    }

    func endUrgency() {
        monitor.withLock { urgentReaders -= 1 }
    }

    // MARK: The writer's side

    /// To be called after each append: costs one load, unless the thread must be woken.
    @inline(__always)
    func didAppend() {
        if wantsNotice.load(ordering: .relaxed) { noticeAppend() }
    }

    @inline(never)
    private func noticeAppend() {
        monitor.withLock {
            if urgentReaders > 0 { wanted = max(wanted, appended()) }
            isIdle = false
            wantsNotice.store(urgentReaders > 0, ordering: .relaxed)
            monitor.signal(Condition.thread)
        }
    }

    /// Keeps the promise of the interval: waits while a sync runs that is older than it. One load where none is in
    /// flight.
    @inline(__always)
    func waitWhileLagging() throws(VarveError) {
        if began.load(ordering: .relaxed) != 0 { try waitForLaggingSync() }
    }

    @inline(never)
    private func waitForLaggingSync() throws(VarveError) {
        guard let interval else { return }
        let start = ConditionLock.now()
        let since = began.load(ordering: .relaxed)
        guard since != 0, start - since > interval else { return }
        monitor.lock()
        defer { monitor.unlock() }
        let lagging = generation
        counts.laggedWrites += 1
        while inFlight, generation == lagging { monitor.wait(Condition.progress) }
        counts.laggedNanoseconds += ConditionLock.now() - start
        if let failure { throw GroupSync.later(failure) }
    }

    /// The same for a task: it waits until what had been appended before the late sync is durable.
    func waitWhileLagging() async throws(VarveError) {
        guard let interval, let appended = laggingTarget(interval) else { return }
        let start = ConditionLock.now()
        do throws(VarveError) {
            try await suspend(until: appended, startsSync: false)
        } catch {
            // The write stands whether or not its task still waits.
            guard error.code == .cancelled else { throw error }
        }
        monitor.withLock {
            counts.laggedWrites += 1
            counts.laggedNanoseconds += ConditionLock.now() - start
        }
    }

    /// What a sync that is older than the interval will have made durable at least; nil: none is.
    @inline(__always)
    private func laggingTarget(_ interval: Int64) -> LSN? {
        let since = began.load(ordering: .relaxed)
        guard since != 0, ConditionLock.now() - since > interval else { return nil }
        return monitor.withLock { inFlight ? syncedLSN.next : nil }
    }

    /// Ends the thread, which keeps this object alive until then. Waiters that nothing can serve any more are told that the log is closed.
    func stop() {
        monitor.withLock {
            isStopped = true
            monitor.broadcast(Condition.thread)
            monitor.broadcast(Condition.progress)
        }
        thread?.join()
        let left = monitor.withLock {
            defer { waiters = [] }
            thread = nil
            return waiters
        }
        for waiter in left { waiter.continuation.resume(returning: VarveError(.closed, "the log was closed")) }
    }

    // MARK: Leading

    /// One sync by the caller, who holds the lock and gets it back. Returns its error.
    private func runSync() -> VarveError? {
        inFlight = true
        generation += 1
        let mine = generation
        let start = ConditionLock.now()
        began.store(start, ordering: .relaxed)
        monitor.unlock()
        var outcome: VarveError?
        var reached = LSN.zero
        do { reached = try perform() } catch { outcome = error }
        let end = ConditionLock.now()
        monitor.lock()
        inFlight = false
        began.store(0, ordering: .relaxed)
        counts.syncs += 1
        counts.nanoseconds += end - start
        counts.longestNanoseconds = max(counts.longestNanoseconds, end - start)
        if let outcome {
            if failure == nil { failure = outcome }
        } else if reached > syncedLSN {
            published.store(reached.rawValue, ordering: .releasing)
        }
        finish(generation: mine)
        return outcome
    }

    /// Wakes whom the end of a sync concerns. Under the lock, which is given up while tasks are resumed.
    private func finish(generation mine: UInt64) {
        monitor.broadcast(Int(mine & 1))
        let next = Int((mine + 1) & 1)
        if failure != nil { monitor.broadcast(next) } else if sleepers[next] > 0 { monitor.signal(next) }
        monitor.broadcast(Condition.progress)
        monitor.signal(Condition.thread)
        let synced = syncedLSN
        let error = failure.map(GroupSync.later)
        guard waiters.contains(where: { $0.lsn <= synced || error != nil }) else { return }
        let served = waiters.filter { $0.lsn <= synced || error != nil }
        waiters.removeAll { $0.lsn <= synced || error != nil }
        monitor.unlock()
        for waiter in served {
            waiter.continuation.resume(returning: waiter.lsn <= synced ? nil : error)
        }
        monitor.lock()
    }

    /// The thread's loop.
    private func lead() {
        monitor.lock()
        defer { monitor.unlock() }
        var due = interval.map { ConditionLock.now() + $0 }
        while !isStopped {
            let now = ConditionLock.now()
            var isDirty = failure == nil && appended() > syncedLSN
            if !isDirty {
                let promise = withdrawPromise()
                isDirty = failure == nil && appended() > syncedLSN
                if isDirty { promised.store(promise, ordering: .relaxed) }
            }
            let next = min(due ?? .max, promised.load(ordering: .relaxed))
            let isDue = now >= next
            if isDirty, !inFlight, isDue || wanted > syncedLSN {
                if let interval { due = now + interval }
                _ = withdrawPromise()
                _ = runSync()
                continue
            }
            if isDirty, inFlight, isDue || wanted > syncedLSN {
                monitor.wait(Condition.thread)
                continue
            }
            if isDirty, next != .max {
                monitor.wait(Condition.thread, until: next)
            } else if due == nil {
                waitIdly(isConfirmed: !urgencyIsFresh)
                urgencyIsFresh = false
            } else {
                waitIdly(isConfirmed: isIdle)
                isIdle = wantsNotice.load(ordering: .relaxed)
                due = interval.map { ConditionLock.now() + $0 }
            }
        }
    }

    /// Sleeps until an append gives notice. An append that raced with the request for notice is seen after one timed
    /// round more: a store is visible to other cores long before that, so the append needs no fence.
    private func waitIdly(isConfirmed: Bool) {
        if isConfirmed {
            monitor.wait(Condition.thread)
        } else {
            if interval != nil { wantsNotice.store(true, ordering: .sequentiallyConsistent) }
            monitor.wait(Condition.thread, until: ConditionLock.now() + 1_000_000)
        }
    }

    // MARK: Tasks

    private func suspend(
        until lsn: LSN, startsSync: Bool, isInterrupted: (@Sendable () -> Bool)? = nil
    ) async throws(VarveError) {
        let id = monitor.withLock {
            nextID += 1
            return nextID
        }
        let error = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<VarveError?, Never>) in
                self.enlist(
                    Waiter(id: id, lsn: lsn, isInterrupted: isInterrupted, continuation: continuation),
                    startsSync: startsSync)
            }
        } onCancel: {
            self.cancel(id)
        }
        monitor.withLock { _ = cancelled.remove(id) }
        if let error { throw error }
    }

    private func enlist(_ waiter: Waiter, startsSync: Bool) {
        monitor.lock()
        var answer: VarveError??
        if syncedLSN >= waiter.lsn {
            answer = .some(nil)
        } else if let failure {
            answer = GroupSync.later(failure)
        } else if isStopped {
            answer = VarveError(.closed, "the log was closed")
        } else if cancelled.remove(waiter.id) != nil {
            answer = VarveError(.cancelled, "the wait was cancelled")
        } else if waiter.isInterrupted?() == true {
            answer = .some(nil)
        } else {
            waiters.append(waiter)
            if startsSync {
                wanted = max(wanted, waiter.lsn)
                monitor.signal(Condition.thread)
            }
        }
        monitor.unlock()
        if let answer { waiter.continuation.resume(returning: answer) }
    }

    private func cancel(_ id: UInt64) {
        monitor.lock()
        guard let index = waiters.firstIndex(where: { $0.id == id }) else {
            cancelled.insert(id)
            monitor.unlock()
            return
        }
        let waiter = waiters.remove(at: index)
        monitor.unlock()
        waiter.continuation.resume(returning: VarveError(.cancelled, "the wait was cancelled"))
    }

    /// What a caller is told who comes after the failure itself was returned.
    static func later(_ failure: VarveError) -> VarveError {
        if failure.code == .failedStop { return failure }
        return VarveError(
            .failedStop,
            "the log stopped after a failure and takes no more writes; open the store anew (\(failure.message))",
            path: failure.path, underlying: failure)
    }
}
