/// What a run of the bench is asked to do. Zero or nil stand for the workload's own number.
struct BenchOptions: Sendable {
    var directory = ""
    var records: UInt64 = 1_000_000
    var valueLength = 100
    var threads = 1
    var operations: UInt64?
    var seed: UInt64 = 42
    var batch = 100
    /// Puts a second of the writer in `readwhilewriting`; 0: as fast as it can.
    var rate: UInt64 = 20_000
    /// How long `readwhilewriting` runs.
    var seconds = 10.0
    var isSynced = false
    var isCold = false
    var settles = false
    var warmsUp = true
    /// Whether a figure beyond its bar is a failure, in workloads that have bars for an idle machine.
    var judges = false
    var label = "default"
    var repetition = 0
    var recoverMebibytes: UInt64 = 256
    var cacheMebibytes = 512
    var memtableMebibytes = 64
    var compresses = true

    /// A key and its value.
    var recordBytes: UInt64 { UInt64(BenchKeys.length + valueLength) }
    /// Room for a value read, and for one that is longer than it should be.
    var readBufferBytes: Int { valueLength + 65_536 }
}

/// A reason of the bench's own to stop: a wrong answer of the store, or a condition that makes the figure worthless.
struct BenchFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
