import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The forms for tasks: the same answers, the disk on threads of the engine's own.
@Suite struct AsyncFormTests {
    @Test func sameAnswers() async throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let lsn = try await engine.put(bytes("a"), [1])
        try await engine.put(bytes("b"), [2], durability: .synced)
        #expect(try await engine.get(bytes("a"))?.version == lsn)
        try await engine.flush()
        try await engine.delete(bytes("a"))
        #expect(try await engine.get(bytes("a")) == nil)
        #expect(try await engine.get(many: [bytes("a"), bytes("b")]).map { $0?.bytes } == [nil, [2]])
        var batch = WriteBatch()
        for number in 0..<10 { try batch.put(Fixture.key(number), [UInt8(number)]) }
        try await engine.write(batch, durability: .synced)
        try await engine.compact()
        let page = try await engine.scan(prefix: bytes("key"), limit: 4, reverse: true)
        #expect(page.entries.map { $0.value.bytes } == [[9], [8], [7], [6]])
        #expect(try await engine.scan(prefix: bytes("key"), to: page.next, limit: 100).entries.count == 6)
        try await engine.sync()
        #expect(engine.statistics.syncedLSN == engine.statistics.appendedLSN)
        try await engine.close()
        #expect(await thrownCode { try await engine.put([1], [1]) } == .closed)
    }

    @Test("A store without threads of its own flushes when a task's write needs the room")
    func withoutThreads() async throws {
        var options = Fixture.options()
        options.stallLimit = .milliseconds(20)
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        for number in 0..<2000 {
            try await engine.put(Fixture.key(number), Fixture.value(number, 0))
        }
        #expect(engine.statistics.flushes > 1)
        try await engine.close()
    }

    private func thrownCode(_ body: () async throws -> Void) async -> VarveError.Code? {
        do { try await body() } catch { return (error as? VarveError)?.code }
        return nil
    }

    @Test("A cold read happens on a thread of the engine's, never on the caller's")
    func coldReads() async throws {
        let files = SimulatedFileSystem()
        var options = Fixture.options(threads: true)
        let engine = try Fixture.store(files, options)
        try Fixture.fill(engine, 0..<500)
        try await engine.compact()
        try await engine.close()
        options.blockCacheBytes = 1 << 20
        let again = try Fixture.store(files, options)
        let strangers = Watched<[String]>([])
        files.observe { call in
            guard call.path.contains(".sst") else { return }
            if !IOThread.isOnOne { strangers.update { $0.append(call.description) } }
        }
        files.dropCaches()
        for number in stride(from: 0, to: 500, by: 7) {
            #expect(try await again.get(Fixture.key(number))?.bytes == Fixture.value(number, 0))
        }
        files.observe(nil)
        #expect(strangers.current == [])
        // What memory holds by now is answered at once.
        #expect(code { _ = try again.checkWarm(Fixture.key(7)) } == nil)
        try await again.close()
    }

    @Test("Many tasks write synced at once and share syncs")
    func groupCommit() async throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<50 {
                group.addTask {
                    for round in 0..<10 {
                        let key = Fixture.key(task * 10 + round)
                        try await engine.put(key, [1], durability: .synced)
                        guard try await engine.get(key) != nil else { throw TestFailure("a write unseen by its task") }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(engine.statistics.syncs < 500)
        #expect(try Fixture.contents(engine).count == 500)
        try await engine.close()
    }

    @Test("A write whose task is cancelled stands all the same")
    func cancellation() async throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        try await engine.put([0], [0], durability: .synced)
        let gate = Gate()
        files.observe { if $0.operation == .sync, $0.path.contains(".log") { gate.pass() } }
        let task = Task { try await engine.put([1], [1], durability: .synced) }
        await gate.somebodyWaits()
        task.cancel()
        let result = await task.result
        gate.open()
        files.observe(nil)
        if case .failure(let error) = result { #expect((error as? VarveError)?.code == .cancelled) }
        try await engine.put([2], [2], durability: .synced)
        #expect(try await engine.get([1])?.bytes == [1])
        try await engine.close()
    }

    @Test("An engine may be let go with its last read under way")
    func lastReference() async throws {
        let files = SimulatedFileSystem()
        try await Fixture.store(files).close()
        for _ in 0..<20 {
            var engine: Engine? = try await open(files)
            let read = Task { [engine] in try await engine?.scan(limit: 1).entries.count }
            engine = nil
            #expect(try await read.value == 0)
        }
    }

    /// An engine let go on a thread of its own ends a moment later.
    private func open(_ files: SimulatedFileSystem) async throws -> Engine {
        while true {
            do { return try Fixture.store(files, Fixture.options(threads: true)) } catch {
                guard (error as? VarveError)?.code == .storeInUse else { throw error }
                await Task.yield()
            }
        }
    }
}

extension Engine {
    /// Throws `.wouldBlock` where memory cannot answer.
    fileprivate func checkWarm(_ key: [UInt8]) throws(VarveError) -> Bool {
        unsafe try withEntry(key.span.bytes, .default, nil, .memoryOnly) { _, _ in true }.value ?? false
    }
}
