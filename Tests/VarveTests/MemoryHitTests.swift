import Dispatch
import Synchronization
import Testing

@testable import Varve

/// A hit in memory is no more than a look: its task goes on where it is.
@Suite struct MemoryHitTests {
    /// Runs a task's jobs one after the other, and counts them: each suspension makes another.
    private final class CountingExecutor: TaskExecutor {
        let jobs = Atomic<Int>(0)
        private let queue = DispatchQueue(label: "counting")

        func enqueue(_ job: consuming ExecutorJob) {
            jobs.add(1, ordering: .relaxed)
            let job = UnownedJob(job)
            queue.async { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
    }

    @Test func aHitSuspendsNowhere() async throws {
        let cache = try Cache<String, [UInt8]>.inMemory()
        for index in 0..<100 { try await cache.set([UInt8](repeating: 1, count: 100), for: "key \(index)") }
        let executor = CountingExecutor()
        let task = Task(executorPreference: executor) {
            let before = executor.jobs.load(ordering: .relaxed)
            var found = 0
            for round in 0..<1000 {
                let key = "key \(round % 100)"
                found += try await cache.value(for: key) == nil ? 0 : 1
                found += try await cache.value(for: key, load: { _ in [] }).count == 100 ? 1 : 0
                found += try await cache.value(for: key, loading: { _ in Loaded(nil) }) == nil ? 0 : 1
            }
            return (found, executor.jobs.load(ordering: .relaxed) - before)
        }
        let (found, jobs) = try await task.value
        #expect(found == 3000)
        #expect(jobs == 0)
    }

    /// What the test above counts is there to be counted.
    @Test func aMissSuspends() async throws {
        let cache = try Cache<String, [UInt8]>.inMemory()
        let executor = CountingExecutor()
        let task = Task(executorPreference: executor) {
            let before = executor.jobs.load(ordering: .relaxed)
            _ = try await cache.value(for: "absent", load: { _ in [] })
            return executor.jobs.load(ordering: .relaxed) - before
        }
        #expect(try await task.value > 0)
    }

    @Test func valuesEndWithTheirEntries() async throws {
        final class Counted: Sendable {
            let live: Live
            init(_ live: Live) {
                self.live = live
                live.count.add(1, ordering: .relaxed)
            }
            deinit { live.count.subtract(1, ordering: .relaxed) }
        }
        final class Live: Sendable { let count = Atomic<Int>(0) }
        let live = Live()
        do {
            let cache = try CacheStore.inMemory().cacheInMemory(
                of: Int.self, to: Counted.self, .init(memory: .entries(10)))
            for key in 0..<1000 { try await cache.set(Counted(live), for: key % 50) }
            #expect(live.count.load(ordering: .relaxed) == 10)
            for key in 0..<25 { try await cache.remove(key) }
            #expect(live.count.load(ordering: .relaxed) <= 10)
            try await cache.removeAll()
            #expect(live.count.load(ordering: .relaxed) == 0)
            for key in 0..<5 { try await cache.set(Counted(live), for: key) }
            try await cache.close()
        }
        #expect(live.count.load(ordering: .relaxed) == 0)
    }
}
