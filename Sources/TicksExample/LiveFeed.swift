import Synchronization
internal import Varve
internal import VarveEngine

/// The ticks of a day as a live feed: several lines deliver all of them, none in order, and readers who look all the time
/// must never see a price older than one that anybody has seen already.
///
/// What makes it so is one word at the write: `sourceVersion`. A tick that comes late is refused, whatever happened in
/// between: eviction from memory, the drop of a tag, a restart.
struct LiveFeed: Sendable {
    struct Outcome: Codable, Sendable {
        var ticks = 0
        var writes = 0
        /// Late ticks that were refused.
        var refused = 0
        var reads = 0
        /// Reads of a price older than one that was seen before the read began: there must be none.
        var violations = 0
        /// Names whose last price is the day's last.
        var complete = 0
        var names = 0
    }

    let ticks: [Tick]
    let lines: Int
    let readers: Int
    let seed: UInt64

    /// What anybody has seen of a name, at least.
    private final class Seen: Sendable {
        private let newest = Mutex<[String: UInt64]>([:])
        func number(_ name: String) -> UInt64 { newest.withLock { $0[name] ?? 0 } }
        func note(_ name: String, _ number: UInt64) {
            newest.withLock { $0[name] = max($0[name] ?? 0, number) }
        }
    }

    private final class Counts: Sendable {
        let writes = Atomic<Int>(0)
        let refused = Atomic<Int>(0)
        let reads = Atomic<Int>(0)
        let violations = Atomic<Int>(0)
        let linesAtWork: Atomic<Int>
        init(lines: Int) { linesAtWork = Atomic(lines) }
    }

    private var options: CacheOptions {
        // Far too small for all names, so that memory forgets all the time and the disk answers.
        var options = CacheOptions(memory: .entries(8), disk: .megabytes(64))
        options.warmRestart = nil
        return options
    }

    /// Plays the feed, half of it before the cache is closed and opened again.
    func play(in folder: String) async throws -> Outcome {
        let seen = Seen()
        var outcome = Outcome()
        let half = ticks.count / 2
        for part in [ticks[..<half], ticks[half...]] {
            let cache = try await Cache<String, Tick>.open(at: folder, options)
            let counts = Counts(lines: lines)
            try await play(part, on: cache, seen, counts)
            outcome.writes += counts.writes.load(ordering: .relaxed)
            outcome.refused += counts.refused.load(ordering: .relaxed)
            outcome.reads += counts.reads.load(ordering: .relaxed)
            outcome.violations += counts.violations.load(ordering: .relaxed)
            try await cache.close()
        }
        let cache = try await Cache<String, Tick>.open(at: folder, options)
        let last = Dictionary(ticks.map { ($0.name, $0) }) { $0.number > $1.number ? $0 : $1 }
        for (name, tick) in last where try await cache.value(for: name) == tick { outcome.complete += 1 }
        try await cache.close()
        outcome.ticks = ticks.count
        outcome.names = last.count
        return outcome
    }

    private func play(
        _ part: ArraySlice<Tick>, on cache: Cache<String, Tick>, _ seen: Seen, _ counts: Counts
    ) async throws {
        let names = Array(Set(part.map(\.name))).sorted()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for line in 0..<lines {
                group.addTask {
                    defer { counts.linesAtWork.subtract(1, ordering: .releasing) }
                    try await deliver(shuffled(part, line), to: cache, counts)
                }
            }
            for reader in 0..<readers {
                group.addTask { try await look(at: cache, names, reader, seen, counts) }
            }
            try await group.waitForAll()
        }
    }

    /// The ticks as one line delivers them: each up to twenty places from where it belongs.
    private func shuffled(_ part: ArraySlice<Tick>, _ line: Int) -> [Tick] {
        var state = seed &+ UInt64(line) &* 0x9E37_79B9_7F4A_7C15
        func draw() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
        return part.map { (place: $0.number + draw() % 20, tick: $0) }.sorted { $0.place < $1.place }.map(\.tick)
    }

    private func deliver(_ ticks: [Tick], to cache: Cache<String, Tick>, _ counts: Counts) async throws {
        for tick in ticks {
            do {
                try await cache.set(tick, for: tick.name, .init(sourceVersion: tick.number))
                counts.writes.add(1, ordering: .relaxed)
            } catch let error as VarveError where error.code == .conditionFailed {
                counts.refused.add(1, ordering: .relaxed)
            }
        }
    }

    private func look(
        at cache: Cache<String, Tick>, _ names: [String], _ reader: Int, _ seen: Seen, _ counts: Counts
    ) async throws {
        var place = reader
        while counts.linesAtWork.load(ordering: .acquiring) > 0 {
            let name = names[place % names.count]
            place += 1
            let known = seen.number(name)
            if let tick = try await cache.value(for: name) {
                if tick.number < known { counts.violations.add(1, ordering: .relaxed) }
                seen.note(name, tick.number)
            }
            counts.reads.add(1, ordering: .relaxed)
            if place % 64 == 0 { await Task.yield() }
        }
    }
}
