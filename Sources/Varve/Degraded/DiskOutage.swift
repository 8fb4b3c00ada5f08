internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// Why a store goes on in memory alone from its opening to its end: its folder could not be opened as it is, its log or
/// manifest being damaged, say. Nothing is read from there, so nothing old is served; what becomes of the folder is for whoever
/// looks after it.
///
/// A change is acknowledged once the folder's degraded mark is durable: then whoever opens or repairs it later brings nothing back
/// that was changed here. Where the folder holds no store there is nothing to mark (`HeldStore`). A disk that refuses the mark is
/// left alone for a while, however many changes come: they get the same refusal. Any thread.
final class DiskOutage: Sendable {
    let cause: VarveError
    let directory: String
    private let held: HeldStore
    private let clock: CacheClock
    private let began: Int64
    private let refusals = Atomic<UInt64>(0)
    /// Of threads that ask the disk: who waits for another one's turn goes by what that one was told.
    private let turn = Mutex(())
    private let standing = Mutex(Standing())
    private let isTold = Atomic<Bool>(false)

    /// What the disk said last.
    private struct Standing {
        /// Nil: nothing, or that changes may be acknowledged.
        var refusal: VarveError?
        var retries = RetrySchedule()
    }

    init(_ cause: VarveError, _ held: HeldStore, in directory: String, _ clock: CacheClock) {
        self.cause = cause
        self.held = held
        self.directory = directory
        self.clock = clock
        began = clock.now()
    }

    /// Whether an opening that failed so may do without its store. What another version of the program wrote, somebody else has
    /// open, was asked for wrongly or may not be touched is no trouble of the disk's.
    static func allows(_ error: VarveError) -> Bool {
        switch error.code {
        case .corruption, .missingFile: true
        case .io: (error.underlying as? IOError).map { $0.isOfDevice || $0.isDiskFull } ?? false
        case .diskFull: error.underlying is IOError
        default: false
        }
    }

    /// Returns once a change may be acknowledged.
    /// - Parameter sourceVersion: whether it names one, which would have to refuse older ones after a restart as well.
    func admit(sourceVersion: Bool = false) async throws(VarveError) {
        guard !sourceVersion else {
            refusals.add(1, ordering: .relaxed)
            throw VarveError(
                .degraded, "\(cause.message); and without its store the cache cannot keep source versions",
                path: cause.path,
                underlying: cause)
        }
        if held.isCovered { return }
        var refusal = presentRefusal
        if refusal == nil { refusal = await IOThread.run(name: "varve-mark") { self.cover() } }
        guard let refusal else { return }
        refusals.add(1, ordering: .relaxed)
        throw VarveError(
            cause.code, "\(cause.message); and it cannot go on in memory alone: \(refusal.message)", path: cause.path,
            underlying: refusal)
    }

    /// What a change gets without asking the disk anew; nil: it is to be asked.
    private var presentRefusal: VarveError? {
        let now = clock.now()
        return standing.withLock { $0.retries.isDue(at: now) ? nil : $0.refusal }
    }

    /// Nil where a change may be acknowledged. Blocks.
    private func cover() -> VarveError? {
        turn.withLock { _ in
            if let refusal = presentRefusal { return refusal }
            var refusal: VarveError?
            do throws(VarveError) { try held.cover(cause: cause.message, at: began) } catch { refusal = error }
            let now = clock.now()
            standing.withLock { standing in
                if refusal == nil { standing.retries = RetrySchedule() } else { standing.retries.refused(at: now) }
                standing.refusal = refusal
            }
            return refusal
        }
    }

    /// What asks for the store itself gets this.
    func refusal(of what: String) -> VarveError {
        VarveError(
            .degraded, "the cache goes on in memory alone, without its store (\(cause.message)): \(what)",
            path: cause.path,
            underlying: cause)
    }

    /// Whether changes throw, as far as is known.
    private var refusesChanges: Bool {
        held.isReadOnly || (!held.isCovered && standing.withLock { $0.refusal != nil })
    }
    var isMarkSet: Bool { (held.isNew && !refusesChanges) || held.isCovered }

    var counts: DegradedCounts {
        var counts = DegradedCounts()
        counts.isDegraded = true
        counts.episodes = 1
        counts.nanoseconds = max(0, clock.now() &- began)
        counts.refusals = refusals.load(ordering: .relaxed)
        return counts
    }

    func describe(in health: inout CacheHealth) {
        health.state = .degraded(
            CacheHealth.Episode(
                cause: cause, duration: .nanoseconds(max(0, clock.now() &- began)), changes: 0,
                isMarkDurable: isMarkSet,
                returnsByItself: false, isWithoutStore: true, refusesChanges: refusesChanges))
    }

    /// Tells the log, once.
    func tell(_ log: StoreLog) {
        guard !isTold.exchange(true, ordering: .relaxed) else { return }
        log.withoutStore(cause)
    }

    /// Blocks.
    func end() { held.letGo() }
}
