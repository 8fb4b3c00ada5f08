import Synchronization

@testable import VarveCLI

/// A store in memory to run the workloads on. It lives on when it is closed.
struct MemoryBackend: BenchBackend {
    let store = MemoryBenchStore()
    func open(_ directory: String, _ options: BenchOptions) throws -> MemoryBenchStore { store }
}

final class MemoryBenchStore: BenchStore {
    static let backendName = "memory"
    fileprivate let entries = Mutex(SortedEntries())
    var version: String { "1" }
    var mappedBytes: UInt64 { 0 }

    func makeSession() throws -> MemoryBenchSession { MemoryBenchSession(store: self) }
    func settle() throws {}
    func close() throws {}

    /// Makes every value wrong.
    func spoil() { entries.withLock { $0.spoil() } }
}

struct MemoryBenchSession: BenchSession {
    let store: MemoryBenchStore

    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {
        let (key, value) = unsafe (Array(key), Array(value))
        store.entries.withLock { $0.put(key, value) }
    }

    func putBatch(_ count: Int, keys: UnsafeRawBufferPointer, values: UnsafeRawBufferPointer) throws {
        let (keyLength, valueLength) = (keys.count / count, values.count / count)
        for index in 0..<count {
            unsafe try put(
                UnsafeRawBufferPointer(rebasing: keys[index * keyLength..<(index + 1) * keyLength]),
                UnsafeRawBufferPointer(rebasing: values[index * valueLength..<(index + 1) * valueLength]))
        }
    }

    func get(_ key: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer) throws -> Int? {
        let key = unsafe Array(key)
        guard let value = store.entries.withLock({ $0.get(key) }) else { return nil }
        unsafe buffer.copyBytes(from: value)
        return value.count
    }

    func scan(from start: UnsafeRawBufferPointer?, limit: UInt64, into sum: inout ScanSum) throws {
        let start = unsafe start.map { unsafe Array($0) } ?? []
        let found = store.entries.withLock { $0.from(start) }
        for (key, value) in found.prefix(Int(min(limit, UInt64(Int.max)))) {
            unsafe key.withUnsafeBytes { key in unsafe value.withUnsafeBytes { value in unsafe sum.see(key, value) } }
        }
    }
}

/// Entries in key order, found by halving.
private struct SortedEntries {
    private var keys: [[UInt8]] = []
    private var values: [[UInt8]] = []

    private func place(_ key: [UInt8]) -> Int {
        var (low, high) = (0, keys.count)
        while low < high {
            let middle = (low + high) / 2
            if keys[middle].lexicographicallyPrecedes(key) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func put(_ key: [UInt8], _ value: [UInt8]) {
        let place = place(key)
        if place < keys.count, keys[place] == key {
            values[place] = value
        } else {
            keys.insert(key, at: place)
            values.insert(value, at: place)
        }
    }

    func get(_ key: [UInt8]) -> [UInt8]? {
        let place = place(key)
        return place < keys.count && keys[place] == key ? values[place] : nil
    }

    func from(_ key: [UInt8]) -> Zip2Sequence<ArraySlice<[UInt8]>, ArraySlice<[UInt8]>> {
        let place = place(key)
        return zip(keys[place...], values[place...])
    }

    mutating func spoil() { values = values.map { $0.map { ~$0 } } }
}
