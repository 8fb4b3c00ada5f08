import ArgumentParser
import Foundation
import Synchronization
internal import Varve
internal import VarveEngine

/// `cache_readzipf`: the records of `readzipf` read through a cache whose memory holds a tenth of them; the rest is on
/// disk. What the cache and the store's block cache take together is that tenth.
///
/// Readers are tasks; each read is a `value(for:)`, its value checked and copied out as the drivers of other stores do.
struct CacheReadWorkload: Sendable {
    /// Of the memory, what the store's block cache gets: a hit on disk goes to the cache's memory, so blocks are read
    /// again seldom; what is not compressed is read in place and needs none at all.
    private static let blockShare = 64
    private static let concurrentFills = 16

    let options: BenchOptions
    let folder: BenchFolder
    private var operations: UInt64 { options.operations ?? 1_000_000 }
    private var memoryBytes: Int { Int(clamping: options.records * options.recordBytes / 10) }

    private final class Totals: Sendable {
        let found = Atomic<UInt64>(0)
        let wrong = Atomic<UInt64>(0)
        let ready = Atomic<Int>(0)
        let latencies = Mutex(Histogram())
    }

    func run() async throws -> ResultLine {
        try folder.removeStore()
        let sampler = AnonymousMemorySampler()
        defer { sampler.stop() }
        try await fill()
        let store = try await open()
        let cache = try await cache(store)
        if options.warmsUp { try await warmUp(store, cache) }
        let before = cache.statistics
        let (measurement, totals) = try await reads(cache, operations, options.threads, seed: options.seed)
        let after = cache.statistics
        try await store.close()
        try folder.removeStore()
        let (found, wrong) = (totals.found.load(ordering: .relaxed), totals.wrong.load(ordering: .relaxed))
        guard wrong == 0 else { throw BenchFailure("cache_readzipf: \(wrong) reads had another value than was put") }
        var line = ResultLine(
            workload: "cache_readzipf", backend: "varve-cache", version: Varve.configuration.version,
            options: options, measurement: measurement, operations: operations,
            userBytes: found * options.recordBytes, anonymousPeakKibibytes: sampler.peakKibibytes)
        line.add("found", found)
        line.add("bad", wrong)
        line.add("memory_bytes", memoryBytes)
        line.add("hit_ratio", Double(after.memoryHits - before.memoryHits) / Double(operations))
        line.add("memory_entries", after.memoryEntries)
        return line
    }

    private func open() async throws -> CacheStore {
        var engine = EngineOptions()
        engine.blockCacheBytes = memoryBytes / CacheReadWorkload.blockShare
        engine.memtableBytes = options.memtableMebibytes << 20
        engine.table.codec = options.compresses ? .lz4 : .stored
        engine.offersSocket = false
        return try await CacheStore.open(at: folder.storeDirectory, engine)
    }

    private func cache(_ store: CacheStore) async throws -> Cache<BenchKey, [UInt8]> {
        let memory = memoryBytes - memoryBytes / CacheReadWorkload.blockShare
        return try await store.cache(named: "bench", .init(memory: .bytes(memory)))
    }

    /// Puts every record, on a store of its own that is closed afterwards.
    private func fill() async throws {
        let store = try await open()
        let cache = try await cache(store)
        let length = options.valueLength
        let fillers = UInt64(CacheReadWorkload.concurrentFills)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for filler in 0..<fillers {
                group.addTask { [records = options.records] in
                    for id in stride(from: filler, to: records, by: Int(fillers)) {
                        let value = unsafe [UInt8](unsafeUninitializedCapacity: length) { bytes, count in
                            unsafe BenchValues.make(id: id, version: 0, into: UnsafeMutableRawBufferPointer(bytes))
                            count = length
                        }
                        try await cache.set(value, for: BenchKey(id))
                    }
                }
            }
            try await group.waitForAll()
        }
        if let engine = store.engine { try EngineBenchStore(engine, storesThroughMaps: true).settle() }
        try await store.close()
    }

    /// What precedes a measured read of other stores too: a full scan and 200,000 gets.
    private func warmUp(_ store: CacheStore, _ cache: Cache<BenchKey, [UInt8]>) async throws {
        if let engine = store.engine {
            var count = 0 as UInt64
            for namespace in try engine.namespaces() {
                let iterator = try engine.makeIterator(in: namespace)
                try iterator.seekToFirst()
                while iterator.isValid {
                    count += 1
                    try iterator.next()
                }
            }
            guard count >= options.records else { throw BenchFailure("only \(count) records are on disk") }
        }
        var rng = Rng(seed: 7777)
        for _ in 0..<200_000 { _ = try await cache.value(for: BenchKey(rng.below(options.records))) }
    }

    private func reads(
        _ cache: Cache<BenchKey, [UInt8]>, _ operations: UInt64, _ threads: Int, seed: UInt64
    ) async throws -> (Measurement, Totals) {
        let totals = Totals()
        let zipf = Zipf(options.records)
        var measurement = Measurement()
        measurement.before = .now()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for thread in 0..<threads {
                group.addTask {
                    totals.ready.add(1, ordering: .acquiringAndReleasing)
                    while totals.ready.load(ordering: .acquiring) < threads { await Task.yield() }
                    let share = operations / UInt64(threads)
                    try await reader(cache, zipf, Rng(seed: seed, thread: UInt64(thread)), share, totals)
                }
            }
            try await group.waitForAll()
        }
        measurement.after = .now()
        measurement.latencies = totals.latencies.withLock { $0 }
        return (measurement, totals)
    }

    private func reader(
        _ cache: Cache<BenchKey, [UInt8]>, _ zipf: Zipf, _ random: Rng, _ operations: UInt64, _ totals: Totals
    ) async throws {
        let ranked = Perm(options.records, seed: 9)
        let copy = Scratch(options.readBufferBytes)
        var (rng, latencies, timer) = (random, Histogram(), LapTimer())
        var (found, wrong) = (0 as UInt64, 0 as UInt64)
        for _ in 0..<operations {
            let id = ranked(zipf(rng.unit()))
            if let value = try await cache.value(for: BenchKey(id)) {
                found += 1
                unsafe value.withUnsafeBytes { unsafe copy.bytes.copyMemory(from: $0) }
                let isRight = unsafe BenchValues.isRight(
                    copy.readable(value.count), length: options.valueLength, id: id)
                if !isRight { wrong += 1 }
            }
            latencies.add(timer.lap())
        }
        totals.found.add(found, ordering: .relaxed)
        totals.wrong.add(wrong, ordering: .relaxed)
        totals.latencies.withLock { $0.merge(latencies) }
    }
}

/// A key of the bench, in place: its sixteen digits.
struct BenchKey: CacheKey {
    private var first: UInt64 = 0
    private var second: UInt64 = 0

    init(_ id: UInt64) {
        unsafe withUnsafeMutableBytes(of: &self) { unsafe BenchKeys.present(id, into: $0) }
    }

    init?(keyBytes: RawSpan) {
        guard keyBytes.byteCount == BenchKeys.length else { return nil }
        unsafe withUnsafeMutableBytes(of: &self) { own in
            unsafe keyBytes.withUnsafeBytes { unsafe own.copyMemory(from: $0) }
        }
    }

    func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        let outcome = unsafe withUnsafeBytes(of: self) { bytes -> Result<R, E> in
            do throws(E) { return .success(try body(unsafe RawSpan(_unsafeBytes: bytes))) } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}
