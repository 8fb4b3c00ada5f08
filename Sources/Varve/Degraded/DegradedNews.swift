internal import VarveEngine

/// What a store has to tell its log of troubles with its disk, until a thread of its own does: nobody who waits for the store
/// waits for a log backend.
struct DegradedNews: Sendable {
    enum Event: Sendable {
        /// `markRefusal`: what keeps the mark from being durable.
        case degraded(VarveError, markRefusal: VarveError?)
        case reopened(LSN)
        case returned(after: Duration, changes: Int)
    }

    private var events: [Event] = []
    /// Damaged reads as of when they were told last, and when that was.
    private var told: (reads: UInt64, time: Int64)?

    private static let quiet: Int64 = 60_000_000_000
    /// More than this between two tellings say no more: the newest stay.
    private static let most = 64

    mutating func add(_ event: Event) {
        if events.count == DegradedNews.most { events.removeFirst() }
        events.append(event)
    }

    /// What was not told yet.
    mutating func take() -> [Event] {
        defer { events = [] }
        return events
    }

    /// How many damaged reads to tell of, of so many in all; nil: none, or not yet.
    mutating func take(damagedReads: UInt64, at now: Int64, isLast: Bool) -> UInt64? {
        let before = told?.reads ?? 0
        guard damagedReads > before else { return nil }
        if !isLast, let told, now &- told.time < DegradedNews.quiet { return nil }
        told = (damagedReads, now)
        return damagedReads - before
    }
}
