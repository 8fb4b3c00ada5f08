import Foundation
import Synchronization

/// Runs one body on several threads, timed from the moment when every thread has its session.
enum BenchThreads {
    /// What the threads share: how many are ready, whether they may go, and what failed first.
    private final class Gate: Sendable {
        let ready = Atomic<Int>(0)
        let isOpen = Atomic<Bool>(false)
        let outcome = Mutex<(latencies: Histogram, failure: (any Error)?)>((Histogram(), nil))
        let finished = DispatchGroup()
    }

    static func run<Store: BenchStore>(
        _ store: Store, threads: Int,
        _ body: @escaping @Sendable (Int, Store.Session, inout Histogram) throws -> Void
    ) throws -> Measurement {
        let gate = Gate()
        for index in 0..<threads {
            gate.finished.enter()
            let thread = Thread {
                defer { gate.finished.leave() }
                work(store, index, gate, body)
            }
            thread.name = "varve-bench-\(index)"
            thread.start()
        }
        while gate.ready.load(ordering: .acquiring) < threads { usleep(100) }
        var measurement = Measurement()
        let mapped = store.mappedBytes
        measurement.before = .now()
        gate.isOpen.store(true, ordering: .releasing)
        gate.finished.wait()
        measurement.after = .now()
        measurement.mappedBytes = store.mappedBytes &- mapped
        let outcome = gate.outcome.withLock { $0 }
        if let failure = outcome.failure { throw failure }
        measurement.latencies = outcome.latencies
        return measurement
    }

    private static func work<Store: BenchStore>(
        _ store: Store, _ index: Int, _ gate: Gate,
        _ body: @Sendable (Int, Store.Session, inout Histogram) throws -> Void
    ) {
        var latencies = Histogram()
        var failure: (any Error)?
        do {
            let session = try store.makeSession()
            gate.ready.add(1, ordering: .acquiringAndReleasing)
            while !gate.isOpen.load(ordering: .acquiring) { usleep(100) }
            try body(index, session, &latencies)
        } catch {
            failure = error
            // A thread that has no session must not keep the others at the gate.
            gate.ready.add(1, ordering: .acquiringAndReleasing)
        }
        gate.outcome.withLock { outcome in
            outcome.latencies.merge(latencies)
            if outcome.failure == nil { outcome.failure = failure }
        }
    }
}

/// Takes the time of each operation as the time since the end of the one before.
struct LapTimer {
    private(set) var last = BenchClock.now()

    @inline(__always)
    mutating func lap() -> UInt64 {
        let now = BenchClock.now()
        defer { last = now }
        return now &- last
    }
}
