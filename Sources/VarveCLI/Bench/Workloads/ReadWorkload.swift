import Synchronization

/// Gets at random: every value is copied out and checked.
struct ReadWorkload: Sendable {
    let pick: Workload.Pick
    let operations: UInt64

    init(_ pick: Workload.Pick, _ options: BenchOptions) {
        self.pick = pick
        operations = options.operations ?? (options.isCold ? 10_000 : 1_000_000)
    }

    /// The totals of all threads.
    private final class Totals: Sendable {
        let found = Atomic<UInt64>(0)
        let wrong = Atomic<UInt64>(0)
    }

    func run<Store: BenchStore>(
        _ store: Store, _ options: BenchOptions
    ) throws -> (measurement: Measurement, found: UInt64, wrong: UInt64) {
        let totals = Totals()
        let zipf = pick == .zipf ? Zipf(options.records) : nil
        let measurement = try BenchThreads.run(store, threads: options.threads) { thread, session, latencies in
            let (found, wrong) = try reads(session, thread, zipf, options, &latencies)
            totals.found.add(found, ordering: .relaxed)
            totals.wrong.add(wrong, ordering: .relaxed)
        }
        return (measurement, totals.found.load(ordering: .relaxed), totals.wrong.load(ordering: .relaxed))
    }

    private func reads(
        _ session: some BenchSession, _ thread: Int, _ zipf: Zipf?, _ options: BenchOptions,
        _ latencies: inout Histogram
    ) throws -> (UInt64, UInt64) {
        let key = Scratch(BenchKeys.length)
        let buffer = Scratch(options.readBufferBytes)
        let ranked = Perm(options.records, seed: 9)
        var rng = Rng(seed: options.seed, thread: UInt64(thread))
        var (found, wrong) = (0 as UInt64, 0 as UInt64)
        var timer = LapTimer()
        var index = UInt64(thread)
        while index < operations {
            let id = zipf.map { ranked($0(rng.unit())) } ?? rng.below(options.records)
            if pick == .missing {
                unsafe BenchKeys.missing(id, into: key.bytes)
            } else {
                unsafe BenchKeys.present(id, into: key.bytes)
            }
            if let length = unsafe try session.get(key.readable(BenchKeys.length), into: buffer.bytes) {
                found += 1
                let isRight = unsafe BenchValues.isRight(
                    buffer.readable(length), length: options.valueLength, id: id)
                if !isRight { wrong += 1 }
            }
            latencies.add(timer.lap())
            index += UInt64(options.threads)
        }
        return (found, wrong)
    }

    /// What precedes a measured read: a full scan and 200,000 gets.
    static func warmUp<Store: BenchStore>(_ store: Store, _ options: BenchOptions) throws {
        let session = try store.makeSession()
        var sum = ScanSum()
        unsafe try session.scan(from: nil, limit: .max, into: &sum)
        let key = Scratch(BenchKeys.length)
        let buffer = Scratch(options.readBufferBytes)
        var rng = Rng(seed: 7777)
        for _ in 0..<200_000 {
            unsafe BenchKeys.present(rng.below(options.records), into: key.bytes)
            _ = unsafe try session.get(key.readable(BenchKeys.length), into: buffer.bytes)
        }
    }
}
