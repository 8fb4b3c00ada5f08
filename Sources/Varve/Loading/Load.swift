internal import Synchronization
internal import VarveIO

/// One load that any number of callers wait for. A caller that is cancelled leaves; the last one to leave cancels it,
/// unless it goes on by itself.
///
/// State machine: waiting -> finished (with a result), or waiting -> abandoned (nobody waits any more). What a loader
/// brings after either is dropped. A look at the disk beside a load is a `Load` too, which nobody can abandon.
@usableFromInline
final class Load<Value: Sendable>: Sendable {
    /// What a load came to.
    struct Found: Sendable {
        /// Nil: the source has none.
        var value: Value?
        /// It stands on disk: the source was not asked.
        var isFromDisk = false
        /// It is due for a refresh.
        var isStale = false
        /// When what stands on disk may no longer be served.
        var usableUntil = Int64.max
        /// What it carries: a drop of one of these at this version or later outdates it.
        var tags: [UInt64] = []
        var version: UInt64 = 0
    }
    typealias Outcome = Result<Found, any Error>

    private struct State {
        /// Places taken: callers that wait or are about to.
        var places = 1
        /// Whether it needs no caller: a refresh in the background.
        var goesOn: Bool
        var waiters: [UInt64: CheckedContinuation<Found?, any Error>] = [:]
        var timers: [UInt64: Task<Void, any Error>] = [:]
        var nextID: UInt64 = 0
        var outcome: Outcome?
        var isAbandoned = false
        /// When the value that was found may no longer be served; the load goes on to its end, a loaded one is being stored.
        var usableUntil = Int64.max
        /// The look at the disk that is under way for some who have come to a load that does not look there.
        var look: Load?
        /// Tells whoever carries it out that nobody waits any more.
        var cancel: (@Sendable () -> Void)?
        /// Nil once the load has ended: those who waited have it in their seats.
        var successor: Successor<Value>?

        var isOver: Bool { isAbandoned || outcome != nil }
    }

    /// How many drops of tags there had been before it began.
    let drops: UInt64
    /// Whether it asks the source whatever lies on disk, which it has not looked at.
    let skipsDisk: Bool
    private let state: Mutex<State>

    /// The creator has the first place. `goesOn`: the load is carried out whether or not anybody waits.
    init(
        goesOn: Bool = false, drops: UInt64 = 0, skipsDisk: Bool = false, successor: Successor<Value> = Successor()
    ) {
        self.drops = drops
        self.skipsDisk = skipsDisk
        state = Mutex(State(goesOn: goesOn, successor: successor))
    }

    /// The value is there: who comes when it may no longer be served has another loaded.
    func noteUsable(until deadline: Int64) { state.withLock { $0.usableUntil = deadline } }

    /// Takes a place, and returns what those who wait here know of the next load; nil where the load was abandoned, or
    /// what it brings is over, and another must be begun. `isBackground`: for nobody who waits, without a place.
    func join(at now: Int64, isBackground: Bool = false) -> Successor<Value>? {
        state.withLock { state in
            if state.isAbandoned || state.usableUntil <= now { return nil }
            if !isBackground { state.places += 1 }
            // Who joins one that has ended comes from the load before it, and takes no third.
            return state.successor ?? Successor()
        }
    }

    /// The load is being carried out. `cancel`: ends that, where nobody waits any more; it may be called twice.
    func begin(cancel: @escaping @Sendable () -> Void) {
        let isOver = state.withLock { state in
            if state.outcome == nil { state.cancel = cancel }
            return state.isOver
        }
        if isOver { cancel() }
    }

    /// Whether what its loader brings is for nobody: it was given up, or was ended from outside.
    var isOver: Bool { state.withLock { $0.isOver } }

    /// Gives those who wait their outcome; the first one counts.
    func finish(_ outcome: Outcome) { _ = end(outcome, isForAll: (try? outcome.get()) != nil) }

    /// Ends the load from outside: who waits gets the error now, and the loader is told.
    func abort(_ error: any Error) { end(.failure(error), isForAll: true)?() }

    /// What cancels the one who carries it out, if there is one and this was the end. `isForAll`: also for those who look at
    /// the disk first, and may find something there though the source has failed.
    private func end(_ outcome: Outcome, isForAll: Bool) -> (@Sendable () -> Void)? {
        let ended: State? = state.withLock { state in
            if state.outcome != nil { return nil }
            state.outcome = outcome
            defer { (state.waiters, state.timers, state.cancel, state.successor) = ([:], [:], nil, nil) }
            return state
        }
        guard let ended else { return nil }
        for timer in ended.timers.values { timer.cancel() }
        for waiter in ended.waiters.values { waiter.resume(with: outcome.map { Found?.some($0) }) }
        if isForAll { ended.look?.finish(outcome) }
        return ended.cancel
    }

    /// The look at the disk that all share who have a place here and look there now, and whether the caller has to carry it
    /// out. Nobody has a place in that: it goes on to its end, which `endLook` tells.
    func look() -> (look: Load, isNew: Bool) {
        state.withLock { state in
            if let look = state.look { return (look, false) }
            let new = Load(goesOn: true)
            state.look = new
            return (new, true)
        }
    }

    /// Whether somebody looks at the disk beside it now.
    var isBesideLook: Bool { state.withLock { $0.look != nil } }

    /// Who looks later does so anew.
    func endLook(_ outcome: Outcome) {
        let look = state.withLock { state in
            defer { state.look = nil }
            return state.look
        }
        look?.finish(outcome)
    }

    /// How many have a place in it.
    var callers: Int { state.withLock { $0.places } }

    /// From now on the load needs no caller.
    func goOn() { state.withLock { $0.goesOn = true } }

    /// Gives a place back; the last one that goes cancels the load.
    func leave() {
        let cancel: (@Sendable () -> Void)? = state.withLock { state in
            state.places -= 1
            guard state.places == 0, !state.goesOn, state.outcome == nil else { return nil }
            state.isAbandoned = true
            return state.cancel
        }
        cancel?()
    }

    /// Waits for the outcome in the place that the caller has taken and gives back afterwards.
    /// - Parameter timeout: after which to stop waiting; nil is returned then, and the load goes on.
    func wait(atMost timeout: Duration?) async throws -> Found? {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome: Result<Found?, any Error>? = state.withLock { state in
                    if let outcome = state.outcome { return outcome.map { Found?.some($0) } }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.waiters[id] = continuation
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) } else { startTimer(id, timeout) }
            }
        } onCancel: {
            stopWaiting(id, .failure(CancellationError()))
        }
    }

    /// Waits for the outcome, however long it takes.
    func wait() async throws -> Found {
        // Without a timeout it is never nil.
        guard let found = try await wait(atMost: nil) else { throw CancellationError() }
        return found
    }

    /// After the waiter stands in its place, so that it cannot miss it.
    private func startTimer(_ id: UInt64, _ timeout: Duration?) {
        guard let timeout else { return }
        let timer = Task {
            try await Task.sleep(for: timeout.clampedForTimers)
            stopWaiting(id, .success(nil))
        }
        let isWaiting = state.withLock { state in
            guard state.waiters[id] != nil else { return false }
            state.timers[id] = timer
            return true
        }
        if !isWaiting { timer.cancel() }
    }

    private func stopWaiting(_ id: UInt64, _ outcome: Result<Found?, any Error>) {
        let (waiter, timer) = state.withLock { state in
            (state.waiters.removeValue(forKey: id), state.timers.removeValue(forKey: id))
        }
        timer?.cancel()
        waiter?.resume(with: outcome)
    }
}

/// Where the load stands that began after the end of another, for those who came to that one after a drop of a tag that its
/// result carries: all of them share it, however late they look.
///
/// It belongs to who waits for the other load, not to that load: one that somebody still holds must not keep all those
/// alive that came after it. Used under the lock of the key's shard.
final class Successor<Value: Sendable>: Sendable {
    private let state = Mutex<Load<Value>?>(nil)

    var load: Load<Value>? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

/// A load took longer than the hard timeout allows, and was given up. What its loader brings afterwards is dropped.
public struct LoadTimeout: Error, Sendable, CustomStringConvertible {
    /// What was allowed.
    public let limit: Duration
    /// For people.
    public var description: String { "the load took longer than \(limit) and was given up" }
}
