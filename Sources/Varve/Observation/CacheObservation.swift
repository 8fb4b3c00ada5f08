public import CoreMetrics
public import Logging

/// Where a cache says what it does, beside `statistics`.
public struct CacheObservation: Sendable {
    /// Gets what somebody should know who looks after the store: openings and warm-ups at `debug`; a log that was cut
    /// at its end and a disk that takes writes again at `notice`; a full disk, damaged notes, undecodable values at
    /// `warning`; a store that takes no more writes, and damage, at `error`. Never a line for a request: what goes wrong
    /// often is told at most once a minute, with a count. Default: the process's logging system, with the label `varve`.
    public var logger: Logger
    /// Gets counters, gauges and timers once a second. Default (nil): the process's metrics system.
    public var metrics: (any MetricsFactory)?
    /// Names the cache in metrics and log, where it has no name in its store. Default (nil): "default".
    public var name: String?

    /// Where log and metrics go.
    public init(
        logger: Logger = Logger(label: "varve"), metrics: (any MetricsFactory)? = nil, name: String? = nil
    ) {
        self.logger = logger
        self.metrics = metrics
        self.name = name
    }
}
