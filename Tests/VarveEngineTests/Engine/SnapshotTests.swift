import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A snapshot reads as of its LSN, whatever is written, flushed and compacted meanwhile.
@Suite struct SnapshotTests {
    @Test("Seeded histories read at every snapshot as they were", arguments: 1...4 as ClosedRange<UInt64>)
    func overFlushAndCompaction(seed: UInt64) throws {
        let engine = try Fixture.store()
        var random = SplitMix(seed)
        var held: [(Snapshot, [[UInt8]: [UInt8]])] = []
        var now: [[UInt8]: [UInt8]] = [:]
        for step in 0..<600 {
            let key = Fixture.key(Int(random.next() % 40))
            switch random.next() % 12 {
            case 0:
                try engine.delete(key)
                now[key] = nil
            case 1:
                let end = Fixture.key(Int(random.next() % 40) + 40)
                try engine.deleteRange(from: key, to: end)
                now = now.filter { $0.key.lexicographicallyPrecedes(key) || !$0.key.lexicographicallyPrecedes(end) }
            default:
                now[key] = Fixture.value(step, 0)
                try engine.put(key, Fixture.value(step, 0))
            }
            if step % 60 == 30 { held.append((engine.makeSnapshot(), now)) }
            if step % 70 == 0 { try engine.flush() }
            if step % 150 == 149 { try engine.compact() }
            if step == 400 { held.remove(at: 1) }
        }
        try engine.compact()
        for (snapshot, expected) in held {
            #expect(try Fixture.contents(engine, at: snapshot) == expected, "seed \(seed), at \(snapshot.lsn)")
        }
        #expect(try Fixture.contents(engine) == now, "seed \(seed)")
        held = []
        try engine.compact()
        #expect(try Fixture.contents(engine) == now, "seed \(seed)")
        #expect(engine.statistics.snapshots == 0)
        try engine.close()
    }

    @Test("What a snapshot held back goes once it is let go")
    func space() throws {
        let engine = try Fixture.store()
        try Fixture.fill(engine, 0..<200)
        var snapshot: Snapshot? = engine.makeSnapshot()
        try engine.deleteRange(from: [], to: nil)
        try engine.compact()
        #expect(engine.statistics.tableBytes > 10_000)
        #expect(try Fixture.contents(engine, at: snapshot).count == 200)
        snapshot = nil
        try engine.compact()
        #expect(engine.statistics.tableBytes == 0)
        try engine.close()
    }

    @Test func ofAnotherStore() throws {
        let (one, other) = (try Fixture.store(), try Fixture.store())
        #expect(code { _ = try one.get([1], at: other.makeSnapshot()) } == .invalidArgument)
        #expect(code { _ = try one.makeIterator(at: other.makeSnapshot()) } == .invalidArgument)
        try one.close()
        try other.close()
    }
}
