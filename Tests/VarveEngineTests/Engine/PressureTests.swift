import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Writers that outrun background work wait, are told why, and fail after the limit with nothing written.
@Suite struct PressureTests {
    /// What waits for the flush may reach the limit again where the machine is busy.
    private func flush(_ engine: Engine) -> VarveError? {
        while true {
            let refusal = failure { try engine.flush() }
            if refusal?.code != .stalled { return refusal }
        }
    }

    @Test("Behind a flush that cannot go on: the cause is counted, the limit holds, and it passes")
    func stalled() throws {
        let files = SimulatedFileSystem()
        var options = Fixture.options(threads: true)
        options.stallLimit = .milliseconds(300)
        let engine = try Fixture.store(files, options)
        let gate = Gate()
        files.observe { if $0.operation == .create, $0.path.contains(".sst") { gate.pass() } }
        var error: VarveError?
        var number = 0
        while error == nil, number < 20_000 {
            error = failure { try engine.put(Fixture.key(number), Fixture.value(number, 0)) }
            number += 1
        }
        #expect(error?.code == .stalled)
        #expect(engine.statistics.waits["sealedMemtables"].map { $0.count > 0 && $0.nanoseconds > 0 } == true)
        let statistics = engine.statistics
        #expect(statistics.writesStopped == 1, "however often it looked")
        #expect(
            statistics.waits.values.map(\.count).reduce(0, +) <= statistics.writesDelayed + statistics.writesStopped)
        #expect(statistics.writeWaitNanoseconds == statistics.waits.values.map(\.nanoseconds).reduce(0, +))
        #expect(try engine.get(Fixture.key(number - 1)) == nil, "it was not written")
        #expect(try engine.get(Fixture.key(number - 2)) != nil)
        gate.open()
        files.observe(nil)
        #expect(flush(engine) == nil)
        try engine.put(Fixture.key(number - 1), [1])
        #expect(try Fixture.contents(engine).count == number)
        try engine.close()
    }

    @Test("A full disk stops writes with its name and lets them go on once there is space")
    func fullDisk() throws {
        let files = SimulatedFileSystem(capacity: 1 << 20)
        var options = Fixture.options(threads: true)
        options.stallLimit = .milliseconds(500)
        let engine = try Fixture.store(files, options)
        var error: VarveError?
        var number = 0
        while error == nil, number < 50_000 {
            error = failure { try engine.put(Fixture.key(number), Fixture.value(number, 0)) }
            number += 1
        }
        #expect(error?.code == .diskFull)
        #expect(try engine.get(Fixture.key(0))?.bytes == Fixture.value(0, 0), "reads go on")
        files.capacity = nil
        var passed = false
        for _ in 0..<100 where !passed { passed = code { try engine.put(Fixture.key(number), [1]) } == nil }
        #expect(passed)
        #expect(flush(engine) == nil)
        #expect(engine.statistics.failure == nil)
        #expect(try Fixture.contents(engine).count == number)
        try engine.close()
    }

    @Test("A failure of background work stops writes, says so, and reads go on")
    func backgroundFailure() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        try Fixture.fill(engine, 0..<50)
        files.fail(5, sticky: true) { $0.operation == .write && $0.path.contains(".sst") }
        #expect(code { try engine.flush() } != nil)
        #expect(code { try engine.put([1], [1]) } == .failedStop)
        #expect(engine.statistics.failure != nil)
        #expect(try Fixture.contents(engine).count == 50)
        files.clearFaults()
        try engine.close()
        let again = try Fixture.store(files)
        #expect(try Fixture.contents(again).count == 50)
        try again.close()
    }

    @Test("A failed sync is told to its writer and stops the store", arguments: [false, true])
    func failedSync(async: Bool) async throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        try await engine.put([1], [1], durability: .synced)
        files.fail(5, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
        var caught: VarveError?
        do {
            if async {
                try await engine.put([2], [2], durability: .synced)
            } else {
                try Self.putBlocking(engine)
            }
        } catch {
            caught = error
        }
        #expect(caught != nil)
        files.clearFaults()
        #expect(code { try Self.putBlocking(engine) } == .failedStop, "never retried")
        #expect(try await engine.get([1])?.bytes == [1])
        // What the close finds is the same failure once more.
        try? await engine.close()
        let again = try Self.reopen(files)
        #expect(try await again.get([1])?.bytes == [1])
        try await again.close()
    }

    @Test("A failed sync stops the store when it happens, whoever asked for it", arguments: [false, true])
    func failedSyncOfOthers(byThread: Bool) throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        files.fail(5, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
        try engine.put([1], [1], durability: .interval)
        if byThread {
            // Who waits for the log without a write of his own, as a feed does.
            let sync = try #require(engine.writing?.log.groupSync)
            sync.request()
            #expect(code { try sync.waitForProgress(beyond: sync.syncedLSN) { false } } == .failedStop)
        } else {
            #expect(code { try engine.sync() } != nil)
        }
        #expect(engine.health.failure?.code == .io)
        files.clearFaults()
        // What the close finds is the same failure once more.
        try? engine.close()
    }

    private static func putBlocking(_ engine: Engine) throws(VarveError) {
        try engine.put([2], [2], durability: .synced)
    }
    private static func reopen(_ files: SimulatedFileSystem) throws -> Engine { try Fixture.store(files) }

    @Test("Recovery of a log many times as large as a memtable")
    func largeLog() throws {
        let files = SimulatedFileSystem()
        var options = Fixture.options(threads: true)
        options.memtableBytes = 8 << 20
        let engine = try Fixture.store(files, options)
        try Fixture.fill(engine, 0..<8000, valueBytes: 200)
        let disk = files.killProcess()
        try engine.close()
        options.memtableBytes = 64 << 10
        let steps = Watched<[UInt64]>([])
        let again = try Engine.open(at: "/store", options, fileSystem: disk) { step in
            steps.update { $0.append(step.bytesDone) }
        }
        #expect(try Fixture.contents(again).count == 8000)
        #expect(steps.current == steps.current.sorted() && !steps.current.isEmpty)
        try again.put([1], [1])
        try again.flush()
        #expect(try Fixture.contents(again).count == 8001)
        try again.close()
    }
}
