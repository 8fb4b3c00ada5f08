import VarveIO

@testable import Varve

/// What the article on loading and the options say of a source that is asked for single keys: when it is asked, what its
/// answer leaves behind, and what a caller gets.
struct LoadingModel {
    /// What a source does when it is asked. `after`: meanwhile so much time passes.
    enum Source: Equatable {
        case value(Int, Expiry, after: Int64)
        case absent(after: Int64)
        case fails(after: Int64)
        /// It never answers; the load is given up.
        case hangs
    }

    enum Answer: Hashable {
        case value(Int?)
        case failure
        case timeout
        case backingOff
        case circuitOpen
    }

    struct Entry {
        /// Nil: the source has none.
        var value: Int?
        var freshUntil: Int64
        var usableUntil: Int64
    }

    /// What is counted.
    struct Counts: Equatable {
        var loads: UInt64 = 0
        var failures: UInt64 = 0
        var timeouts: UInt64 = 0
        var refused: UInt64 = 0
        var staleServed: UInt64 = 0
    }

    private struct Failure {
        var count: Int64 = 0
        var until = Int64.min
    }

    let options: LoadOptions
    private(set) var counts = Counts()
    private var entries: [Int: Entry] = [:]
    private var failures: [Int: Failure] = [:]
    private var failuresInRow = 0
    private var pausedUntil = Int64.min

    init(_ options: LoadOptions) { self.options = options }

    /// What a key has that may be served.
    func live(_ key: Int, at now: Int64) -> Entry? {
        guard let entry = entries[key], entry.usableUntil > now else { return nil }
        return entry
    }

    func isStale(_ key: Int, at now: Int64) -> Bool {
        guard let entry = live(key, at: now) else { return false }
        return entry.value != nil && entry.freshUntil <= now
    }

    mutating func set(_ key: Int, _ value: Int, _ expiry: Expiry, at now: Int64) {
        entries[key] = Entry(
            value: value, freshUntil: deadline(expiry.fresh, now), usableUntil: deadline(expiry.usable, now))
    }

    mutating func remove(_ key: Int) { entries[key] = nil }

    /// Another process: what lay on disk is there, failures are forgotten.
    mutating func restart() { (failures, failuresInRow, pausedUntil, counts) = ([:], 0, .min, Counts()) }

    private func deadline(_ span: Duration?, _ now: Int64) -> Int64 {
        span.map { now + $0.clampedNanoseconds } ?? .max
    }

    /// A caller asks for a key, and every load that this begins has ended. The answers that are right.
    mutating func ask(_ key: Int, _ source: Source, at now: Int64) -> Set<Answer> {
        guard let entry = live(key, at: now) else { return [load(key, source, at: now).answer] }
        guard let stale = entry.value, isStale(key, at: now) else { return [.value(entry.value)] }
        if options.softTimeout == .zero {
            counts.staleServed += 1
            // What nobody waits for is not begun to be refused.
            if refusal(key, at: now) == nil { _ = load(key, source, at: now) }
            return [.value(stale)]
        }
        let (answer, end) = load(key, source, at: now)
        switch answer {
        case .value:
            // With a limit to the wait it depends on who is faster.
            return options.softTimeout == nil ? [answer] : [answer, .value(stale)]
        case .failure, .timeout, .backingOff, .circuitOpen:
            if end >= entry.usableUntil { return [answer] }
            counts.staleServed += 1
            return [.value(stale)]
        }
    }

    /// The same where the caller wants what the source has, and nothing else.
    mutating func refresh(_ key: Int, _ source: Source, at now: Int64) -> Set<Answer> {
        [load(key, source, at: now).answer]
    }

    /// The stale value was served, the load being slower.
    mutating func noteStaleServed() { counts.staleServed += 1 }

    private mutating func load(_ key: Int, _ source: Source, at now: Int64) -> (answer: Answer, end: Int64) {
        if let refusal = refusal(key, at: now) {
            counts.refused += 1
            return (refusal, now)
        }
        counts.loads += 1
        switch source {
        case .value(let value, let expiry, let span):
            succeed(key)
            set(key, value, expiry, at: now + span)
            return (.value(value), now + span)
        case .absent(let span):
            succeed(key)
            entries[key] = options.absence.map {
                Entry(value: nil, freshUntil: .max, usableUntil: deadline($0, now + span))
            }
            return (.value(nil), now + span)
        case .fails(let span):
            fail(key, at: now + span)
            return (.failure, now + span)
        case .hangs:
            fail(key, at: now)
            counts.timeouts += 1
            return (.timeout, now)
        }
    }

    private func refusal(_ key: Int, at now: Int64) -> Answer? {
        if options.backOff != nil, let failure = failures[key], failure.until > now { return .backingOff }
        if let breaker = options.breaker, failuresInRow >= breaker.failures, pausedUntil > now { return .circuitOpen }
        return nil
    }

    private mutating func succeed(_ key: Int) {
        failures[key] = nil
        failuresInRow = 0
    }

    private mutating func fail(_ key: Int, at now: Int64) {
        counts.failures += 1
        failuresInRow += 1
        if let breaker = options.breaker, failuresInRow >= breaker.failures {
            pausedUntil = deadline(breaker.pause, now)
        }
        guard let backOff = options.backOff else { return }
        var failure = failures[key] ?? Failure()
        if deadline(backOff.maximum * 2, failure.until) <= now { failure.count = 0 }
        var wait = backOff.initial
        for _ in 0..<failure.count { wait = min(wait * 2, backOff.maximum) }
        failure.count += 1
        failure.until = deadline(wait, now)
        failures[key] = failure
    }
}
