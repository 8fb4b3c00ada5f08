import Foundation
import Synchronization
internal import Varve

/// A stretch of traffic, as one process saw it: a line that the child of `cache_restart` hands to its parent.
struct TrafficSlice: Codable, Sendable {
    /// Since the process began to open the cache, at the end of the stretch.
    var seconds = 0.0
    /// How long the opening took.
    var openMilliseconds = 0.0
    var requests: UInt64 = 0
    var hits: UInt64 = 0
    var memoryHits: UInt64 = 0
    var meanMicroseconds = 0.0
    var p99Microseconds = 0.0

    var hitRatio: Double { requests == 0 ? 0 : Double(hits) / Double(requests) }
    var memoryHitRatio: Double { requests == 0 ? 0 : Double(memoryHits) / Double(requests) }
}

/// The child's half of `cache_restart`: a service that opens its cache, serves the same requests in every phase, says each
/// quarter of a second how it went, and is killed in the middle of it.
struct RestartTraffic: Sendable {
    private static let clients: UInt64 = 64
    private static let sliceMilliseconds: UInt64 = 250
    private static let tickMilliseconds: UInt64 = 10

    private final class Latencies: Sendable {
        let histogram = Mutex(Histogram())
    }

    let options: BenchOptions
    let directory: String
    let phase: CacheRestartWorkload.Phase
    private var source: BenchSource { BenchSource(valueLength: options.valueLength, answersAfter: .milliseconds(2)) }
    /// The phase before has to become steady.
    private var seconds: Double { phase == .before ? 2 * options.seconds : options.seconds }

    /// Does not return: the process kills itself.
    func serveAndDie(_ report: (TrafficSlice) throws -> Void) async throws {
        let began = BenchClock.now()
        let cache = try await open()
        let opened = Double(BenchClock.now() &- began) * 1e-6
        let zipf = Zipf(options.records)
        let ranked = Perm(options.records, seed: 9)
        if phase == .before {
            let immediate = BenchSource(valueLength: options.valueLength, answersAfter: .zero)
            // With the half that is asked for less: what is hot meets a disk that is full.
            try await immediate.fill(cache, options.records - options.records / 2) { ranked($0 + options.records / 2) }
        }
        let latencies = Latencies()
        let start = BenchClock.now()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in 0..<Self.clients {
                group.addTask { try await serve(cache, client, zipf, ranked, from: start, latencies) }
            }
            var before = cache.statistics
            let slices = UInt64(seconds * 1000) / Self.sliceMilliseconds
            for slice in 1...max(1, slices) {
                try await Self.sleep(until: start &+ slice &* Self.sliceMilliseconds &* 1_000_000)
                let now = cache.statistics
                let seen = latencies.histogram.withLock { histogram in
                    defer { histogram = Histogram() }
                    return histogram
                }
                var line = TrafficSlice()
                line.seconds = Double(BenchClock.now() &- start) * 1e-9 + opened * 1e-3
                line.openMilliseconds = opened
                line.requests = now.requests - before.requests
                line.hits = now.hits - before.hits
                line.memoryHits = now.memoryHits - before.memoryHits
                line.meanMicroseconds = seen.mean / 1e3
                line.p99Microseconds = seen.quantile(0.99) / 1e3
                try report(line)
                before = now
            }
            kill(getpid(), SIGKILL)
        }
    }

    private func open() async throws -> Cache<BenchKey, [UInt8]> {
        let memory = Int(clamping: options.records * options.recordBytes / 10)
        // Half of the records: what is loaded for the first time it does not take.
        let disk = CacheLimit.entries(max(64, Int(clamping: options.records / 2)))
        var options = CacheOptions(memory: .bytes(memory), disk: disk)
        // Taken more often than by default, so that a short run has a note to come back by.
        options.warmRestart?.interval = .seconds(max(1, Int(self.options.seconds / 4)))
        return try await Cache.open(at: directory, options)
    }

    /// One client: its share of the rate, a few requests a tick. Falls behind where the source keeps it waiting.
    private func serve(
        _ cache: Cache<BenchKey, [UInt8]>, _ client: UInt64, _ zipf: Zipf, _ ranked: Perm, from start: UInt64,
        _ latencies: Latencies
    ) async throws {
        let source = source
        var rng = Rng(seed: options.seed, thread: client)
        let perSecond = Double(max(1, options.rate)) / Double(Self.clients)
        var owed = 0.0
        for tick in 1... as PartialRangeFrom<UInt64> {
            owed += perSecond * Double(Self.tickMilliseconds) / 1000
            while owed >= 1 {
                owed -= 1
                let id = ranked(zipf(rng.unit()))
                let asked = BenchClock.now()
                let value = try await cache.value(for: BenchKey(id)) { _ in try await source.load(id) }
                guard value.count == options.valueLength else { throw BenchFailure("a value of another length") }
                latencies.histogram.withLock { $0.add(BenchClock.now() &- asked) }
            }
            try await Self.sleep(until: start &+ tick &* Self.tickMilliseconds &* 1_000_000)
        }
    }

    private static func sleep(until time: UInt64) async throws {
        let now = BenchClock.now()
        if time > now { try await Task.sleep(nanoseconds: time &- now) } else { await Task.yield() }
    }
}
