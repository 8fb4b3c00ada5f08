internal import Synchronization

/// Decides whether a load may begin: back-off for a key that failed, a circuit breaker for the source as a whole. Any
/// thread; bounded.
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

    private let options: LoadOptions
    private let state = Mutex(State())
    /// Keys whose failures are remembered; beyond, the ones that may be tried again are forgotten.
    private static var limit: Int { 4096 }

    init(_ options: LoadOptions) { self.options = options }

    private var isNeeded: Bool { options.backOff != nil || options.breaker != nil }

    /// Throws `LoadRefused` where the key or the source is to be left alone.
    func admit(_ key: Key, at now: Int64) throws(LoadRefused) {
        guard isNeeded else { return }
        let refusal: LoadRefused? = state.withLock { state in
            if let failure = state.failures[key], failure.until > now {
                return LoadRefused(reason: .backingOff, cause: failure.error)
            }
            guard let breaker = options.breaker, state.inRow >= breaker.failures else { return nil }
            if state.pausedUntil > now || state.isProbing {
                return LoadRefused(reason: .circuitOpen, cause: state.lastError)
            }
            state.isProbing = true
            return nil
        }
        if let refusal { throw refusal }
    }

    func noteSuccess(_ key: Key) {
        guard isNeeded else { return }
        state.withLock { state in
            state.failures[key] = nil
            state.inRow = 0
            state.isProbing = false
        }
    }

    func noteFailure(_ key: Key, _ error: any Error, at now: Int64) {
        guard isNeeded else { return }
        state.withLock { state in
            state.inRow += 1
            state.isProbing = false
            state.lastError = error
            if let breaker = options.breaker, state.inRow >= breaker.failures {
                state.pausedUntil = Deadlines.add(breaker.pause.clampedNanoseconds, to: now)
            }
            guard let backOff = options.backOff else { return }
            if state.failures.count >= Self.limit { state.failures = state.failures.filter { $0.value.until > now } }
            if state.failures.count >= Self.limit { state.failures.removeAll() }
            let count = (state.failures[key]?.count ?? 0) + 1
            let doublings = min(count - 1, 40)
            let (wait, overflow) = backOff.initial.clampedNanoseconds.multipliedReportingOverflow(by: 1 << doublings)
            let bounded = overflow ? backOff.maximum.clampedNanoseconds : min(wait, backOff.maximum.clampedNanoseconds)
            state.failures[key] = Failure(count: count, until: Deadlines.add(bounded, to: now), error: error)
        }
    }

    /// A load that was admitted ended without saying anything of the source: it was cancelled.
    func noteCancelled() {
        guard isNeeded else { return }
        state.withLock { $0.isProbing = false }
    }
}

/// A load was not begun, because earlier ones failed.
public struct LoadRefused: Error, Sendable, CustomStringConvertible {
    public enum Reason: Sendable {
        /// This key's load failed a short while ago.
        case backingOff
        /// Many loads in a row failed; the source is given a rest.
        case circuitOpen
    }
    public let reason: Reason
    /// What the last load failed with.
    public let cause: (any Error)?

    public var description: String {
        let what = reason == .backingOff ? "the key's last load failed" : "the source's last loads failed"
        return "not loaded: \(what)" + (cause.map { " (\($0))" } ?? "")
    }
}
