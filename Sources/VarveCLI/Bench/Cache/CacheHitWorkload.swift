import Foundation
import Synchronization
internal import Varve

/// `cache_hit`: what a hit in memory costs, beside a dictionary in an actor and one behind a mutex, in one run.
///
/// Zipf reads over keys that are all there, with integers and short strings as keys, on one thread and on several. Every
/// contender runs once in each of several rounds, in turn; the median round counts. Where asked to, judges by `HitBars`.
struct CacheHitWorkload: Sendable {
    private static let rounds = 5
    /// Reads of a sequence that is drawn before the clock runs.
    private static let sequenceLength = 1 << 18

    let options: BenchOptions
    private var records: Int { Int(clamping: options.records) }
    private var operations: UInt64 { options.operations ?? 2_000_000 }

    /// The nanoseconds of a thread for one read, by contender.
    private typealias Costs = [(name: String, nanoseconds: [Double])]

    func run(_ report: (ResultLine) throws -> Void) async throws {
        let width = max(1, options.threads)
        var missed: [String] = []
        for threads in width == 1 ? [1, 2] : [width] {
            missed += try await compare("int", threads, keys: (0..<records).map { $0 }, report)
            let names = (0..<records).map { "key:" + String(1_000_000 + $0) }
            missed += try await compare("string", threads, keys: names, report)
        }
        if options.judges, !missed.isEmpty { throw BenchFailure(missed.joined(separator: "; ")) }
    }

    /// Returns what missed its bar.
    private func compare<Key: CacheKey>(
        _ kind: String, _ threads: Int, keys: [Key], _ report: (ResultLine) throws -> Void
    ) async throws -> [String] {
        let value = [UInt8](repeating: 7, count: options.valueLength)
        // Each entry a value of its own, as entries are.
        let entries = Dictionary(uniqueKeysWithValues: keys.map { ($0, value + []) })
        var contenders: [(name: String, measure: (UInt64) async throws -> Double)] = []
        func add<C: HitContender>(_ type: C.Type) async throws where C.Key == Key {
            let contender = try await C(entries)
            contenders.append((C.name, { try await measure(contender, keys, threads, $0) }))
        }
        try await add(MutexReads<Key>.self)
        try await add(AsyncReads<Key>.self)
        try await add(ActorReads<Key>.self)
        try await add(LoadingReads<Key>.self)
        try await add(LoadingCacheReads<Key>.self)
        try await add(ImmediateReads<Key>.self)
        try await add(ExpiringReads<Key>.self)
        try await add(TaggedReads<Key>.self)
        try await add(IdleReads<Key>.self)
        for contender in contenders { _ = try await contender.measure(operations / 10) }
        var costs: Costs = contenders.map { ($0.name, []) }
        // In turn, so that a machine that grows slower does so for all.
        for _ in 0..<CacheHitWorkload.rounds {
            for (index, contender) in contenders.enumerated() {
                costs[index].nanoseconds.append(try await contender.measure(operations))
            }
        }
        for index in costs.indices { costs[index].nanoseconds.sort() }
        for (name, nanoseconds) in costs { try report(line(kind, threads, name, nanoseconds, costs)) }
        let medians = Dictionary(
            uniqueKeysWithValues: costs.map { ($0.name, $0.nanoseconds[$0.nanoseconds.count / 2]) })
        return HitBars.missed(medians, threads: threads).map { "\(kind) keys on \(threads) threads: \($0)" }
    }

    private final class Gate: Sendable {
        let ready = Atomic<Int>(0)
    }

    /// Nanoseconds that a thread takes for a read.
    private func measure<C: HitContender>(
        _ contender: C, _ keys: [C.Key], _ threads: Int, _ operations: UInt64
    ) async throws -> Double {
        let share = max(1, Int(operations) / threads)
        let gate = Gate()
        let valueLength = options.valueLength
        return try await withThrowingTaskGroup(of: Double.self) { group in
            let zipf = Zipf(UInt64(keys.count))
            for thread in 0..<threads {
                let sequence = sequence(zipf, thread, keys.count)
                group.addTask {
                    gate.ready.add(1, ordering: .acquiringAndReleasing)
                    while gate.ready.load(ordering: .acquiring) < threads { await Task.yield() }
                    let start = BenchClock.now()
                    try await CacheHitWorkload.reads(
                        contender, keys, sequence, share, valueLength: valueLength)
                    return Double(BenchClock.now() &- start) / Double(share)
                }
            }
            return try await group.reduce(0, +) / Double(threads)
        }
    }

    private nonisolated(nonsending) static func reads<C: HitContender>(
        _ contender: C, _ keys: [C.Key], _ sequence: [UInt32], _ count: Int, valueLength: Int
    ) async throws {
        var found = 0
        var bytes = 0
        for index in 0..<count {
            guard let value = try await contender.read(keys[Int(sequence[index & (sequence.count - 1)])]) else {
                continue
            }
            found &+= 1
            bytes &+= value.count
        }
        guard found == count, bytes == count * valueLength else {
            throw BenchFailure("of \(count) reads \(found) found what was put")
        }
    }

    private func sequence(_ zipf: Zipf, _ thread: Int, _ count: Int) -> [UInt32] {
        let ranked = Perm(UInt64(count), seed: 9)
        var rng = Rng(seed: options.seed, thread: UInt64(thread))
        return (0..<CacheHitWorkload.sequenceLength).map { _ in UInt32(clamping: ranked(zipf(rng.unit()))) }
    }

    private func line(
        _ kind: String, _ threads: Int, _ name: String, _ nanoseconds: [Double], _ costs: Costs
    ) -> ResultLine {
        let cost = nanoseconds[nanoseconds.count / 2]
        var line = ResultLine()
        line.add("backend", name)
        line.add("config", options.label)
        line.add("workload", "cache_hit")
        line.add("keys", kind)
        line.add("n", options.records)
        line.add("v", options.valueLength)
        line.add("threads", threads)
        line.add("ops", operations)
        line.add("ns_op", cost)
        line.add("ns_op_min", nanoseconds.first ?? 0)
        line.add("ops_s", Double(threads) * 1e9 / cost)
        for other in costs where other.name == "mutex" || other.name == "actor" {
            line.add("of_\(other.name)", cost / other.nanoseconds[other.nanoseconds.count / 2])
        }
        return line
    }
}
