/// Notices that a store is idle: that nothing has come into its log for a while. Pure: the log's end and the time go in.
struct IdleWatch: Sendable {
    enum News: Equatable, Sendable {
        case none
        /// Nothing was written for the whole span; told until the work for it is done.
        case idle
        /// Writes came again after that work was done; told once.
        case resumed
    }

    let span: Duration
    private var end = LSN.zero
    private var since: ContinuousClock.Instant
    private var isDone = false

    init(after span: Duration, now: ContinuousClock.Instant) {
        self.span = span
        since = now
    }

    mutating func look(_ end: LSN, _ now: ContinuousClock.Instant) -> News {
        if end == self.end { return !isDone && since.duration(to: now) >= span ? .idle : .none }
        defer {
            self.end = end
            since = now
            isDone = false
        }
        return isDone ? .resumed : .none
    }

    /// What an idle store does has been done.
    mutating func noteDone() { isDone = true }
}
