import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Reads of entries wait for no feed.
@Suite struct FeedThreadsTests {
    @Test("A read from disk is answered while feeds and slots wait for a slow log", .timeLimit(.minutes(15)))
    func coldReads() async throws {
        let files = SimulatedFileSystem()
        let options = Fixture.options(threads: true)
        var engine = try Fixture.store(files, options)
        try Fixture.fill(engine, 0..<400)
        try await engine.flush()
        try await engine.close()
        engine = try Fixture.store(files, options)
        let start = engine.changeCursor
        try await engine.put([1], [1])
        let isHeld = Watched(true)
        let arrivals = Watched(0)
        files.observe { call in
            guard call.path.hasSuffix(".log"), [.open, .read, .sync].contains(call.operation) else { return }
            arrivals.update { $0 += 1 }
            isHeld.wait { !$0 }
        }
        let feeds = (0..<4).map { _ in
            Task { [engine] () -> [UInt8]? in
                for try await change in try engine.changes(since: start) { return change.key }
                return nil
            }
        }
        let slots = (0..<4).map { number in
            Task { [engine] in _ = try await engine.changeSlot(named: "slot \(number)") }
        }
        // All that there are threads for.
        await arrivals.reached { $0 >= 2 }
        for _ in 0..<100 { await Task.yield() }
        #expect(try await engine.get(Fixture.key(7)) != nil)
        #expect(try await engine.get(Fixture.key(390)) != nil)
        isHeld.update { $0 = false }
        files.observe(nil)
        for feed in feeds { #expect(try await feed.value == [1]) }
        for slot in slots { try await slot.value }
        try await engine.close()
    }
}
