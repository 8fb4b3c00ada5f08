import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What is acknowledged is visible, what is not durable yet though it should be is not, and all becomes visible in LSN
/// order.
@Suite struct VisibilityTests {
    @Test("A synced write shows when it is acknowledged, and what came behind it with it")
    func syncedWrites() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        try engine.put(bytes("before"), [0], durability: .synced)
        let gate = Gate()
        files.observe { if $0.operation == .sync, $0.path.contains(".log") { gate.pass() } }
        let crew = Crew()
        try crew.start { try engine.put(bytes("synced"), [1], durability: .synced) }
        gate.waitForSomebody()
        let behind = Watched(false)
        try crew.start {
            try engine.put(bytes("behind"), [2])
            behind.update { $0 = true }
        }
        #expect(try engine.get(bytes("synced")) == nil)
        #expect(try engine.get(bytes("behind")) == nil)
        #expect(try Fixture.contents(engine).count == 1)
        #expect(!behind.current, "LSN order: it waits for the sync before it")
        gate.open()
        try crew.join()
        files.observe(nil)
        #expect(try engine.get(bytes("synced"))?.bytes == [1])
        #expect(try engine.get(bytes("behind"))?.bytes == [2])
        try engine.close()
    }

    @Test(
        "Every writer reads its own write; every reader sees a prefix of the LSNs",
        arguments: 1...3 as ClosedRange<UInt64>)
    func prefixes(seed: UInt64) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let crew = Crew()
        let stop = Atomic<Bool>(false)
        for writer in 0..<3 {
            try crew.start {
                var random = SplitMix(seed * 31 + UInt64(writer))
                for round in 0..<200 {
                    let key = bytes("w\(writer)-\(round)")
                    let lsn = try engine.put(key, [1], durability: random.next() % 8 == 0 ? .synced : nil)
                    guard try engine.get(key)?.version == lsn else { throw TestFailure("\(key) of seed \(seed)") }
                }
            }
        }
        let readers = Crew()
        try readers.start {
            while !stop.load(ordering: .relaxed) {
                // Each writer's keys are written in order: none may be missing before one that is there.
                let snapshot = engine.makeSnapshot()
                let found = Set(
                    try Fixture.contents(engine, at: snapshot).keys.map { String(decoding: $0, as: UTF8.self) })
                for writer in 0..<3 {
                    let count = found.count { $0.hasPrefix("w\(writer)-") }
                    guard (0..<count).allSatisfy({ found.contains("w\(writer)-\($0)") }) else {
                        throw TestFailure("a hole in writer \(writer)'s keys, seed \(seed)")
                    }
                }
            }
        }
        try crew.join()
        stop.store(true, ordering: .relaxed)
        try readers.join()
        try engine.close()
    }

    @Test("A batch is seen whole or not at all")
    func batches() throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let crew = Crew()
        try crew.start {
            for round in 0..<300 {
                var batch = WriteBatch()
                for key in 0..<10 { try batch.put(Fixture.key(key), [UInt8(round & 255), UInt8(round >> 8)]) }
                try engine.write(batch)
            }
        }
        for _ in 0..<200 {
            let values = try engine.get(many: (0..<10).map(Fixture.key)).map { $0?.bytes }
            #expect(Set(values).count == 1)
        }
        try crew.join()
        try engine.close()
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
