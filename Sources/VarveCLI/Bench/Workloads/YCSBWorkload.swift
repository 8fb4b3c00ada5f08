import Synchronization

/// The core workloads of YCSB (Cooper et al. 2010). Record i lies under id Perm(4n, 7)(i), so that inserts scatter;
/// which record is touched is Zipf-distributed by its number.
struct YCSBWorkload: Sendable {
    let mix: Workload.YCSBMix
    let options: BenchOptions
    let operations: UInt64
    private let ids: Perm
    private let zipf: Zipf

    init(_ mix: Workload.YCSBMix, _ options: BenchOptions) {
        self.mix = mix
        self.options = options
        operations = options.operations ?? 1_000_000
        ids = Perm(options.records * 4, seed: 7)
        zipf = Zipf(options.records)
    }

    struct Totals {
        var bytes: UInt64 = 0
        var missing: UInt64 = 0
        var reads = Histogram()
        var updates = Histogram()
    }

    /// What the threads share. The next record to insert: `d` and `e` insert into different ranges, so that one may run
    /// after the other.
    private final class Shared: Sendable {
        let nextRecord: Atomic<UInt64>
        let totals = Mutex(Totals())
        init(nextRecord: UInt64) { self.nextRecord = Atomic(nextRecord) }
    }

    func run<Store: BenchStore>(_ store: Store) throws -> (measurement: Measurement, totals: Totals) {
        let shared = Shared(nextRecord: mix == .e ? 2 * options.records : options.records)
        let measurement = try BenchThreads.run(store, threads: options.threads) { thread, session, latencies in
            var worker = Worker(session: session, options: options, ids: ids, thread: thread)
            var timer = LapTimer()
            var index = UInt64(thread)
            while index < operations {
                let isWrite = try step(&worker, index, shared.nextRecord)
                let nanoseconds = timer.lap()
                latencies.add(nanoseconds)
                if isWrite { worker.updates.add(nanoseconds) } else { worker.reads.add(nanoseconds) }
                index += UInt64(options.threads)
            }
            let (bytes, missing, reads, updates) = worker.totals
            shared.totals.withLock { totals in
                totals.bytes += bytes
                totals.missing += missing
                totals.reads.merge(reads)
                totals.updates.merge(updates)
            }
        }
        return (measurement, shared.totals.withLock { $0 })
    }

    /// One operation; true where it wrote.
    @inline(__always)
    private func step<Session: BenchSession>(
        _ worker: inout Worker<Session>, _ index: UInt64, _ nextRecord: borrowing Atomic<UInt64>
    ) throws -> Bool {
        let dice = worker.rng.below(100)
        switch mix {
        case .a, .b:
            let record = zipf(worker.rng.unit())
            if dice < (mix == .a ? 50 : 95) { return try worker.get(record) }
            return try worker.put(record, version: 1 + index)
        case .c:
            return try worker.get(zipf(worker.rng.unit()))
        case .d:
            if dice >= 95 { return try worker.insert(nextRecord, version: 1 + index) }
            let newest = nextRecord.load(ordering: .relaxed)
            return try worker.get(newest - 1 - zipf(worker.rng.unit()))
        case .e:
            if dice >= 95 { return try worker.insert(nextRecord, version: 1 + index) }
            let record = zipf(worker.rng.unit())
            return try worker.scan(record, limit: 1 + worker.rng.below(100))
        case .f:
            let record = zipf(worker.rng.unit())
            _ = try worker.get(record)
            return dice >= 50 ? try worker.put(record, version: 1 + index) : false
        }
    }

    /// Loads the records: one thread, one put at a time.
    static func load<Store: BenchStore>(_ store: Store, _ options: BenchOptions) throws -> Measurement {
        let ids = Perm(options.records * 4, seed: 7)
        let measurement = try BenchThreads.run(store, threads: 1) { thread, session, latencies in
            var worker = Worker(session: session, options: options, ids: ids, thread: thread)
            var timer = LapTimer()
            for record in 0..<options.records {
                _ = try worker.put(record, version: 0)
                latencies.add(timer.lap())
            }
        }
        try store.settle()
        return measurement
    }

    /// One thread's buffers and counts.
    private struct Worker<Session: BenchSession>: ~Copyable {
        let session: Session
        let options: BenchOptions
        let ids: Perm
        var rng: Rng
        var reads = Histogram()
        var updates = Histogram()
        private let key = Scratch(BenchKeys.length)
        private let value: Scratch
        private let buffer: Scratch
        private var scanned = ScanSum()
        private var moved: UInt64 = 0
        private var missing: UInt64 = 0

        init(session: Session, options: BenchOptions, ids: Perm, thread: Int) {
            self.session = session
            self.options = options
            self.ids = ids
            rng = Rng(seed: options.seed, thread: UInt64(thread))
            value = Scratch(options.valueLength)
            buffer = Scratch(options.readBufferBytes)
        }

        var totals: (UInt64, UInt64, Histogram, Histogram) { (moved + scanned.bytes, missing, reads, updates) }

        mutating func get(_ record: UInt64) throws -> Bool {
            unsafe BenchKeys.present(ids(record), into: key.bytes)
            if let length = unsafe try session.get(key.readable(BenchKeys.length), into: buffer.bytes) {
                moved += UInt64(BenchKeys.length + length)
            } else {
                missing += 1
            }
            return false
        }

        mutating func put(_ record: UInt64, version: UInt64) throws -> Bool {
            let id = ids(record)
            unsafe BenchKeys.present(id, into: key.bytes)
            unsafe BenchValues.make(id: id, version: version, into: value.prefix(options.valueLength))
            unsafe try session.put(key.readable(BenchKeys.length), value.readable(options.valueLength))
            moved += options.recordBytes
            return true
        }

        mutating func insert(_ nextRecord: borrowing Atomic<UInt64>, version: UInt64) throws -> Bool {
            try put(nextRecord.add(1, ordering: .relaxed).oldValue, version: version)
        }

        mutating func scan(_ record: UInt64, limit: UInt64) throws -> Bool {
            unsafe BenchKeys.present(ids(record), into: key.bytes)
            unsafe try session.scan(from: key.readable(BenchKeys.length), limit: limit, into: &scanned)
            return false
        }
    }
}
