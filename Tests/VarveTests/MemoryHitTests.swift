import CVarveAllocations
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

    /// An actor of an application's, whose jobs are counted.
    private actor Caller {
        final class Executor: SerialExecutor {
            let jobs = Atomic<Int>(0)
            private let queue = DispatchQueue(label: "counting caller")

            func enqueue(_ job: consuming ExecutorJob) {
                jobs.add(1, ordering: .relaxed)
                let job = UnownedJob(job)
                queue.async { unsafe job.runSynchronously(on: self.asUnownedSerialExecutor()) }
            }
        }

        private let executor = Executor()
        nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

        /// How many jobs of this actor it takes.
        func jobs(_ body: @Sendable (isolated Caller) async throws -> Void) async throws -> Int {
            let before = executor.jobs.load(ordering: .relaxed)
            try await body(self)
            return executor.jobs.load(ordering: .relaxed) - before
        }
    }

    /// Whoever asks from an actor, as handlers and the main actor do, stays on it: neither there nor back does he wait behind
    /// others.
    @Test func aHitLeavesNoActor() async throws {
        let cache = try Cache<String, [UInt8]>.inMemory()
        let keys = (0..<100).map { "key \($0)" }
        for key in keys { try await cache.set([1], for: key) }
        let caller = Caller()
        let jobs = try await caller.jobs { _ async throws in
            for key in keys {
                #expect(try await cache.value(for: key) == [1])
                #expect(try await cache.value(for: key, load: { _ in [] }) == [1])
                #expect(try await cache.value(for: key, loading: { _ in Loaded(nil) }) == [1])
                #expect(try await cache.entry(for: key)?.value == [1])
                #expect(try await LoadingCache(cache, load: { _ in [] }).value(for: key) == [1])
            }
            #expect(try await cache.values(for: keys).count == 100)
        }
        #expect(jobs == 0)
        // What is counted is there to be counted.
        let missed = try await caller.jobs { _ in _ = try await cache.value(for: "absent", load: { _ in [] }) }
        #expect(missed > 0)
    }

    /// What the tests above count is there to be counted.
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

    /// Hits of `value(for:)` on one thread: how often it asked the allocator for anything meanwhile.
    private static func allocations<Key: CacheKey, Value: Sendable>(
        _ cache: Cache<Key, Value>, _ keys: [Key]
    ) async throws -> UInt64 {
        let executor = CountingExecutor()
        let task = Task(executorPreference: executor) {
            var found = 0
            // A task takes what it needs for itself; and the policy's trials look at so many hits for each miss, no more.
            for round in 0..<5000 { found += try await cache.value(for: keys[round % keys.count]) == nil ? 0 : 1 }
            let before = varve_allocations_of_this_thread()
            for round in 0..<50_000 { found += try await cache.value(for: keys[round % keys.count]) == nil ? 0 : 1 }
            let count = varve_allocations_of_this_thread() - before
            #expect(found == 55_000)
            return count
        }
        return try await task.value
    }

    @Test(.enabled(if: varve_allocations_are_counted()), arguments: EvictionPolicyKind.allCases)
    func aHitAllocatesNothing(_ policy: EvictionPolicyKind) async throws {
        let numbers = try Cache<Int, Int>.inMemory(CacheOptions(expiry: .hours(1), policy: policy))
        for key in 0..<100 { try await numbers.set(key, for: key) }
        let ofNumbers = try await Self.allocations(numbers, Array(0..<100))
        #expect(ofNumbers == 0)
        let names = try Cache<String, [UInt8]>.inMemory(CacheOptions(policy: policy))
        let keys = (0..<100).map { "a key that is too long for a string's own words \($0)" }
        for key in keys { try await names.set([UInt8](repeating: 1, count: 1000), for: key) }
        let ofNames = try await Self.allocations(names, keys)
        #expect(ofNames == 0)
    }

    /// Tags are looked at, and reads move the deadline, where the entry lies.
    @Test(.enabled(if: varve_allocations_are_counted()))
    func aHitOfATaggedIdleEntryAllocatesNothing() async throws {
        let cache = try Cache<String, [UInt8]>.inMemory(CacheOptions(expiry: Expiry(idle: .seconds(3600))))
        let keys = (0..<100).map { "a key that is too long for a string's own words \($0)" }
        let value = [UInt8](repeating: 1, count: 1000)
        for key in keys { try await cache.set(value, for: key, .init(tags: ["one", "two"])) }
        let ofTagged = try await Self.allocations(cache, keys)
        #expect(ofTagged == 0)
        // Once after each drop its tags are looked up, and it is remembered that they are alive.
        try await cache.remove(taggedWith: "three")
        let afterDrop = try await Self.allocations(cache, keys)
        #expect(afterDrop == 0)
    }

    /// A loader that captures something is made once, not at each call.
    @Test(.enabled(if: varve_allocations_are_counted()))
    func aHitOfALoadingCacheAllocatesNothing() async throws {
        let cache = try Cache<Int, [UInt8]>.inMemory()
        let keys = Array(0..<100)
        for key in keys { try await cache.set([UInt8](repeating: 1, count: 1000), for: key) }
        let source = [UInt8](repeating: 2, count: 1000)
        let loading = LoadingCache(cache) { [source] _ in source }
        let executor = CountingExecutor()
        let count = try await Task(executorPreference: executor) {
            var found = 0
            for round in 0..<5000 { found += try await loading.value(for: keys[round % 100]).count }
            let before = varve_allocations_of_this_thread()
            for round in 0..<50_000 { found += try await loading.value(for: keys[round % 100]).count }
            let count = varve_allocations_of_this_thread() - before
            #expect(found == 55_000_000)
            return count
        }.value
        #expect(count == 0)
    }

    /// What the tests above count is there to be counted.
    @Test(.enabled(if: varve_allocations_are_counted())) func allocationsAreCounted() {
        let before = varve_allocations_of_this_thread()
        var arrays: [[Int]] = []
        for size in 1...10 { arrays.append([Int](repeating: size, count: size * 100)) }
        #expect(varve_allocations_of_this_thread() - before >= 10)
        #expect(arrays.count == 10)
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
            // Half of those that are there, whichever they are.
            let held = (0..<50).filter { cache.valueInMemory(for: $0) != nil }
            for key in held.prefix(5) { try await cache.remove(key) }
            #expect(live.count.load(ordering: .relaxed) == 5)
            try await cache.removeAll()
            #expect(live.count.load(ordering: .relaxed) == 0)
            for key in 0..<5 { try await cache.set(Counted(live), for: key) }
            try await cache.close()
        }
        #expect(live.count.load(ordering: .relaxed) == 0)
    }
}
