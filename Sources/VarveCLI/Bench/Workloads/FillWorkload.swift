/// Writes every record once, in an order: one at a time, or in atomic batches.
struct FillWorkload: Sendable {
    let name: String
    let operations: UInt64
    /// Nil: in the order of the ids.
    let order: Perm?
    let version: UInt64
    let batch: Int

    init(_ fill: Workload.Fill, _ options: BenchOptions) {
        name = fill.rawValue
        order = fill == .fillseq ? nil : Perm(options.records, seed: fill == .overwrite ? 2 : 1)
        version = fill == .overwrite ? 1 : 0
        batch = fill == .fillbatch ? options.batch : 1
        operations = min(options.operations ?? FillWorkload.defaultOperations(fill, options), options.records)
    }

    /// One pass of overwriting.
    init(overwritePass pass: UInt64, _ options: BenchOptions) {
        name = "overwrite"
        order = Perm(options.records, seed: 1 + pass)
        version = pass
        batch = 1
        operations = options.records
    }

    private static func defaultOperations(_ fill: Workload.Fill, _ options: BenchOptions) -> UInt64 {
        guard fill == .fillsync else { return options.records }
        switch options.threads {
        case 1: return 2000
        case 2...16: return 20_000
        default: return 40_000
        }
    }

    func run<Store: BenchStore>(_ store: Store, _ options: BenchOptions) throws -> Measurement {
        let (threads, length) = (UInt64(options.threads), options.valueLength)
        return try BenchThreads.run(store, threads: options.threads) { thread, session, latencies in
            if batch == 1 {
                try single(session, first: UInt64(thread), step: threads, length, &latencies)
            } else {
                try batches(session, first: UInt64(thread), step: threads, length, &latencies)
            }
        }
    }

    private func single(
        _ session: some BenchSession, first: UInt64, step: UInt64, _ length: Int, _ latencies: inout Histogram
    ) throws {
        let key = Scratch(BenchKeys.length)
        let value = Scratch(length)
        var timer = LapTimer()
        var index = first
        while index < operations {
            let id = order?(index) ?? index
            unsafe BenchKeys.present(id, into: key.bytes)
            unsafe BenchValues.make(id: id, version: version, into: value.prefix(length))
            unsafe try session.put(key.readable(BenchKeys.length), value.readable(length))
            latencies.add(timer.lap())
            index += step
        }
    }

    private func batches(
        _ session: some BenchSession, first: UInt64, step: UInt64, _ length: Int, _ latencies: inout Histogram
    ) throws {
        var entries = BatchScratch(capacity: batch, valueLength: length)
        var timer = LapTimer()
        var index = first * UInt64(batch)
        while index < operations {
            entries.removeAll()
            for place in index..<min(index + UInt64(batch), operations) {
                entries.add(id: order?(place) ?? place, version: version)
            }
            try entries.write(to: session)
            latencies.add(timer.lap())
            index += step * UInt64(batch)
        }
    }
}

/// The entries of one batch, keys and values each in a row.
struct BatchScratch: ~Copyable {
    private let keys: Scratch
    private let values: Scratch
    private let valueLength: Int
    private(set) var count = 0

    init(capacity: Int, valueLength: Int) {
        keys = Scratch(capacity * BenchKeys.length)
        values = Scratch(capacity * valueLength)
        self.valueLength = valueLength
    }

    mutating func removeAll() { count = 0 }

    mutating func add(id: UInt64, version: UInt64) {
        let key = count * BenchKeys.length
        unsafe BenchKeys.present(
            id, into: UnsafeMutableRawBufferPointer(rebasing: keys.bytes[key..<key + BenchKeys.length]))
        let value = count * valueLength
        unsafe BenchValues.make(
            id: id, version: version,
            into: UnsafeMutableRawBufferPointer(rebasing: values.bytes[value..<value + valueLength]))
        count += 1
    }

    func write(to session: some BenchSession) throws {
        unsafe try session.putBatch(
            count, keys: keys.readable(count * BenchKeys.length), values: values.readable(count * valueLength))
    }
}
