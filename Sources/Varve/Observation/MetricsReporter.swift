internal import CoreMetrics
internal import Synchronization

/// Hands a cache's statistics to swift-metrics: what came on top since the last time to counters, what is now to gauges,
/// and a sample of the times to timers. One thread at a time; no request waits for a metrics backend.
final class MetricsReporter: Sendable {
    private struct Told: Sendable {
        var statistics: CacheStatistics
        /// The highest value of each counter: what dips for a moment is not told twice.
        var counters: [UInt64]
    }

    private let told: Mutex<Told>
    private let counters: [Metric<Counter>]
    private let gauges: [Metric<Recorder>]
    private let timers: [(timer: CoreMetrics.Timer, of: @Sendable (CacheStatistics) -> LatencyHistogram)]

    private struct Metric<Instrument: Sendable>: Sendable {
        let instrument: Instrument
        let value: @Sendable (CacheStatistics) -> UInt64?
    }

    /// Times that a timer gets of one period at most: more tell no more, and backends keep them all.
    private static let timesPerPeriod: UInt64 = 128

    /// `before`: what was counted before there was this reporter, and is not its to tell.
    init(
        _ factory: (any MetricsFactory)?, store: String, cache: String, before: CacheStatistics = CacheStatistics()
    ) {
        let factory = factory ?? MetricsSystem.factory
        let dimensions = [("store", store), ("cache", cache)]
        func label(_ name: String) -> String { "varve_cache_" + name }
        counters = MetricsReporter.counted.map { metric in
            Metric(
                instrument: Counter(
                    label: label(metric.name), dimensions: dimensions + metric.dimensions, factory: factory),
                value: metric.value)
        }
        gauges = MetricsReporter.measured.map { metric in
            Metric(
                instrument: Recorder(
                    label: label(metric.name), dimensions: dimensions, aggregate: false, factory: factory),
                value: metric.value)
        }
        timers = MetricsReporter.timed.map { metric in
            (CoreMetrics.Timer(label: label(metric.name), dimensions: dimensions, factory: factory), metric.histogram)
        }
        told = Mutex(Told(statistics: before, counters: counters.map { $0.value(before) ?? 0 }))
    }

    func report(_ statistics: CacheStatistics) {
        let values = counters.map { $0.value(statistics) ?? 0 }
        let before = told.withLock { told in
            let old = told
            told = Told(statistics: statistics, counters: zip(values, old.counters).map { max($0, $1) })
            return old
        }
        for (counter, (value, highest)) in zip(counters, zip(values, before.counters)) where value > highest {
            counter.instrument.increment(by: Int64(clamping: value - highest))
        }
        for gauge in gauges {
            if let value = gauge.value(statistics) { gauge.instrument.record(Int64(clamping: value)) }
        }
        for (timer, histogram) in timers {
            MetricsReporter.record(histogram(statistics).since(histogram(before.statistics)), timer)
        }
    }

    /// Records up to so many of a period's times, from each bucket its part.
    private static func record(_ histogram: LatencyHistogram, _ timer: CoreMetrics.Timer) {
        let stride = max(1, (histogram.count + timesPerPeriod - 1) / timesPerPeriod)
        var seen: UInt64 = 0
        histogram.forEach { nanoseconds, count in
            let times = (seen &+ count) / stride - seen / stride
            seen &+= count
            for _ in 0..<times { timer.recordNanoseconds(nanoseconds) }
        }
    }

    // MARK: What there is

    typealias Counted = (
        name: String, dimensions: [(String, String)], value: @Sendable (CacheStatistics) -> UInt64?
    )

    /// See docs/operations.md, which lists them.
    private static var counted: [Counted] {
        var all: [Counted] = [
            ("hits_total", [("tier", "memory")], { $0.memoryHits }),
            ("hits_total", [("tier", "disk")], { $0.diskHits }),
            ("loads_total", [], { $0.loads }),
            ("load_failures_total", [], { $0.loadFailures }),
            ("load_timeouts_total", [], { $0.loadTimeouts }),
            ("loads_refused_total", [], { $0.loadsRefused }),
            ("loads_shared_total", [], { $0.loadsShared }),
            ("loads_outdated_total", [], { $0.loadsOutdated }),
            ("loads_unstored_total", [], { $0.loadsUnstored }),
            ("refused_by_floor_total", [], { $0.refusedByFloor }),
            ("stale_served_total", [], { $0.staleServed }),
            ("undecodable_total", [], { $0.undecodable }),
            ("read_failures_total", [], { $0.readsFailed }),
            ("write_failures_total", [], { $0.writesFailed }),
            ("evictions_total", [("tier", "memory")], { $0.evictions }),
            ("evictions_total", [("tier", "disk")], { $0.ownDisk?.entriesEvicted }),
            ("expired_total", [], { $0.expired }),
            ("disk_logged_bytes_total", [], { $0.ownDisk?.bytesLogged }),
            ("disk_logged_entries_total", [], { $0.ownDisk?.entriesLogged }),
            ("disk_rewritten_bytes_total", [], { $0.ownDisk?.bytesRewritten }),
            ("disk_rewritten_entries_total", [], { $0.ownDisk?.entriesRewritten }),
            ("disk_writes_avoided_total", [], { $0.diskWritesAvoided }),
            ("kept_for_use_total", [], { $0.keptForUse }),
            ("disk_writes_delayed_total", [], { $0.disk?.writesDelayed }),
            ("disk_writes_stalled_total", [], { $0.disk?.writesStalled }),
            ("disk_writes_waited_milliseconds_total", [], { ($0.disk?.nanosecondsWaited).map { $0 / 1_000_000 } }),
            ("degraded_seconds_total", [], { ($0.degradation?.time.components.seconds).map { UInt64(clamping: $0) } }),
            ("writes_refused_total", [], { $0.degradation?.writesRefused }),
            ("damaged_reads_total", [], { $0.degradation?.damagedReads }),
            ("warmed_entries_total", [], { ($0.warmUp?.entriesWarmed).map { UInt64($0) } }),
        ]
        for cause in MissCause.allCases {
            all.append(("misses_total", [("cause", "\(cause)")], { $0.misses[cause] }))
        }
        return all
    }

    private static var measured: [(name: String, value: @Sendable (CacheStatistics) -> UInt64?)] {
        [
            ("memory_entries", { UInt64(clamping: $0.memoryEntries) }),
            ("memory_used", { UInt64(clamping: $0.memoryWeight) }),
            ("memory_limit", { UInt64(clamping: $0.memoryLimit) }),
            ("disk_entries", { $0.ownDisk?.entries }),
            ("disk_bytes", { $0.ownDisk?.bytes }),
            ("warm_keys_age_seconds", { ($0.warmUp?.keysAge?.components.seconds).map { UInt64(clamping: $0) } }),
            ("disk_quota", { ($0.ownDisk?.quota?.amount).map { UInt64(clamping: $0) } }),
            ("disk_used_bytes", { $0.disk?.bytes }),
            ("disk_limit_bytes", { $0.disk?.limit }),
            ("disk_used_entries", { $0.disk?.entries }),
            ("disk_limit_entries", { $0.disk?.entryLimit }),
            ("healthy", { $0.isHealthy ? 1 : 0 }),
            ("writable", { $0.isWritable ? 1 : 0 }),
            ("degraded", { ($0.degradation?.isDegraded).map { $0 ? 1 : 0 } }),
        ]
    }

    private static var timed: [(name: String, histogram: @Sendable (CacheStatistics) -> LatencyHistogram)] {
        [
            ("disk_read_seconds", { $0.diskReadLatency }),
            ("load_seconds", { $0.loadLatency }),
            ("write_seconds", { $0.writeLatency }),
        ]
    }
}
