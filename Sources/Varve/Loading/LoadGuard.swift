internal import Synchronization
internal import VarveIO

/// Decides whether a load may begin: back-off for a key that failed, a circuit breaker for the source as a whole. To the
/// breaker a call to the source is one, however many keys it is for. Any thread; bounded. Errors are the users' own: the
/// last reference to one goes after the lock is free, since its end may run their code.
final class LoadGuard<Key: CacheKey>: Sendable {
    fileprivate struct Failure {
        var count: Int
        var until: Int64
        var error: any Error
    }
    fileprivate struct State {
        var failures: [Key: Failure] = [:]
        var inRow = 0
        var pausedUntil: Int64 = .min
        /// The load that decides: which it is, and until when no other one is let through beside it. One that hangs must not
        /// keep everybody from the source for as long.
        var probe: UInt64 = 0
        var probingUntil: Int64 = .min
        var lastError: (any Error)?
    }

    /// A call that was let through.
    struct Admission: Sendable {
        /// Which of the loads it is whose outcome decides if the source is asked again; nil: none of them.
        var probe: UInt64?
        var isProbe: Bool { probe != nil }
    }

    private let options: LoadOptions
    private let state = Mutex(State())
    /// Keys whose failures are remembered; beyond, the half is forgotten that may be tried again first.
    static var limit: Int { 4096 }

    init(_ options: LoadOptions) { self.options = options }

    private var isNeeded: Bool { options.backOff != nil || options.breaker != nil }
    /// How many keys' failures are remembered.
    var count: Int { state.withLock { $0.failures.count } }

    /// Throws `LoadRefused` where the key is to be left alone.
    func check(_ key: Key, at now: Int64) throws(LoadRefused) {
        guard options.backOff != nil else { return }
        let failure = state.withLock { $0.failures[key] }
        if let failure, failure.until > now { throw LoadRefused(reason: .backingOff, cause: failure.error) }
    }

    /// Throws `LoadRefused` where the source is to be left alone. The call's end must be noted.
    func admit(at now: Int64) throws(LoadRefused) -> Admission {
        guard isNeeded else { return Admission() }
        let answer: Result<Admission, LoadRefused> = state.withLock { state in
            guard let breaker = options.breaker, state.inRow >= breaker.failures else { return .success(Admission()) }
            if state.isResting(at: now) {
                return .failure(LoadRefused(reason: .circuitOpen, cause: state.lastError))
            }
            state.probe += 1
            state.probingUntil = Deadlines.add(breaker.pause.clampedNanoseconds, to: now)
            return .success(Admission(probe: state.probe))
        }
        return try answer.get()
    }

    /// Whether a load of the key that began now would be refused: what nobody waits for need not be begun for that.
    func refuses(_ key: Key, at now: Int64) -> Bool {
        guard isNeeded else { return false }
        return state.withLock { state in
            if let breaker = options.breaker, state.inRow >= breaker.failures, state.isResting(at: now) { return true }
            return options.backOff != nil && state.failures[key]?.until ?? .min > now
        }
    }

    /// The source answered a call for these keys.
    func noteSuccess(_ keys: [Key], _ admission: Admission) {
        guard isNeeded else { return }
        let spent = state.withLock { state in
            state.inRow = 0
            state.end(admission)
            defer { state.lastError = nil }
            return (keys.map { state.failures.removeValue(forKey: $0)?.error }, state.lastError)
        }
        withExtendedLifetime(spent) {}
    }

    /// A call for these keys failed: one failure of the source, and one of each key.
    func noteFailure(_ keys: [Key], _ admission: Admission, _ error: any Error, at now: Int64) {
        guard isNeeded else { return }
        let spent = state.withLock { state in
            var spent = [state.lastError].compactMap { $0 }
            state.inRow += 1
            state.end(admission)
            state.lastError = error
            if let breaker = options.breaker, state.inRow >= breaker.failures {
                state.pausedUntil = Deadlines.add(breaker.pause.clampedNanoseconds, to: now)
            }
            if let backOff = options.backOff {
                for key in keys { state.note(key, error, backOff, at: now, &spent) }
            }
            return spent
        }
        withExtendedLifetime(spent) {}
    }

    /// Whether a failure lengthens the wait after the next one: for twice the longest wait after its own has ended.
    fileprivate static func counts(_ failure: Failure, _ backOff: LoadOptions.BackOff, at now: Int64) -> Bool {
        let maximum = backOff.maximum.clampedNanoseconds
        return Deadlines.add(maximum, to: Deadlines.add(maximum, to: failure.until)) > now
    }

    fileprivate static func wait(_ backOff: LoadOptions.BackOff, failures: Int) -> Int64 {
        let doublings = min(failures - 1, 40)
        let maximum = backOff.maximum.clampedNanoseconds
        let (wait, overflow) = backOff.initial.clampedNanoseconds.multipliedReportingOverflow(by: 1 << doublings)
        return overflow ? maximum : min(wait, maximum)
    }

    /// A call that was admitted ended without saying anything of the source: it was cancelled.
    func noteCancelled(_ admission: Admission) {
        guard admission.isProbe else { return }
        state.withLock { $0.end(admission) }
    }
}

extension LoadGuard.State {
    /// Whether the source, which has failed, is left alone: for the pause, and while a load decides.
    fileprivate func isResting(at now: Int64) -> Bool { pausedUntil > now || probingUntil > now }

    /// A call ended. One that decided late, when another one was let through to decide, is in nobody's way.
    fileprivate mutating func end(_ admission: LoadGuard<Key>.Admission) {
        if admission.probe == probe { probingUntil = .min }
    }

    /// A key's load failed. `spent`: errors whose last reference this may have been.
    fileprivate mutating func note(
        _ key: Key, _ error: any Error, _ backOff: LoadOptions.BackOff, at now: Int64, _ spent: inout [any Error]
    ) {
        if failures[key] == nil, failures.count >= LoadGuard<Key>.limit {
            spent += failures.values.map(\.error)
            // A half, so that as many failures come before this is done again.
            let latest = failures.sorted { $0.value.until > $1.value.until }.prefix(LoadGuard<Key>.limit / 2)
            failures = Dictionary(
                uniqueKeysWithValues: latest.prefix { $0.value.until > now }.map { ($0.key, $0.value) })
        }
        let earlier = failures[key]
        if let earlier { spent.append(earlier.error) }
        // What failed long ago says nothing of how the source is now.
        let counted = earlier.map { LoadGuard<Key>.counts($0, backOff, at: now) ? $0.count : 0 } ?? 0
        let count = counted + 1
        let wait = LoadGuard<Key>.wait(backOff, failures: count)
        failures[key] = LoadGuard<Key>.Failure(count: count, until: Deadlines.add(wait, to: now), error: error)
    }
}

/// A load was not begun, because earlier ones failed.
public struct LoadRefused: Error, Sendable, CustomStringConvertible {
    /// Which of the two guards it was.
    public enum Reason: Sendable {
        /// This key's load failed a short while ago.
        case backingOff
        /// Many loads in a row failed; the source is given a rest.
        case circuitOpen
    }
    /// Why it was not begun.
    public let reason: Reason
    /// What the last load failed with.
    public let cause: (any Error)?

    /// For people: what failed before, and how.
    public var description: String {
        let what = reason == .backingOff ? "the key's last load failed" : "the source's last loads failed"
        return "not loaded: \(what)" + (cause.map { " (\($0))" } ?? "")
    }
}
