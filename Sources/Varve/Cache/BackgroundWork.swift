internal import Synchronization
internal import VarveIO

/// A thread that does small things in turn, again and again.
final class BackgroundWork: Sendable {
    /// When a piece of work wants its next turn.
    enum Next {
        /// As soon as the others had theirs.
        case soon
        /// After the period.
        case later
        /// It has ended.
        case never
    }
    /// Gets the store clock's time.
    typealias Work = @Sendable (Int64) -> Next

    private struct State {
        var work: [Work] = []
        var isStopping = false
    }
    private final class Shared: Sendable {
        let state = Mutex(State())
        let wake = Signal()
        /// Raised whenever every piece of work had its turn, and once the thread ends.
        let rounds = Signal()
    }

    private let shared = Shared()
    private let thread: IOThread

    /// How often; memory of the expired is given back within this time and the wheel's tick.
    private static let period = Duration.milliseconds(200)

    init(name: String, _ clock: CacheClock) throws(IOError) {
        let shared = self.shared
        thread = try IOThread(name: name) {
            while true {
                let seen = shared.wake.generation
                let (work, stops) = shared.state.withLock { ($0.work, $0.isStopping) }
                if stops { return shared.rounds.raise() }
                var isHurried = false
                var done: [Int] = []
                for (index, piece) in work.enumerated() {
                    switch piece(clock.now()) {
                    case .soon: isHurried = true
                    case .later: break
                    case .never: done.append(index)
                    }
                }
                if !done.isEmpty {
                    // Only this thread removes, and others only append: the indices still hold.
                    shared.state.withLock { state in for index in done.reversed() { state.work.remove(at: index) } }
                }
                shared.rounds.raise()
                if !isHurried { shared.wake.wait(after: seen, atMost: BackgroundWork.period) }
            }
        }
    }

    func add(_ work: @escaping Work) {
        shared.state.withLock { $0.work.append(work) }
        shared.wake.raise()
    }

    /// Returns when each piece of work that there is now has had a whole turn since, or the thread has ended.
    func attended() async {
        // The first round to end may have begun before.
        for _ in 0..<2 {
            let seen = shared.rounds.generation
            if shared.state.withLock({ $0.isStopping }) { return }
            shared.wake.raise()
            await shared.rounds.wait(after: seen)
        }
    }

    func stop() {
        let isFirst = shared.state.withLock { state in
            defer { state.isStopping = true }
            return !state.isStopping
        }
        shared.wake.raise()
        if isFirst, !thread.isCurrent { thread.join() }
    }
}
