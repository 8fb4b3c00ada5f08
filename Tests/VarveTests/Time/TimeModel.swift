import VarveIO

@testable import Varve

/// What a plain dictionary with deadlines knows of a cache's keys: which answers at a moment of the store clock are right.
///
/// A key is in one of some states, of which there is one but after a power cut. Deadlines are spans: what jitter, or an
/// idle deadline that the disk has not heard of, leaves open.
struct TimeModel {
    struct State {
        /// Nil: the key has none.
        var value: Int?
        var tags: Set<String> = []
        /// By how much a read moves the deadline; 0: by nothing.
        var idle: Int64 = 0
        /// The deadline from the write.
        var limit = Int64.max...Int64.max
        var fresh = Int64.max...Int64.max
        /// When it is gone: surely before `lowerBound`, and not from `upperBound` on.
        var until = Int64.max...Int64.max
        /// The least that the disk knows of `until`, and that a power cut leaves of it.
        var told = Int64.max
        var synced = Int64.max
        /// What the disk knew of it at least when it was written, or when the store was opened.
        var base = Int64.max
        /// Its deadline has passed at some time: whoever likes may have removed it.
        var mayBeGone = false

        static let absent = State()

        init() {}

        init(_ value: Int, _ expiry: Expiry, _ tags: Set<String>, at now: Int64) {
            (self.value, self.tags) = (value, tags)
            idle = expiry.idle?.clampedNanoseconds ?? 0
            limit = State.deadline(expiry.usable, expiry.jitter, now)
            fresh = State.deadline(expiry.fresh, expiry.jitter, now)
            until = limit
            if idle > 0 { until = min(limit.lowerBound, now + idle)...min(limit.upperBound, now + idle) }
            (told, synced, base) = (until.lowerBound, until.lowerBound, until.lowerBound)
        }

        private static func deadline(_ span: Duration?, _ jitter: Double, _ now: Int64) -> ClosedRange<Int64> {
            guard let whole = span?.clampedNanoseconds else { return .max ... .max }
            let least = jitter > 0 ? Int64(Double(whole) * (1 - jitter)) - 1 : whole
            return (now + least)...(now + whole)
        }

        /// How far memory may be ahead of the disk before the disk is told.
        var slack: Int64 { idle / 4 }

        /// How often the disk may have been told of its reads.
        var renewals: Int { idle > 0 && value != nil ? Int((until.upperBound - base) / max(1, slack)) : 0 }

        mutating func noteRead(at now: Int64) {
            mayBeGone = false
            guard idle > 0 else { return }
            until =
                max(
                    until.lowerBound, min(limit.lowerBound, now + idle))...max(
                    until.upperBound, min(limit.upperBound, now + idle))
        }
    }

    struct Key {
        /// It is in one of these.
        var states = [State.absent]
        /// It may be in one of these after a power cut.
        var unsynced: [State] = []
    }

    /// Whether memory may forget: then what the disk knows decides.
    let isTight: Bool
    private(set) var keys: [Key]
    /// The most that may have been logged since the store was opened.
    private(set) var mostLogged = 0
    /// Where the store clock stood at the last write, and at the last one that a power cut leaves.
    private(set) var lastWrite = Int64.min
    private(set) var lastSynced = Int64.min

    init(keys count: Int, isTight: Bool) {
        keys = Array(repeating: Key(), count: count)
        self.isTight = isTight
    }

    // MARK: What is right

    private func mayBeMissing(_ state: State, at now: Int64) -> Bool {
        let until = isTight ? min(state.told, state.until.lowerBound) : state.until.lowerBound
        return state.value == nil || state.mayBeGone || until <= now
    }

    /// Takes in what a read found; false where that is wrong.
    mutating func read(_ key: Int, found value: Int?, at now: Int64) -> Bool {
        let right = keys[key].states.filter { state in
            value == nil ? mayBeMissing(state, at: now) : state.value == value && state.until.upperBound > now
        }
        if right.isEmpty { return false }
        keys[key].states = right
        if value != nil { for index in right.indices { keys[key].states[index].noteRead(at: now) } }
        return true
    }

    /// Whether an entry that was just read may say this of itself.
    func mayBe(_ key: Int, isStale: Bool, usableFor: Int64?, at now: Int64) -> Bool {
        keys[key].states.contains { state in
            let staleIsRight = isStale ? state.fresh.lowerBound <= now : state.fresh.upperBound > now
            let until = usableFor.map { now + $0 } ?? .max
            return staleIsRight && state.until.contains(until)
        }
    }

    /// Whether reads leave everything as it is.
    func isIndifferentToReads(_ key: Int) -> Bool { keys[key].states.allSatisfy { $0.idle == 0 } }

    /// The most that the log may hold by now: what was written, and a deadline once in a quarter of its span.
    var bound: Int { mostLogged + keys.reduce(0) { $0 + ($1.states.map(\.renewals).max() ?? 0) } }

    /// The moments at which something ends.
    func deadlines(_ key: Int) -> [Int64] {
        keys[key].states.flatMap { [$0.until.lowerBound, $0.until.upperBound, $0.fresh.upperBound, $0.told] }
    }

    // MARK: What happens

    mutating func write(_ key: Int, _ state: State, at now: Int64) {
        change(key, to: [state])
        mostLogged += 1
        lastWrite = now
    }

    mutating func drop(_ tag: String, at now: Int64) {
        for key in keys.indices where keys[key].states.contains(where: { $0.tags.contains(tag) }) {
            change(key, to: keys[key].states.map { $0.tags.contains(tag) ? .absent : $0 })
        }
        lastWrite = now
    }

    private mutating func change(_ key: Int, to states: [State]) {
        mostLogged += keys[key].states.map(\.renewals).max() ?? 0
        keys[key].unsynced += keys[key].states
        keys[key].states = states
        for index in states.indices { keys[key].states[index].base = states[index].until.lowerBound }
    }

    /// The background has told the disk of reads.
    mutating func tell() {
        forEachState { state in
            if state.idle > 0 { state.told = max(state.told, state.until.lowerBound - state.slack) }
        }
    }

    /// All that was written is durable.
    mutating func sync() {
        for key in keys.indices { keys[key].unsynced = [] }
        forEachState { $0.synced = $0.told }
        lastSynced = lastWrite
    }

    /// What ends is gone for good, or comes again where a clock falls.
    mutating func notePassed(_ now: Int64) {
        forEachState { state in
            if min(state.told, state.until.lowerBound) <= now { state.mayBeGone = true }
        }
    }

    /// The store is opened anew.
    mutating func restart(losingPower: Bool) {
        if losingPower {
            for key in keys.indices { keys[key].states += keys[key].unsynced }
            forEachState { $0.told = min($0.told, $0.synced) }
            lastWrite = lastSynced
        }
        forEachState { state in
            if state.idle > 0 { state.until = min(state.told, state.until.lowerBound)...state.until.upperBound }
            state.base = min(state.told, state.until.lowerBound)
        }
        // What the opening found stays.
        if losingPower { sync() }
        mostLogged = 0
    }

    private mutating func forEachState(_ body: (inout State) -> Void) {
        for key in keys.indices {
            for index in keys[key].states.indices { body(&keys[key].states[index]) }
            for index in keys[key].unsynced.indices { body(&keys[key].unsynced[index]) }
        }
    }
}
