import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// One record makes a range of keys absent, wherever they lie.
@Suite struct RangeDeleteTests {
    @Test("Bounds: the begin is within, the end is not, none means to the end of the namespace")
    func bounds() throws {
        let engine = try Fixture.store()
        let other = try engine.namespace(named: "other")
        try engine.put(Fixture.key(1), [9], in: other)
        for place in ["memtable", "tables"] {
            try Fixture.fill(engine, 0..<10)
            if place == "tables" { try engine.flush() }
            try engine.deleteRange(from: Fixture.key(3), to: Fixture.key(5))
            #expect(try engine.get(Fixture.key(2)) != nil)
            #expect(try engine.get(Fixture.key(3)) == nil)
            #expect(try engine.get(Fixture.key(4)) == nil)
            #expect(try engine.get(Fixture.key(5)) != nil)
            try engine.put(Fixture.key(4), [4])
            #expect(try engine.get(Fixture.key(4))?.bytes == [4])
            try engine.deleteRange(from: Fixture.key(8), to: nil)
            #expect(try Fixture.contents(engine).count == 7)
            try engine.flush()
            #expect(try Fixture.contents(engine).count == 7)
            try engine.deleteRange(from: [], to: nil)
            #expect(try Fixture.contents(engine).isEmpty)
            #expect(try engine.get(Fixture.key(1), in: other)?.bytes == [9])
        }
        try engine.compact()
        #expect(try Fixture.contents(engine).isEmpty)
        #expect(try engine.get(Fixture.key(1), in: other)?.bytes == [9])
        try engine.close()
    }

    @Test func empty() throws {
        let engine = try Fixture.store()
        #expect(code { try engine.deleteRange(from: [2], to: [1]) } == .invalidArgument)
        #expect(code { try engine.deleteRange(from: [2], to: [2]) } == .invalidArgument)
        #expect(code { try engine.deleteRange(from: [], to: []) } == .invalidArgument)
        try engine.close()
    }

    @Test("Within a batch order decides")
    func order() throws {
        let engine = try Fixture.store()
        var batch = WriteBatch()
        try batch.put([1], [1])
        try batch.deleteRange(from: [0], to: [9])
        try batch.put([2], [2])
        try engine.write(batch)
        try check(engine)
        try engine.flush()
        try check(engine)
        try engine.compact()
        try check(engine)
        try engine.close()
    }

    private func check(_ engine: Engine) throws { #expect(try Fixture.contents(engine) == [[2]: [2]]) }

    @Test("Space comes back, and so it does after reopening in the middle")
    func space() throws {
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<2000)
        try engine.compact()
        let full = engine.statistics.tableBytes
        try engine.deleteRange(from: [], to: Fixture.key(1900))
        try engine.flush()
        try engine.close()
        engine = try Fixture.store(files)
        #expect(try Fixture.contents(engine).count == 100)
        try engine.compact()
        #expect(engine.statistics.tableBytes < full / 10)
        #expect(try Fixture.contents(engine).count == 100)
        try engine.close()
    }
}
