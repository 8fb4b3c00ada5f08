/// A store that keeps nothing and answers from the key: what remains is the cost of the driver itself.
struct NullBackend: BenchBackend {
    func open(_ directory: String, _ options: BenchOptions) throws -> NullStore {
        NullStore(valueLength: options.valueLength)
    }
}

struct NullStore: BenchStore {
    static let backendName = "null"
    let valueLength: Int
    var version: String { "1" }
    var mappedBytes: UInt64 { 0 }

    func makeSession() throws -> NullSession { NullSession(valueLength: valueLength) }
    func settle() throws {}
    func close() throws {}
}

struct NullSession: BenchSession {
    let valueLength: Int

    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {}
    func putBatch(_ count: Int, keys: UnsafeRawBufferPointer, values: UnsafeRawBufferPointer) throws {}

    /// Every present key is there, with a value right as far as the bench checks it.
    func get(_ key: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer) throws -> Int? {
        var number: UInt64 = 0
        for digit in 0..<key.count { number = number &* 10 &+ UInt64(unsafe key[digit] &- 48) }
        guard number & 1 == 0 else { return nil }
        let word = Mix64.mix(number / 2)
        unsafe buffer.storeBytes(of: word.littleEndian, as: UInt64.self)
        return valueLength
    }

    func scan(from start: UnsafeRawBufferPointer?, limit: UInt64, into sum: inout ScanSum) throws {}
}
