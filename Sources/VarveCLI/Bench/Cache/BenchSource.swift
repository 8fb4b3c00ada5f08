internal import Varve

/// The source of the bench's cache workloads: it knows every id, and takes its time.
struct BenchSource: Sendable {
    let valueLength: Int
    /// How long it takes to answer; zero: it answers at once, without suspending.
    let answersAfter: Duration

    func value(of id: UInt64, version: UInt64 = 0) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: valueLength) { bytes, count in
            unsafe BenchValues.make(id: id, version: version, into: UnsafeMutableRawBufferPointer(bytes))
            count = valueLength
        }
    }

    func load(_ id: UInt64) async throws -> [UInt8] {
        if answersAfter > .zero { try await Task.sleep(for: answersAfter) }
        return value(of: id)
    }

    /// Puts so many ids into a cache, several at a time: `id` says which.
    func fill(
        _ cache: Cache<BenchKey, [UInt8]>, _ records: UInt64, id: @escaping @Sendable (UInt64) -> UInt64 = { $0 }
    ) async throws {
        let fillers: UInt64 = 16
        try await withThrowingTaskGroup(of: Void.self) { group in
            for filler in 0..<fillers {
                group.addTask {
                    for number in stride(from: filler, to: records, by: Int(fillers)) {
                        let id = id(number)
                        try await cache.set(value(of: id), for: BenchKey(id))
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
