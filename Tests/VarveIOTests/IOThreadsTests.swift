import Glibc
import Synchronization
import Testing
import VarveIO

@Suite struct IOThreadsTests {
    private struct Refused: Error, Equatable {}

    @Test func everythingSubmittedRunsBeforeShutdownReturns() throws {
        let pool = try IOThreads(name: "test", count: 3, capacity: 4)
        let done = Mutex(0)
        for _ in 0..<1000 { pool.submit { done.withLock { $0 += 1 } } }
        pool.shutdown()
        #expect(done.withLock { $0 } == 1000)
        pool.shutdown()
    }

    @Test func oneThreadServesInOrder() throws {
        let pool = try IOThreads(name: "test", count: 1)
        let seen = Mutex<[Int]>([])
        for index in 0..<500 { pool.submit { seen.withLock { $0.append(index) } } }
        pool.shutdown()
        #expect(seen.withLock { $0 } == Array(0..<500))
    }

    @Test func runReturnsTheResultAndTheTypedError() async throws {
        let pool = try IOThreads(name: "test", count: 2)
        defer { pool.shutdown() }
        #expect(await pool.run { 6 * 7 } == 42)
        await #expect(throws: Refused()) {
            try await pool.run { () throws(Refused) -> Int in throw Refused() }
        }
    }

    @Test func workRunsOnThePoolsNamedThreads() async throws {
        let pool = try IOThreads(name: "varve-reads", count: 1)
        defer { pool.shutdown() }
        let name = try await pool.run { () throws(IOError) in
            try PosixFileSystem().open("/proc/thread-self/comm", .read).read(count: 64, at: 0)
        }
        #expect(String(decoding: name, as: UTF8.self) == "varve-reads-0\n")
    }

    @Test func aFullQueueHoldsTheSubmitterBack() throws {
        let pool = try IOThreads(name: "test", count: 1, capacity: 2)
        let gate = Monitor(false)
        let started = Monitor(false)
        pool.submit {
            started.withLock { $0 = true }
            started.notifyAll()
            gate.wait { $0 ? () : nil }
        }
        started.wait { $0 ? () : nil }
        let counter = Counter()
        let submitter = try IOThread(name: "submitter") {
            for _ in 0..<5 {
                pool.submit {}
                counter.value.add(1, ordering: .relaxed)
            }
        }
        while counter.value.load(ordering: .relaxed) < 2 { sched_yield() }
        #expect(pool.pending == 2)
        #expect(counter.value.load(ordering: .relaxed) == 2)
        gate.withLock { $0 = true }
        gate.notifyAll()
        submitter.join()
        #expect(counter.value.load(ordering: .relaxed) == 5)
        pool.shutdown()
    }

    @Test func aPoolThreadMaySubmitIntoAFullQueue() throws {
        let pool = try IOThreads(name: "test", count: 1, capacity: 1)
        let counter = Counter()
        pool.submit {
            for _ in 0..<10 { pool.submit { counter.value.add(1, ordering: .relaxed) } }
        }
        pool.shutdown()
        #expect(counter.value.load(ordering: .relaxed) == 10)
    }

    @Test func workAfterShutdownRunsOnTheCaller() async throws {
        let pool = try IOThreads(name: "test", count: 1)
        pool.shutdown()
        let counter = Counter()
        pool.submit { counter.value.add(1, ordering: .relaxed) }
        #expect(counter.value.load(ordering: .relaxed) == 1)
        #expect(await pool.run { 5 } == 5)
    }

    @Test func manyTasksAtOnceAllReturn() async throws {
        let pool = try IOThreads(name: "test", count: 2, capacity: 1)
        let sum = await withTaskGroup(of: Int.self) { group in
            for index in 0..<2000 { group.addTask { await pool.run { index } } }
            return await group.reduce(0, +)
        }
        #expect(sum == 2000 * 1999 / 2)
        pool.shutdown()
    }

    @Test func aPoolMayBeDroppedByItsOwnThread() throws {
        for _ in 0..<50 {
            let finished = Monitor(false)
            let pool = try IOThreads(name: "test", count: 2)
            pool.submit { [pool] in
                withExtendedLifetime(pool) {}
                finished.withLock { $0 = true }
                finished.notifyAll()
            }
            finished.wait { $0 ? () : nil }
        }
    }

    @Test func monitorWaitGivesUpAfterItsTimeout() {
        let monitor = Monitor(0)
        #expect(monitor.wait(atMost: .milliseconds(1)) { $0 == 1 ? true : nil } == nil)
        monitor.withLock { $0 = 1 }
        #expect(monitor.wait(atMost: .milliseconds(1)) { $0 == 1 ? true : nil } == true)
    }
}

private final class Counter: Sendable {
    let value = Atomic<Int>(0)
}
