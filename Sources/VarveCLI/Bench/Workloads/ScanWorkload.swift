import Synchronization

/// Reads in key order: everything once, or 100 entries at a time from random places.
enum ScanWorkload {
    static func full<Store: BenchStore>(_ store: Store) throws -> (measurement: Measurement, sum: ScanSum) {
        let total = ScanTotal()
        let measurement = try BenchThreads.run(store, threads: 1) { _, session, _ in
            var sum = ScanSum()
            unsafe try session.scan(from: nil, limit: .max, into: &sum)
            total.add(sum)
        }
        return (measurement, total.value)
    }

    static func seeks<Store: BenchStore>(
        _ store: Store, _ options: BenchOptions, operations: UInt64
    ) throws -> (measurement: Measurement, sum: ScanSum) {
        let total = ScanTotal()
        let measurement = try BenchThreads.run(store, threads: options.threads) { thread, session, latencies in
            let key = Scratch(BenchKeys.length)
            var rng = Rng(seed: options.seed, thread: UInt64(thread))
            var sum = ScanSum()
            var timer = LapTimer()
            var index = UInt64(thread)
            while index < operations {
                unsafe BenchKeys.present(rng.below(options.records), into: key.bytes)
                unsafe try session.scan(from: key.readable(BenchKeys.length), limit: 100, into: &sum)
                latencies.add(timer.lap())
                index += UInt64(options.threads)
            }
            total.add(sum)
        }
        return (measurement, total.value)
    }
}

/// What the threads of a scan add up to.
final class ScanTotal: Sendable {
    private let sum = Mutex(ScanSum())
    func add(_ other: ScanSum) { sum.withLock { $0.add(other) } }
    var value: ScanSum { sum.withLock { $0 } }
}
