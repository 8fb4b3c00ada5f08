import Foundation
import Synchronization

/// Measured readers beside one writer that puts random records at a steady rate (0: flat out).
struct ReadWhileWriting: Sendable {
    let options: BenchOptions

    struct Result {
        var measurement: Measurement
        var reads: UInt64
        var writes: UInt64
        var writeLatencies: Histogram
    }

    private final class Shared: Sendable {
        let isOver = Atomic<Bool>(false)
        let reads = Atomic<UInt64>(0)
        let writes = Mutex<(count: UInt64, latencies: Histogram)>((0, Histogram()))
    }

    func run<Store: BenchStore>(_ store: Store) throws -> Result {
        let shared = Shared()
        let measurement = try BenchThreads.run(store, threads: options.threads + 1) { thread, session, latencies in
            // Whoever fails ends the run for the others too.
            defer { shared.isOver.store(true, ordering: .relaxed) }
            if thread < options.threads {
                let count = try read(session, thread, shared, &latencies)
                shared.reads.add(count, ordering: .relaxed)
            } else {
                try write(session, shared)
            }
        }
        let writes = shared.writes.withLock { $0 }
        return Result(
            measurement: measurement, reads: shared.reads.load(ordering: .relaxed), writes: writes.count,
            writeLatencies: writes.latencies)
    }

    private func read(
        _ session: some BenchSession, _ thread: Int, _ shared: Shared, _ latencies: inout Histogram
    ) throws -> UInt64 {
        let key = Scratch(BenchKeys.length)
        let buffer = Scratch(options.readBufferBytes)
        var rng = Rng(seed: options.seed, thread: UInt64(thread))
        var timer = LapTimer()
        let end = timer.last &+ UInt64(options.seconds * 1e9)
        var count: UInt64 = 0
        while timer.last < end {
            let id = rng.below(options.records)
            unsafe BenchKeys.present(id, into: key.bytes)
            let length = unsafe try session.get(key.readable(BenchKeys.length), into: buffer.bytes)
            let isRight = unsafe BenchValues.isRight(
                buffer.readable(length ?? 0), length: options.valueLength, id: id)
            guard isRight else { throw BenchFailure("readwhilewriting: a wrong value was read for id \(id)") }
            latencies.add(timer.lap())
            count += 1
            if count & 1023 == 0, shared.isOver.load(ordering: .relaxed) { break }
        }
        return count
    }

    private func write(_ session: some BenchSession, _ shared: Shared) throws {
        let key = Scratch(BenchKeys.length)
        let value = Scratch(options.valueLength)
        var rng = Rng(seed: options.seed, thread: 1000)
        let start = BenchClock.now()
        var latencies = Histogram()
        var count: UInt64 = 0
        defer { shared.writes.withLock { [latencies, count] in $0 = (count, latencies) } }
        while !shared.isOver.load(ordering: .relaxed) {
            if options.rate > 0 {
                let due = start &+ count &* 1_000_000_000 / options.rate
                let now = BenchClock.now()
                if now &+ 50_000 < due {
                    usleep(UInt32((due &- now) / 1000))
                    continue
                }
            }
            let id = rng.below(options.records)
            unsafe BenchKeys.present(id, into: key.bytes)
            unsafe BenchValues.make(id: id, version: 100 &+ count, into: value.prefix(options.valueLength))
            let before = BenchClock.now()
            unsafe try session.put(key.readable(BenchKeys.length), value.readable(options.valueLength))
            latencies.add(BenchClock.now() &- before)
            count += 1
        }
    }
}
