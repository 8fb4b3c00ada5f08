internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// Whether a store writes to its disk or goes on in memory, and the changes between the two.
///
/// Every change to the store's content is made within (`begin` ... `end`) one way or the other; a change of the way waits
/// until nobody is within, and lets nobody in meanwhile. So a write to disk never meets a change in memory on its way, and
/// the numbers that changes in memory get lie between those of the writes before and after.
///
///     on disk --a write is refused--> changing --the mark is set, or cannot be--> in memory
///     in memory --the disk takes everything that was changed, and the mark is gone--> on disk
final class DegradedMode: Sendable {
    /// The way by which a change is made.
    enum Way: Sendable {
        case disk, memory
    }

    fileprivate enum Phase: Sendable {
        case onDisk, changing, inMemory
    }

    fileprivate struct State: Sendable {
        var phase = Phase.onDisk
        /// Changes under way.
        var within = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
        var cause: VarveError?
        var since: Int64 = 0
        var counts = DegradedCounts()
        var lastDamage: VarveError?
        /// When that was met.
        var damagedAt: Int64 = 0
        var shadows: [Namespace: DiskShadow] = [:]
        var floors: [Namespace: FloorRegistry] = [:]
        /// Of these the disk may lack some.
        var unsavedFloors: Set<Namespace> = []
        /// Somebody tries the disk.
        var isTrying = false
        /// Who waits until that is over.
        var waitingForTrial: [CheckedContinuation<Void, Never>] = []
        /// What the disk said to the last attempt.
        var lastRefusal: VarveError?
        var retries = RetrySchedule()
        var news = DegradedNews()
    }

    let engines: EngineCell
    var engine: Engine { engines.current }
    let mark: DegradedMark
    private let clock: CacheClock
    private let log: StoreLog
    private let state = Mutex(State())
    /// Raised when nobody is within any more.
    private let drained = Signal()
    /// The numbers given to changes in memory.
    private let versions = Mutex(MemoryVersions())
    let floors: FloorRaises

    /// Nil where the engine keeps no mark.
    init?(_ engines: EngineCell, _ clock: CacheClock, _ log: StoreLog) {
        guard let mark = engines.current.mark else { return nil }
        self.engines = engines
        self.mark = mark
        floors = FloorRaises(mark)
        self.clock = clock
        self.log = log
    }

    // MARK: Changes

    /// Waits while the way changes and says which one it is. `end` must follow.
    func begin() async -> Way {
        while true {
            let way: Way? = state.withLock { state in
                if state.phase == .changing { return nil }
                state.within += 1
                return state.phase == .onDisk ? .disk : .memory
            }
            if let way { return way }
            await changed()
        }
    }

    /// The same for a thread that makes its change on disk or not at all; false: not now.
    func beginOnDisk() -> Bool {
        state.withLock { state in
            if state.phase == .onDisk { state.within += 1 }
            return state.phase == .onDisk
        }
    }

    func end() {
        let isLast = state.withLock { state in
            state.within -= 1
            return state.within == 0 && state.phase == .changing
        }
        if isLast { drained.raise() }
    }

    private func changed() async {
        await withCheckedContinuation { continuation in
            let waits = state.withLock { state in
                if state.phase == .changing { state.waiting.append(continuation) }
                return state.phase == .changing
            }
            if !waits { continuation.resume() }
        }
    }

    var isInMemory: Bool { state.withLock { $0.phase != .onDisk } }

    /// Whether the log has failed and the store is not in memory yet. What it holds unseen nothing hides until then.
    var isAboutToLeaveDisk: Bool { engine.troubles.failure != nil && state.withLock { $0.phase != .inMemory } }

    /// The newest version that anybody may have seen.
    var presentVersion: UInt64 { max(versionsGiven, engine.visible.rawValue) }

    /// Numbers a change in memory: above everything before it, on disk too. Within a change that is made in memory: the
    /// log skips what was given when the store returns to the disk.
    func nextVersion() -> UInt64 { versions.withLock { $0.next(after: engine.appended.rawValue) } }

    var versionsGiven: UInt64 { versions.withLock { $0.last } }

    /// Whether the log may take a number without reaching those that were given.
    var logMayGoOn: Bool { versions.withLock { $0.leaves(engine.appended.rawValue + 1) } }

    /// What is hidden of a namespace. The same object as long as the store is open.
    func shadow(of namespace: Namespace) -> DiskShadow {
        let hidesAll = engine.hidesEntries
        return state.withLock { state in
            if let known = state.shadows[namespace] { return known }
            let new = DiskShadow(namespace)
            // What a mark covers that was found set is for nobody to see.
            if hidesAll { new.hide(.all) }
            state.shadows[namespace] = new
            return new
        }
    }

    /// Below which source versions a namespace shows nothing. The same object as long as the store is open.
    func floors(of namespace: Namespace) -> FloorRegistry {
        state.withLock { state in
            if let known = state.floors[namespace] { return known }
            let new = FloorRegistry()
            state.floors[namespace] = new
            return new
        }
    }

    /// Those that a return to the disk has to write anew.
    var unsavedFloors: [(Namespace, PrefixFloors)] {
        state.withLock { state in state.registriesToSave.map { ($0.key, $0.value.present) } }
    }

    var shadows: [DiskShadow] { state.withLock { Array($0.shadows.values) } }

    // MARK: Entering

    /// Whether a write that failed so has the store go on in memory. A store that is behind, or has used its own budget, has
    /// a sound disk: that passes by itself and is told to who writes. One that could not read its conditions has met a
    /// damaged table, and the log takes the next one.
    static func isRefusal(_ error: VarveError) -> Bool {
        switch error.code {
        case .io, .failedStop: error.stage != .conditions
        case .diskFull: error.underlying is IOError
        default: false
        }
    }

    /// Whether a disk that said so to an attempt to come back may think better of it.
    static func mayPass(_ error: VarveError) -> Bool { isRefusal(error) || [.diskFull, .stalled].contains(error.code) }

    /// Goes over to memory, unless that has happened, or another engine has taken the place of the one that failed since:
    /// what an engine before did is no reason to leave this one. Returns once the way is memory's, or another's change is
    /// done.
    func enter(_ cause: VarveError, of failed: Engine) async {
        guard beginChange(from: .onDisk, of: failed) else { return await changed() }
        // In a task of its own it ends, whoever is cancelled.
        await Task {
            // No thread is held until everybody is out: where the kernel gives none, that would be one of the pool's, which
            // those who are within may need.
            await drain()
            await IOThread.run(name: "varve-mark") { self.carryOutEntering(cause) }
        }.value
    }

    /// Sees to the disk, now and then: goes over to memory where the engine takes no more writes, though nobody has met that
    /// by writing yet, and tries the disk where that is due. Blocks.
    func attend() {
        let engine = engine
        guard let failure = engine.troubles.failure, failure.code != .closed, beginChange(from: .onDisk, of: engine)
        else { return returnIfDue() }
        waitUntilDrained()
        carryOutEntering(failure)
    }

    /// Nobody is within.
    private func carryOutEntering(_ cause: VarveError) {
        // What changes from here on the log does not hold: nobody who follows it may go on as if it did.
        engine.shutFeeds(cause)
        let refusal = setMark(cause)
        let now = clock.now()
        let waiting = state.withLock { state in
            state.cause = cause
            state.since = now
            state.counts.episodes += 1
            state.retries.begin(at: now)
            state.news.add(.degraded(cause, markRefusal: refusal))
            return state.leaveChange(to: .inMemory)
        }
        for waiter in waiting { waiter.resume() }
    }

    /// Keeps everybody out from now on; false where the way, or the engine, is another. `drain` or `waitUntilDrained` must
    /// follow, then the new way.
    private func beginChange(from phase: Phase, of engine: Engine? = nil) -> Bool {
        state.withLock { state in
            guard state.phase == phase else { return false }
            // It is replaced in a change of the way only, so under this lock it stays what it is.
            if let engine, engine !== engines.current { return false }
            state.phase = .changing
            return true
        }
    }

    /// Returns when nobody is within any more. Blocks.
    private func waitUntilDrained() {
        drained.wait { state.withLock { $0.within == 0 } ? () : nil }
    }

    /// The same for a task, which must not be one that is cancelled: it would spin.
    private func drain() async {
        while true {
            let seen = drained.generation
            if state.withLock({ $0.within == 0 }) { return }
            await drained.wait(after: seen)
        }
    }

    /// Nil once the mark is durable; else what keeps it from being so.
    private func setMark(_ cause: VarveError) -> VarveError? {
        if mark.isSet { return nil }
        do throws(VarveError) {
            try set(cause)
            return nil
        } catch {
            return error
        }
    }

    /// What is not durable yet may be lost, and its source versions with it: these are in the mark before it counts.
    private func set(_ cause: VarveError) throws(VarveError) {
        try mark.raise(engine.unsyncedFloors)
        try mark.set(cause: cause.message, at: clock.now())
    }

    /// Returns once the mark is durable: nothing may be acknowledged before. Within a change in memory.
    func requireMark() async throws(VarveError) {
        if mark.isSet { return }
        let cause = state.withLock { $0.cause } ?? DegradedMode.unnamedRefusal
        guard let refusal = await IOThread.run(name: "varve-mark", { self.setMark(cause) }) else { return }
        state.withLock { $0.counts.refusals += 1 }
        throw VarveError(
            cause.code, "\(cause.message); and it cannot go on in memory alone: \(refusal.message)", path: cause.path,
            underlying: refusal)
    }

    /// The same for a thread that may block, where nothing is acknowledged.
    func makeMarkDurable() throws(VarveError) {
        if mark.isSet { return }
        try set(state.withLock { $0.cause } ?? DegradedMode.unnamedRefusal)
    }

    /// Returns once it is durable that a source version of a key was acknowledged.
    func raiseFloor(_ version: UInt64, ofKeyHash hash: UInt64) async throws(VarveError) {
        try await floors.raise(DegradedMark.Raise(version, ofKeyHash: hash))
    }

    // MARK: Leaving

    /// Tries the disk where that is due: takes everything that was changed in memory to it and goes on there.
    private func returnIfDue() {
        let now = clock.now()
        guard state.withLock({ $0.phase == .inMemory && $0.retries.isDue(at: now) }) else { return }
        tryReturn()
    }

    /// The same at once, for a thread that may block; true where the store is on disk now.
    @discardableResult
    func tryReturn() -> Bool {
        let isMine = state.withLock { state in
            // Who goes over to memory at this moment has not set the mark yet.
            guard state.phase == .inMemory, !state.isTrying else { return false }
            state.isTrying = true
            return true
        }
        guard isMine else { return !isInMemory }
        defer { endTrial() }
        let disk = DiskReturn(mode: self)
        do throws(VarveError) {
            let replacement = try disk.probe()
            guard beginChange(from: .inMemory) else { return false }
            waitUntilDrained()
            if let replacement { take(replacement) }
        } catch {
            state.withLock { state in
                state.retries.tried(at: clock.now())
                state.lastRefusal = error
            }
            return false
        }
        var refusal: VarveError?
        do throws(VarveError) {
            try disk.run()
            engine.openFeeds()
        } catch {
            refusal = error
        }
        endLeaving(refusal)
        return refusal == nil
    }

    private func endTrial() {
        let waiting = state.withLock { state in
            state.isTrying = false
            defer { state.waitingForTrial = [] }
            return state.waitingForTrial
        }
        for waiting in waiting { waiting.resume() }
    }

    /// Returns when nobody tries the disk. Not from within a change, which a return waits for.
    func trialEnded() async {
        await withCheckedContinuation { continuation in
            let waits = state.withLock { state in
                if state.isTrying { state.waitingForTrial.append(continuation) }
                return state.isTrying
            }
            if !waits { continuation.resume() }
        }
    }

    /// Returns when the store is neither on its way to memory nor back.
    func settled() async {
        await trialEnded()
        await changed()
    }

    /// Whether another engine is just being opened to take this one's place, or has taken it: it removes files that this one may
    /// still want to read, which is no damage. Where the opening fails this one goes on to be read, and damage counts.
    func isReplacing(_ engine: Engine) -> Bool {
        // In this order: where the trial has ended by now, its outcome is there to be seen.
        engine.isRetired && (state.withLock { $0.isTrying } || engine !== engines.current)
    }

    /// The store goes on with another engine. Nobody is within.
    private func take(_ replacement: DiskReturn.Replacement) {
        // No number that the old one gave may come again; it may have lost what it gave it for.
        let given = engine.appended.rawValue
        versions.withLock { $0.pass(given) }
        for change in replacement.hidden { hide(change) }
        engines.replace(by: replacement.engine)
        let visible = replacement.engine.visible
        state.withLock { $0.news.add(.reopened(visible)) }
    }

    private func hide(_ change: DiskReturn.Hidden) {
        let shadow = shadow(of: change.namespace)
        switch change.what {
        case .key(let key, let sourceVersion): shadow.hide(key, sourceVersion: sourceVersion)
        case .range(let begin, let end): shadow.hide(KeyInterval(begin: begin, end: end))
        case .tag(let tag): shadow.hide(tag: tag, at: nextVersion())
        case .floors: state.withLock { _ = $0.unsavedFloors.insert(change.namespace) }
        }
    }

    private func endLeaving(_ refusal: VarveError?) {
        let waiting = state.withLock { state in
            // Under the lock, so that no reader has told a longer time already.
            let (now, since) = (clock.now(), state.since)
            state.retries.tried(at: now)
            state.lastRefusal = refusal
            if refusal == nil {
                let duration = max(0, now &- since)
                let changes = state.shadows.values.reduce(0) { $0 + $1.count }
                state.news.add(.returned(after: .nanoseconds(duration), changes: changes))
                state.counts.nanoseconds += duration
                state.counts.returns += 1
                state.cause = nil
                for shadow in state.shadows.values { shadow.reset() }
                for floors in state.registriesToSave.values { floors.noteStored() }
                state.unsavedFloors = []
            }
            return state.leaveChange(to: refusal == nil ? .onDisk : .inMemory)
        }
        for waiter in waiting { waiter.resume() }
    }

    // MARK: Damage, and what is told

    /// Where what the disk refused is not known.
    private static var unnamedRefusal: VarveError {
        VarveError(.io, "the disk takes no writes: free space on it, or see to its device; it is tried again by itself")
    }

    /// A read met damage, and counts as a miss.
    func noteDamage(_ error: VarveError) {
        let now = clock.now()
        state.withLock { state in
            state.counts.damagedReads += 1
            state.damagedAt = now
            state.lastDamage = error
        }
    }

    /// Tells the log what happened since. For a thread of the store's own: whoever reads, writes or tries the disk only notes.
    /// `isLast`: nothing is put off.
    func tell(at now: Int64, isLast: Bool = false) {
        let (news, damage, times) = state.withLock { state in
            let times = state.news.take(damagedReads: state.counts.damagedReads, at: now, isLast: isLast)
            return (state.news.take(), state.lastDamage, times)
        }
        for event in news { log.tell(event) }
        if let damage, let times { log.damaged(damage, times: times) }
    }

    /// Whether a read that failed so counts as a miss.
    static func isDamage(_ error: VarveError) -> Bool {
        [.corruption, .missingFile, .unsupportedFormat, .io].contains(error.code)
    }

    var counts: DegradedCounts {
        let now = clock.now()
        return state.withLock { state in
            var counts = state.counts
            counts.isDegraded = state.phase != .onDisk && state.cause != nil
            if counts.isDegraded { counts.nanoseconds += max(0, now &- state.since) }
            return counts
        }
    }

    func describe(in health: inout CacheHealth) {
        let now = clock.now()
        state.withLock { state in
            health.damagedReads = state.counts.damagedReads
            health.lastDamage = state.lastDamage
            if state.lastDamage != nil { health.sinceLastDamage = .nanoseconds(max(0, now &- state.damagedAt)) }
            guard state.phase != .onDisk, let cause = state.cause else { return }
            health.state = .degraded(
                CacheHealth.Episode(
                    cause: cause, duration: .nanoseconds(max(0, now &- state.since)),
                    changes: state.shadows.values.reduce(0) { $0 + $1.count }, isMarkDurable: mark.isSet,
                    returnsByItself: state.lastRefusal.map(DegradedMode.mayPass) ?? true))
        }
    }
}

extension DegradedMode.State {
    /// Of the floors that the disk may lack, by what was found in the engine that failed, or by what was noted when they were
    /// raised. It stays the same while nobody changes anything.
    fileprivate var registriesToSave: [Namespace: FloorRegistry] {
        floors.filter { unsavedFloors.contains($0.key) || $0.value.isInDoubt }
    }

    /// Ends a change of the way; who waited for it is to be resumed.
    fileprivate mutating func leaveChange(to phase: DegradedMode.Phase) -> [CheckedContinuation<Void, Never>] {
        self.phase = phase
        defer { waiting = [] }
        return waiting
    }
}
