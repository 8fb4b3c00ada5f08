import ArgumentParser
import Foundation
internal import VarveEngine

/// The engine under measurement.
struct EngineBackend: BenchBackend {
    func open(_ directory: String, _ options: BenchOptions) throws -> EngineBenchStore {
        var engine = EngineOptions()
        engine.memtableBytes = options.memtableMebibytes << 20
        engine.blockCacheBytes = options.cacheMebibytes << 20
        engine.durability = options.isSynced ? .synced : .interval
        engine.table.codec = options.compresses ? .lz4 : .stored
        engine.offersSocket = false
        return EngineBenchStore(try Engine.open(at: directory, engine), storesThroughMaps: !options.isSynced)
    }
}

final class EngineBenchStore: BenchStore {
    static let backendName = "varve"
    private let engine: Engine
    private let storesThroughMaps: Bool
    var version: String { Varve.configuration.version }

    /// The log's frames: stored through its map unless they wait for a sync, which then writes them.
    var mappedBytes: UInt64 { storesThroughMaps ? engine.statistics.logBytesAppended : 0 }

    init(_ engine: Engine, storesThroughMaps: Bool) {
        self.engine = engine
        self.storesThroughMaps = storesThroughMaps
    }

    func makeSession() throws -> EngineBenchSession { EngineBenchSession(engine) }

    /// Flushes, then waits until nothing is left to compact and what is obsolete has been deleted, and has the store give
    /// back what it gives back by itself once nothing was written for ten seconds.
    func settle() throws {
        try engine.flush()
        var quiet = 0
        while quiet < 5 {
            if let failure = engine.statistics.failure { throw BenchFailure("background work failed: \(failure)") }
            quiet = engine.isSettled ? quiet + 1 : 0
            usleep(5000)
        }
        try engine.giveBackSpace()
    }

    func close() throws { try engine.close() }
}

/// One thread's door to the engine. Its batch is kept from one to the next.
final class EngineBenchSession: BenchSession {
    private let engine: Engine
    private var batch = WriteBatch()

    init(_ engine: Engine) { self.engine = engine }

    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {
        unsafe try engine.put(key.bytes, value.bytes)
    }

    func putBatch(_ count: Int, keys: UnsafeRawBufferPointer, values: UnsafeRawBufferPointer) throws {
        guard count > 0 else { return }
        batch.removeAll()
        let length = values.count / count
        for index in 0..<count {
            let key = unsafe UnsafeRawBufferPointer(
                rebasing: keys[index * BenchKeys.length..<(index + 1) * BenchKeys.length])
            let value = unsafe UnsafeRawBufferPointer(rebasing: values[index * length..<(index + 1) * length])
            unsafe try batch.put(key.bytes, value.bytes)
        }
        try engine.write(batch)
    }

    func get(_ key: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer) throws -> Int? {
        unsafe try engine.withValue(key.bytes) { value, _ in
            unsafe value.withUnsafeBytes { unsafe buffer.copyMemory(from: $0) }
            return value.byteCount
        }
    }

    func scan(from start: UnsafeRawBufferPointer?, limit: UInt64, into sum: inout ScanSum) throws {
        let iterator = try engine.makeIterator()
        if let start = unsafe start {
            unsafe try iterator.seek(to: Array(start))
        } else {
            try iterator.seekToFirst()
        }
        var left = limit
        while left > 0, iterator.isValid {
            iterator.withEntry { key, value in
                unsafe key.withUnsafeBytes { key in unsafe value.withUnsafeBytes { unsafe sum.see(key, $0) } }
            }
            left -= 1
            if left > 0 { try iterator.next() }
        }
    }
}
