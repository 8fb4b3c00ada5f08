import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What a store gives back that nobody writes to.
@Suite struct IdleTests {
    private func files(_ files: SimulatedFileSystem, _ suffix: String) throws -> [String] {
        try files.list("/store").filter { $0.hasSuffix(suffix) }
    }

    @Test("Nothing written for the span is idleness, once; the next write ends it")
    func watch() {
        let start = ContinuousClock.now
        var watch = IdleWatch(after: .seconds(10), now: start)
        func at(_ seconds: Int, _ end: UInt64) -> IdleWatch.News { watch.look(LSN(end), start + .seconds(seconds)) }
        #expect(at(1, 5) == .none)
        #expect(at(10, 5) == .none)
        #expect(at(11, 5) == .idle)
        #expect(at(12, 5) == .idle, "until it is dealt with")
        #expect(at(13, 6) == .none)
        #expect(at(22, 6) == .none)
        #expect(at(23, 6) == .idle)
        watch.noteDone()
        #expect(at(60, 6) == .none)
        #expect(at(61, 7) == .resumed)
        #expect(at(62, 8) == .none)
        #expect(at(72, 8) == .idle)
    }

    @Test("Level 0 comes down, spare log segments go, and writes go on as before")
    func givesBack() throws {
        let system = SimulatedFileSystem()
        let engine = try Fixture.store(system)
        for round in 0..<3 {
            try Fixture.fill(engine, 0..<600, round: round)
            try engine.flush()
            try engine.runBackgroundWork()
        }
        let before = engine.statistics
        #expect(before.levels[0].tables > 1)
        #expect(try !files(system, ".tmp").isEmpty, "segments that wait to be used again")
        try engine.giveBackSpace()
        let after = engine.statistics
        #expect(after.levels[0].tables == 0)
        #expect(after.tableBytes < before.tableBytes * 2 / 3)
        #expect(try files(system, ".tmp").isEmpty)
        #expect(try Fixture.contents(engine).count == 600)
        let written = after.compactedBytesWritten
        try engine.giveBackSpace()
        #expect(engine.statistics.compactedBytesWritten == written, "a second time there is nothing to do")
        try Fixture.fill(engine, 0..<2000, round: 3)
        try engine.giveBackSpace()
        #expect(try engine.get(Fixture.key(7))?.bytes == Fixture.value(7, 3))
        try engine.close()
    }

    @Test("A namespace that was emptied gives its bytes back, though hardly anything is written afterwards")
    func emptied() throws {
        let engine = try Fixture.store()
        let gone = try engine.namespace(named: "gone")
        for number in 0..<2000 { try engine.put(Fixture.key(number), Fixture.value(number, 0), in: gone) }
        try Fixture.fill(engine, 0..<200)
        try engine.giveBackSpace()
        #expect(engine.statistics(of: gone).bytes > 200_000)
        try engine.deleteRange(from: [], to: nil, in: gone)
        try engine.flush()
        try engine.runBackgroundWork()
        try engine.giveBackSpace()
        #expect(engine.statistics(of: gone).bytes == 0)
        #expect(try Fixture.contents(engine).count == 200)
        try engine.close()
    }

    @Test("With threads it is done by the loop, beside writes, and a store that was asked can be closed")
    func threads() throws {
        let system = SimulatedFileSystem()
        let engine = try Fixture.store(system, Fixture.options(threads: true))
        let crew = Crew()
        try crew.start { for round in 0..<5 { try Fixture.fill(engine, 0..<800, round: round) } }
        for _ in 0..<5 { try engine.giveBackSpace() }
        try crew.join()
        try engine.giveBackSpace()
        #expect(try files(system, ".tmp").isEmpty)
        #expect(try Fixture.contents(engine).count == 800)
        #expect(try engine.get(Fixture.key(3))?.bytes == Fixture.value(3, 4))
        try engine.close()
        #expect(code { try engine.giveBackSpace() } == .closed)
    }
}
