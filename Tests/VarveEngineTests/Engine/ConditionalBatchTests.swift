import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A batch with conditions is committed only if every key still has the version that it names.
@Suite struct ConditionalBatchTests {
    @discardableResult
    private func swap(
        _ engine: Engine, _ key: [UInt8], _ value: [UInt8], if version: LSN?, _ durability: Durability? = nil
    ) throws -> LSN {
        var batch = WriteBatch()
        try batch.require(key, version: version)
        try batch.put(key, value)
        return try engine.write(batch, durability: durability)
    }

    enum Touch: CaseIterable, Sendable {
        case put, putAndDelete, deleteOfNothing, rangeDelete, flush
    }

    @Test("What was touched since is not written, whatever is left to see", arguments: Touch.allCases)
    func unchanged(_ touch: Touch) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(clock: ManualClock()))
        let key = bytes("k")
        @discardableResult
        func store(_ value: [UInt8], since: LSN) throws -> LSN {
            var batch = WriteBatch()
            try batch.requireUnchanged(key, since: since)
            try batch.put(key, value)
            return try engine.write(batch)
        }
        try engine.put(bytes("other"), [1])
        let before = engine.visible
        try store([1], since: before)
        #expect(code { try store([2], since: before) } == .conditionFailed)
        let since = engine.visible
        switch touch {
        case .put: try engine.put(key, [3])
        case .putAndDelete:
            try engine.put(key, [3])
            try engine.delete(key)
        case .deleteOfNothing: try engine.delete(key)
        case .rangeDelete: try engine.deleteRange(from: bytes("a"), to: bytes("z"))
        case .flush:
            // Memory can no longer tell: refused as well, and once more with a later look it goes.
            try engine.put(bytes("other"), [2])
            try engine.flush()
        }
        #expect(code { try store([4], since: since) } == .conditionFailed)
        #expect(try engine.get(key)?.bytes != [4])
        try store([5], since: engine.visible)
        #expect(try engine.get(key)?.bytes == [5])
        try engine.close()
    }

    @Test func versionAndAbsence() throws {
        let clock = ManualClock()
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(clock: clock))
        let key = bytes("k")
        let first = try swap(engine, key, [1], if: nil)
        #expect(code { try swap(engine, key, [2], if: nil) } == .conditionFailed)
        let second = try swap(engine, key, [2], if: first)
        #expect(code { try swap(engine, key, [3], if: first) } == .conditionFailed)
        #expect(try engine.get(key)?.bytes == [2])
        #expect(try engine.get(key)?.version == second)
        // Deleted, hidden by a range and expired all count as absent.
        try engine.delete(key)
        try swap(engine, key, [4], if: nil)
        try engine.deleteRange(from: bytes("a"), to: bytes("z"))
        try swap(engine, key, [5], if: nil)
        try engine.put(key, [6], EntryFields(usableUntil: engine.storeTime + 1_000_000))
        clock.advance(by: .milliseconds(1))
        try swap(engine, key, [7], if: nil)
        // Out of tables as out of memory.
        let version = try #require(try engine.get(key)?.version)
        try engine.flush()
        try swap(engine, key, [8], if: version)
        try engine.compact()
        #expect(code { try swap(engine, key, [9], if: version) } == .conditionFailed)
        #expect(try engine.get(key)?.bytes == [8])
        try engine.close()
    }

    @Test("One failed condition of several leaves nothing written")
    func allOrNothing() throws {
        let engine = try Fixture.store()
        let version = try engine.put(bytes("a"), [1])
        var batch = WriteBatch()
        try batch.require(bytes("a"), version: version)
        try batch.require(bytes("b"), version: version)
        try batch.put(bytes("c"), [3])
        let before = engine.position
        let result = Result { try engine.write(batch) }
        #expect((result.failure as? VarveError)?.code == .conditionFailed)
        #expect(try engine.get(bytes("c")) == nil)
        #expect(engine.position == before)
        // Conditions alone are a check.
        var check = WriteBatch()
        try check.require(bytes("a"), version: version)
        #expect(try engine.write(check) == engine.position.lsn)
        #expect(engine.position == before)
        try engine.close()
    }

    @Test("Counters raised by threads with compare-and-set lose no step", arguments: [false, true])
    func threads(synced: Bool) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let crew = Crew()
        let steps = synced ? 40 : 150
        for _ in 0..<4 {
            try crew.start {
                for _ in 0..<steps {
                    while true {
                        let old = try engine.get(bytes("n"))
                        let next = (old.map { Int($0.bytes[0]) | Int($0.bytes[1]) << 8 } ?? 0) + 1
                        do {
                            try swap(
                                engine, bytes("n"), [UInt8(next & 255), UInt8(next >> 8)], if: old?.version,
                                synced ? .synced : nil)
                            break
                        } catch {
                            guard (error as? VarveError)?.code == .conditionFailed else { throw error }
                        }
                    }
                }
            }
        }
        try crew.start { for _ in 0..<5 { try engine.flush() } }
        try crew.join()
        let value = try #require(try engine.get(bytes("n"))?.bytes)
        #expect(Int(value[0]) | Int(value[1]) << 8 == 4 * steps)
        try engine.close()
    }

    @Test func tasks() async throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let won = Watched(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<16 {
                group.addTask {
                    for round in 0..<20 {
                        var batch = WriteBatch()
                        try batch.require(Fixture.key(round), version: nil)
                        try batch.put(Fixture.key(round), [UInt8(task)])
                        do {
                            try await engine.write(batch, durability: task % 2 == 0 ? .synced : nil)
                            won.update { $0 += 1 }
                        } catch {
                            guard (error as? VarveError)?.code == .conditionFailed else { throw error }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(won.current == 20)
        try await engine.close()
    }

    @Test("A condition on a key whose synced write is in flight waits for that write")
    func behindSyncedWrite() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        try engine.put(bytes("warm"), [0], durability: .synced)
        let gate = Gate()
        files.observe { if $0.operation == .sync, $0.path.contains(".log") { gate.pass() } }
        let crew = Crew()
        try crew.start { try engine.put(bytes("k"), [1], durability: .synced) }
        gate.waitForSomebody()
        let outcome = Watched<VarveError.Code??>(nil)
        try crew.start {
            let found = code { try swap(engine, bytes("k"), [2], if: nil) }
            outcome.update { $0 = .some(found) }
        }
        #expect(try engine.get(bytes("k")) == nil)
        gate.open()
        try crew.join()
        files.observe(nil)
        #expect(outcome.current == .some(.conditionFailed))
        #expect(try engine.get(bytes("k"))?.bytes == [1])
        try engine.close()
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let error) = self { return error }
        return nil
    }
}
