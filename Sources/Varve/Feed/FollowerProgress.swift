internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// How far a follower is; shared with the task that follows, which keeps nothing else alive.
final class FollowerProgress: Sendable {
    /// A place that was reached, and where the histories that were followed before its own were left.
    struct Reached: Sendable {
        private(set) var cursor: ChangeCursor
        private var left: [ChangeCursor] = []

        init(_ cursor: ChangeCursor) { self.cursor = cursor }

        mutating func move(to next: ChangeCursor) {
            if next.history != cursor.history { left = left.suffix(15) + [cursor] }
            cursor = next
        }

        /// Whether a place lies within what was followed.
        /// - Throws: `.notContinuing` where that cannot be told: of a history that was left, nobody here knows how much the
        ///   one after it shares.
        func includes(_ number: UInt64, of history: UInt64, _ what: @autoclosure () -> String) throws(VarveError)
            -> Bool
        {
            if history == cursor.history { return number <= cursor.lsn.rawValue }
            guard let end = left.last(where: { $0.history == history }) else {
                throw VarveError(.notContinuing, "\(what()) is not of the history that is followed")
            }
            if number <= end.lsn.rawValue { return true }
            throw VarveError(
                .notContinuing,
                "the other has left the history of \(what()), which was followed up to \(end.lsn): whether that write "
                    + "stands is not known")
        }
    }

    private struct Now: Sendable {
        var state = CacheFollower.State.waiting
        var reached: Reached?
        var failure: VarveError?
    }

    private let now = Mutex(Now())
    private enum Gate: Sendable {
        /// The cache keeps nothing at present.
        case shut
        case open
        /// Open for good.
        case given
    }
    /// Held while it changes, so that each end has its beginning.
    private let gate = Mutex(Gate.shut)
    private let moved = Signal()
    private let mirror: Mirror
    private let pause: @Sendable (Duration) async -> Void

    init(_ mirror: Mirror, pause: @escaping @Sendable (Duration) async -> Void = { try? await Task.sleep(for: $0) }) {
        self.mirror = mirror
        self.pause = pause
        mirror.shut()
    }

    var state: CacheFollower.State { now.withLock { $0.state } }
    var cursor: ChangeCursor? { now.withLock { $0.reached?.cursor } }
    var failure: VarveError? { now.withLock { $0.failure } }

    /// Follows until it is stopped.
    func follow(_ open: @Sendable () throws(VarveError) -> ChangeFeed) async {
        var backOff = FollowerBackOff()
        while !Task.isCancelled {
            var failure: VarveError?
            var beginning: ChangeCursor?
            do throws(VarveError) {
                for try await change in try open() {
                    guard take(change) else { return stop() }
                    // That it begins is no progress: it may do so again and again.
                    if let beginning, change.cursor != beginning { backOff.reset() }
                    beginning = beginning ?? change.cursor
                }
            } catch {
                failure = error
            }
            lose(failure)
            await pause(backOff.next())
        }
        stop()
    }

    /// Lets a change take effect; false once there is nobody for whom.
    private func take(_ change: Change) -> Bool {
        let history = change.cursor.history
        let (state, last) = now.withLock { ($0.state, $0.reached?.cursor.history) }
        if state == .stopped { return false }
        // What a history that broke off has told may not have happened in this one.
        if state == .following, last != history { setShut(true) }
        guard mirror.change(change) else { return false }
        setShut(false)
        guard change.endsBatch else { return true }
        now.withLock { now in
            guard now.state != .stopped else { return }
            now.state = .following
            now.failure = nil
            if now.reached == nil { now.reached = Reached(change.cursor) } else { now.reached?.move(to: change.cursor) }
        }
        moved.raise()
        return true
    }

    /// The other is not heard any more: what it changes from now on is not known.
    private func lose(_ failure: VarveError?) {
        // First: whoever sees that it waits finds nothing held.
        setShut(true)
        now.withLock { now in
            now.failure =
                failure
                ?? VarveError(
                    .closed,
                    "the feed of changes ended, with the connection or the engine it came from; "
                        + "nothing is to be done: the follower asks for it anew")
            if now.state == .following { now.state = .waiting }
        }
        moved.raise()
    }

    func stop() {
        now.withLock { $0.state = .stopped }
        gate.withLock { gate in
            switch gate {
            case .given: return
            case .open: mirror.shut()
            case .shut: break
            }
            mirror.reopen()
            gate = .given
        }
        moved.raise()
    }

    private func setShut(_ isShut: Bool) {
        gate.withLock { gate in
            guard gate != .given, (gate == .shut) != isShut else { return }
            gate = isShut ? .shut : .open
            if isShut { mirror.shut() } else { mirror.reopen() }
        }
    }

    /// Returns once `holds` of what was reached while following.
    func wait(until holds: (Reached) throws(VarveError) -> Bool) async throws(VarveError) {
        while true {
            let seen = moved.generation
            let now = self.now.withLock { $0 }
            if now.state == .stopped { throw VarveError(.closed, "the cache follows no longer") }
            if now.state == .following, let reached = now.reached, try holds(reached) { return }
            if Task.isCancelled { throw VarveError(.cancelled, "the wait was cancelled") }
            await moved.wait(after: seen)
        }
    }
}

/// How long to wait before the other is tried again: twice as long each time, until it was heard of.
struct FollowerBackOff: Sendable {
    private var pause = FollowerBackOff.first

    static let first = Duration.milliseconds(50)
    static let longest = Duration.seconds(1)

    mutating func next() -> Duration {
        defer { pause = min(pause * 2, FollowerBackOff.longest) }
        return pause
    }

    mutating func reset() { pause = FollowerBackOff.first }
}
