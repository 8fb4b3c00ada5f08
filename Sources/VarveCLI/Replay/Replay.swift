internal import Synchronization
internal import Varve

/// Sends a trace's requests through a cache, as an application would: each asks for a value, and what the cache has not
/// is loaded. One after the other, so that the counts are the trace's and not the scheduler's.
struct Replay {
    /// What came of it.
    struct Outcome: Sendable {
        var requests: UInt64 = 0
        var memoryHits: UInt64 = 0
        var diskHits: UInt64 = 0
        /// Entries appended to the log or rewritten by compactions.
        var diskWrites: UInt64 = 0
        var hits: UInt64 { memoryHits + diskHits }
        /// The share of requests that needed no load, in 0...1.
        var hitRatio: Double { requests == 0 ? 0 : Double(hits) / Double(requests) }
    }

    /// The source of the values, which are what they are found by: a wrong one shows at once.
    private final class Source: Sendable {
        let loads = Atomic<UInt64>(0)
        func load(_ id: UInt64) -> UInt64 {
            loads.add(1, ordering: .relaxed)
            return id
        }
    }

    let cache: Cache<UInt64, UInt64>

    /// Replays everything, and tells how far it came after each piece of the input.
    func run(_ ids: inout IDReader, _ progress: (_ requests: UInt64) -> Void) async throws -> Outcome {
        let source = Source()
        let load: @Sendable (UInt64) async throws -> UInt64 = { source.load($0) }
        while let piece = try ids.piece() {
            for id in piece {
                let value = try await cache.value(for: id, load: load)
                if value != id { throw NegativeResult("request of \(id) was answered with \(value)") }
            }
            progress(ids.count)
        }
        let statistics = cache.statistics
        let outcome = Outcome(
            requests: ids.count, memoryHits: statistics.memoryHits, diskHits: statistics.diskHits,
            diskWrites: statistics.disk.map { $0.entriesLogged + $0.entriesRewritten } ?? 0)
        // The source has seen every request that was no hit: the cache's own counts are held against that.
        let loads = source.loads.load(ordering: .relaxed)
        guard outcome.hits + loads == outcome.requests else {
            throw NegativeResult(
                "the cache counted \(outcome.hits) hits, but \(outcome.requests) requests led to \(loads) loads")
        }
        return outcome
    }
}
