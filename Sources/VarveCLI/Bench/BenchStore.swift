/// What the bench asks of a store. The workloads are generic over it, so that no call goes through an existential; the
/// engine stands behind one implementation, and one that does nothing measures the driver alone.
protocol BenchStore: Sendable {
    associatedtype Session: BenchSession

    /// What to call the store and its version in a result.
    static var backendName: String { get }
    var version: String { get }
    /// Bytes stored through maps so far, which the kernel's count of written bytes does not see.
    var mappedBytes: UInt64 { get }

    /// One for each thread.
    func makeSession() throws -> Session
    /// Returns once memory is flushed and no background work is left.
    func settle() throws
    func close() throws
}

/// One thread's door to a store under measurement. Not thread-safe.
protocol BenchSession {
    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws
    /// Writes `count` entries in one atomic batch: keys and values lie one behind the other.
    func putBatch(_ count: Int, keys: UnsafeRawBufferPointer, values: UnsafeRawBufferPointer) throws
    /// Copies the value into `buffer` and returns its length; nil where the key is absent.
    func get(_ key: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer) throws -> Int?
    /// Reads at most `limit` entries, from the first key at or after `start`, or from the very first.
    func scan(from start: UnsafeRawBufferPointer?, limit: UInt64, into sum: inout ScanSum) throws
}

/// What a scan has seen: enough to compare two stores entry for entry.
struct ScanSum: Sendable, Equatable {
    var entries: UInt64 = 0
    var bytes: UInt64 = 0
    var words: UInt64 = 0

    @inline(__always)
    mutating func see(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        entries &+= 1
        bytes &+= UInt64(key.count + value.count)
        words &+= unsafe BenchValues.sumWords(value)
    }

    mutating func add(_ other: ScanSum) {
        entries &+= other.entries
        bytes &+= other.bytes
        words &+= other.words
    }
}

/// Opens the store under measurement.
protocol BenchBackend: Sendable {
    associatedtype Store: BenchStore
    /// Opens the store in `directory`, and creates it where there is none.
    func open(_ directory: String, _ options: BenchOptions) throws -> Store
}
