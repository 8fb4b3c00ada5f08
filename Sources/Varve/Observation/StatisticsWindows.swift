internal import Synchronization
internal import VarveIO

/// Over which time statistics are asked.
public enum StatisticsWindow: Sendable, CaseIterable {
    /// The last 60 seconds.
    case lastMinute
    /// The last 60 minutes.
    case lastHour
    /// Since the cache was opened.
    case sinceStart

    fileprivate var span: Int64 {
        switch self {
        case .lastMinute: 60_000_000_000
        case .lastHour: 3_600_000_000_000
        case .sinceStart: .max
        }
    }
}

/// What a cache's counters were at earlier moments: each second of the last minute, each minute of the last hour. The
/// counters only grow, so a window is a difference, and nothing of this is on a request's path. Any thread.
final class StatisticsWindows: Sendable {
    private struct Sample: Sendable {
        let time: Int64
        let counts: CacheStatistics
    }
    private struct State: Sendable {
        var seconds: [Sample] = []
        var minutes: [Sample] = []
    }

    let began: Int64
    /// What stood in the counters then: the store may be older than the cache.
    private let before: CacheStatistics
    private let state = Mutex(State())

    /// Of fewer reads a ratio says nothing.
    static let tellingRequests: UInt64 = 100

    private static let second: Int64 = 1_000_000_000
    private static let minute: Int64 = 60_000_000_000
    /// One more than the window needs, and one for the sample that is older than it.
    private static let kept = 62

    init(began: Int64, before: CacheStatistics = CacheStatistics()) {
        self.began = began
        self.before = before
    }

    /// Whether a second has passed since the last sample.
    func isDue(at now: Int64) -> Bool {
        state.withLock { isDue($0, at: now) }
    }

    private func isDue(_ state: State, at now: Int64) -> Bool {
        now &- (state.seconds.last?.time ?? began) >= StatisticsWindows.second
    }

    /// Takes what was counted up to `now`. False, and nothing is taken, where less than a second has passed since the last
    /// sample: of two who found one due together, the second has counted beyond the time that it names.
    @discardableResult
    func sample(_ counts: CacheStatistics, at now: Int64) -> Bool {
        state.withLock { state in
            guard isDue(state, at: now) else { return false }
            let new = Sample(time: now, counts: counts)
            StatisticsWindows.append(new, to: &state.seconds)
            if now &- (state.minutes.last?.time ?? began) >= StatisticsWindows.minute {
                StatisticsWindows.append(new, to: &state.minutes)
            }
            return true
        }
    }

    private static func append(_ sample: Sample, to samples: inout [Sample]) {
        if samples.count == kept { samples.removeFirst() }
        samples.append(sample)
    }

    /// `counts`, which are of `now`, less what they were at the window's beginning: what the store had counted before the
    /// cache was opened is in none but the longest.
    func counts(_ counts: CacheStatistics, over window: StatisticsWindow, at now: Int64) -> CacheStatistics {
        let beginning = Sample(time: began, counts: before)
        let base = state.withLock { state in
            switch window {
            case .lastMinute: StatisticsWindows.last(of: state.seconds, notAfter: now &- window.span) ?? beginning
            case .lastHour: StatisticsWindows.last(of: state.minutes, notAfter: now &- window.span) ?? beginning
            case .sinceStart: Sample(time: began, counts: CacheStatistics())
            }
        }
        var counts = counts
        counts.subtract(base.counts)
        counts.span = .nanoseconds(max(0, now &- base.time))
        return counts
    }

    /// The share of reads that memory answered in the last seconds; nil while too few were made to tell.
    func lastMoments(of counts: CacheStatistics) -> Double? {
        let base = state.withLock { state in state.seconds.suffix(3).first?.counts }
        var counts = counts
        counts.subtract(base ?? CacheStatistics())
        return counts.requests < StatisticsWindows.tellingRequests ? nil : counts.memoryHitRatio
    }

    private static func last(of samples: [Sample], notAfter time: Int64) -> Sample? {
        samples.last { $0.time <= time }
    }
}

extension UInt64 {
    /// Takes an earlier value of a counter off a later one: 0 where the later is smaller. What several threads count is not
    /// read at one moment, and may seem to have dipped.
    mutating func lessen(by earlier: UInt64) { self = self > earlier ? self - earlier : 0 }
}

extension CacheStatistics {
    /// Makes counts since the start to counts since an earlier moment.
    mutating func subtract(_ earlier: CacheStatistics) {
        memoryHits.lessen(by: earlier.memoryHits)
        diskHits.lessen(by: earlier.diskHits)
        for cause in MissCause.allCases { misses[cause, default: 0].lessen(by: earlier.misses[cause] ?? 0) }
        loads.lessen(by: earlier.loads)
        loadFailures.lessen(by: earlier.loadFailures)
        loadsRefused.lessen(by: earlier.loadsRefused)
        loadTimeouts.lessen(by: earlier.loadTimeouts)
        loadsShared.lessen(by: earlier.loadsShared)
        loadsOutdated.lessen(by: earlier.loadsOutdated)
        loadsUnstored.lessen(by: earlier.loadsUnstored)
        refusedByFloor.lessen(by: earlier.refusedByFloor)
        diskWritesAvoided.lessen(by: earlier.diskWritesAvoided)
        keptForUse.lessen(by: earlier.keptForUse)
        staleServed.lessen(by: earlier.staleServed)
        undecodable.lessen(by: earlier.undecodable)
        readsFailed.lessen(by: earlier.readsFailed)
        writesFailed.lessen(by: earlier.writesFailed)
        evictions.lessen(by: earlier.evictions)
        expired.lessen(by: earlier.expired)
        diskReadLatency = diskReadLatency.since(earlier.diskReadLatency)
        loadLatency = loadLatency.since(earlier.loadLatency)
        writeLatency = writeLatency.since(earlier.writeLatency)
        if let before = earlier.disk { disk?.subtract(before) }
        if let before = earlier.ownDisk { ownDisk?.subtract(before) }
        if let before = earlier.degradation { degradation?.subtract(before) }
    }
}

extension CacheStatistics.DiskUse {
    fileprivate mutating func subtract(_ earlier: CacheStatistics.DiskUse) {
        writesDelayed.lessen(by: earlier.writesDelayed)
        writesStalled.lessen(by: earlier.writesStalled)
        nanosecondsWaited.lessen(by: earlier.nanosecondsWaited)
        bytesLogged.lessen(by: earlier.bytesLogged)
        bytesRewritten.lessen(by: earlier.bytesRewritten)
        entriesLogged.lessen(by: earlier.entriesLogged)
        entriesRewritten.lessen(by: earlier.entriesRewritten)
        entriesEvicted.lessen(by: earlier.entriesEvicted)
    }
}

extension CacheStatistics.OwnDiskUse {
    fileprivate mutating func subtract(_ earlier: CacheStatistics.OwnDiskUse) {
        bytesLogged.lessen(by: earlier.bytesLogged)
        bytesRewritten.lessen(by: earlier.bytesRewritten)
        entriesLogged.lessen(by: earlier.entriesLogged)
        entriesRewritten.lessen(by: earlier.entriesRewritten)
        entriesEvicted.lessen(by: earlier.entriesEvicted)
    }
}

extension Cache {
    /// What the cache did in the last minute, in the last hour, or since it was opened; exact to a second, or a minute.
    /// Where the cache is younger the span says so. Takes each shard's lock for a moment.
    public func statistics(over window: StatisticsWindow) -> CacheStatistics {
        windows.counts(statistics, over: window, at: store.clock.now())
    }

    /// Looks at the counters once a second, and tells metrics and log. For the maintenance thread.
    func observe(at now: Int64) {
        guard windows.isDue(at: now) else { return }
        let counts = statistics
        guard windows.sample(counts, at: now) else { return }
        metrics.report(counts)
        log.look(at: counts, unstored: self.counts.lastUnstored, now: now)
        if let warm, !warm.statistics.isDone { warm.changed.raise() }
    }
}
