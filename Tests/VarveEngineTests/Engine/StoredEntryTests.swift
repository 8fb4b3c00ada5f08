import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// An entry comes with all its fields by one look-up, and memory says what it can without waiting.
@Suite struct StoredEntryTests {
    private static let fields = EntryFields(
        usableUntil: 3_000_000_000_000_000_000, freshUntil: 2_500_000_000_000_000_000, sourceVersion: 7, tags: [1, 2],
        valueType: 3, cause: 4, extensions: [EntryExtension(tag: 5, bytes: [6])])

    @Test func allFields() async throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true, clock: ManualClock()))
        let plain = try await engine.put(bytes("plain"), [1])
        let full = try await engine.put(bytes("full"), [2], Self.fields)
        try await engine.put(bytes("gone"), [3])
        try await engine.delete(bytes("gone"))
        for round in 0..<3 {
            let one = try await engine.entry(bytes("plain"))
            #expect(one?.bytes == [1] && one?.version == plain && one?.fields == EntryFields.none, "round \(round)")
            let other = try await engine.entry(bytes("full"))
            #expect(other?.bytes == [2] && other?.version == full && other?.fields == Self.fields, "round \(round)")
            #expect(try await engine.entry(bytes("gone")) == nil)
            #expect(try await engine.entry(bytes("never")) == nil)
            if round == 0 { try await engine.flush() } else { try await engine.compact() }
        }
        let namespace = try await engine.namespace(named: "other")
        #expect(try await engine.entry(bytes("plain"), in: namespace) == nil)
        #expect(Engine.keyHash(bytes("k"), in: namespace) != Engine.keyHash(bytes("k")))
        try await engine.close()
    }

    @Test("What memory holds is told, what it cannot know is left open, and no file is touched")
    func probe() throws {
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<400)
        try engine.compact()
        try engine.close()
        engine = try Fixture.store(files)
        try engine.put(bytes("fresh"), [9])
        try engine.delete(Fixture.key(3))
        let calls = Watched(0)
        files.observe { if $0.path.contains(".sst") { calls.update { $0 += 1 } } }
        #expect(try engine.entryIfInMemory(Fixture.key(1)) == .wouldBlock)
        #expect(try engine.entryIfInMemory(Fixture.key(3)) == .absent)
        guard case .value(let fresh) = try engine.entryIfInMemory(bytes("fresh")) else {
            Issue.record("a memtable's entry is in memory")
            return
        }
        #expect(fresh.bytes == [9])
        // Outside of every table's keys.
        #expect(try engine.entryIfInMemory(bytes("zzz")) == .absent)
        #expect(calls.current == 0)
        files.observe(nil)
        #expect(try engine.entry(Fixture.key(1))?.bytes == Fixture.value(1, 0))
        guard case .value(let warm) = try engine.entryIfInMemory(Fixture.key(1)) else {
            Issue.record("what was read lately is in memory")
            return
        }
        #expect(warm.bytes == Fixture.value(1, 0))
        try engine.close()
        #expect(throws: VarveError.self) { _ = try engine.entryIfInMemory([UInt8](repeating: 0, count: 70_000)) }
    }
}
