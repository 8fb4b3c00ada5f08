internal import Synchronization

/// Decides whether a load may begin: back-off for a key that failed, a circuit breaker for the source as a whole. Any
/// thread; bounded. Errors are the users' own: the last reference to one goes after the lock is free, since its end may
/// run their code.
final class LoadGuard<Key: CacheKey>: Sendable {
    private struct Failure {
        var count: Int
        var until: Int64
        var error: any Error
    }
    private struct State {
        var failures: [Key: Failure] = [:]
        var inRow = 0
        var pausedUntil: Int64 = .min
        /// Whether the one load that decides is on its way.
        var isProbing = false
        var lastError: (any Error)?
    }

    /// What was let through.
    struct Admission: Sendable {
        /// Whether its outcome decides if the source is asked again.
        var isProbe = false
    }

    private let options: LoadOptions
    private let state = Mutex(State())
    /// Keys whose failures are remembered; beyond, the ones that may be tried again are forgotten.
    static var limit: Int { 4096 }

    init(_ options: LoadOptions) { self.options = options }

    private var isNeeded: Bool { options.backOff != nil || options.breaker != nil }
    /// How many keys' failures are remembered.
    var count: Int { state.withLock { $0.failures.count } }

    /// Throws `LoadRefused` where the key or the source is to be left alone.
    func admit(_ key: Key, at now: Int64) throws(LoadRefused) -> Admission {
        guard isNeeded else { return Admission() }
        let answer: Result<Admission, LoadRefused> = state.withLock { state in
            if let failure = state.failures[key], failure.until > now {
                return .failure(LoadRefused(reason: .backingOff, cause: failure.error))
            }
            guard let breaker = options.breaker, state.inRow >= breaker.failures else { return .success(Admission()) }
            if state.pausedUntil > now || state.isProbing {
                return .failure(LoadRefused(reason: .circuitOpen, cause: state.lastError))
            }
            state.isProbing = true
            return .success(Admission(isProbe: true))
        }
        return try answer.get()
    }

    func noteSuccess(_ key: Key, _ admission: Admission) {
        guard isNeeded else { return }
        let spent = state.withLock { state in
            state.inRow = 0
            if admission.isProbe { state.isProbing = false }
            defer { state.lastError = nil }
            return (state.failures.removeValue(forKey: key)?.error, state.lastError)
        }
        withExtendedLifetime(spent) {}
    }

    func noteFailure(_ key: Key, _ admission: Admission, _ error: any Error, at now: Int64) {
        guard isNeeded else { return }
        let spent = state.withLock { state in
            var spent = [state.lastError].compactMap { $0 }
            state.inRow += 1
            if admission.isProbe { state.isProbing = false }
            state.lastError = error
            if let breaker = options.breaker, state.inRow >= breaker.failures {
                state.pausedUntil = Deadlines.add(breaker.pause.clampedNanoseconds, to: now)
            }
            guard let backOff = options.backOff else { return spent }
            if state.failures[key] == nil, state.failures.count >= Self.limit {
                spent += state.failures.values.map(\.error)
                state.failures = state.failures.filter { $0.value.until > now }
                if state.failures.count >= Self.limit { state.failures.removeAll() }
            }
            let earlier = state.failures[key]
            if let earlier { spent.append(earlier.error) }
            let count = (earlier?.count ?? 0) + 1
            let wait = LoadGuard.wait(backOff, failures: count)
            state.failures[key] = Failure(count: count, until: Deadlines.add(wait, to: now), error: error)
            return spent
        }
        withExtendedLifetime(spent) {}
    }

    private static func wait(_ backOff: LoadOptions.BackOff, failures: Int) -> Int64 {
        let doublings = min(failures - 1, 40)
        let maximum = backOff.maximum.clampedNanoseconds
        let (wait, overflow) = backOff.initial.clampedNanoseconds.multipliedReportingOverflow(by: 1 << doublings)
        return overflow ? maximum : min(wait, maximum)
    }

    /// A load that was admitted ended without saying anything of the source: it was cancelled.
    func noteCancelled(_ admission: Admission) {
        guard admission.isProbe else { return }
        state.withLock { $0.isProbing = false }
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
