/// Estimates how a table's bytes expire: samples the deadline of the entry at every n-th byte, and takes n twice as large
/// whenever the samples would pass their bound. Memory is bounded, the result depends on nothing but the input.
struct ExpirySampler: ~Copyable {
    private static let limit = 1024
    private var samples: [Timestamp] = []
    private var stride: UInt64 = 64
    private var untilNext: UInt64 = 1

    /// Counts `bytes` that expire at `deadline` (Timestamp.max: never).
    mutating func add(_ deadline: Timestamp, bytes: Int) {
        var rest = UInt64(bytes)
        while rest >= untilNext {
            rest -= untilNext
            untilNext = stride
            samples.append(deadline)
            if samples.count == Self.limit { thinOut() }
        }
        untilNext -= rest
    }

    /// Keeps every second sample.
    private mutating func thinOut() {
        for index in 0..<Self.limit / 2 { samples[index] = samples[index * 2] }
        samples.removeLast(Self.limit / 2)
        untilNext += stride
        stride *= 2
    }

    /// The deadlines by which 1/16, 2/16, ... of the bytes are expired; empty where nothing was added.
    func quantiles() -> [Timestamp] {
        guard !samples.isEmpty else { return [] }
        let samples = samples.sorted()
        let count = TableProperties.quantileCount
        return (1...count).map { samples[($0 * samples.count - 1) / count] }
    }
}
