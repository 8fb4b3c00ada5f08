import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite struct NamespaceTests {
    @Test("What an engine leaves to the one that takes its place is counted once, also before it is gone")
    func carriedOnce() throws {
        let engine = try Fixture.store(SimulatedFileSystem())
        let namespace = try engine.namespace(named: "a")
        try engine.put(Fixture.key(1), Fixture.value(1, 0), in: namespace)
        let before = engine.statistics(of: namespace)
        #expect(before.recordsLogged > 0 && before.bytesLogged > 0)
        for _ in 0..<2 {
            engine.carryTraffic()
            let after = engine.statistics(of: namespace)
            #expect(after.recordsLogged == before.recordsLogged)
            #expect(after.bytesLogged == before.bytesLogged)
        }
        try engine.close()
    }

    @Test("Namespaces are made once, keep their keys apart and survive reopening")
    func isolation() throws {
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files)
        #expect(try engine.existingNamespace(named: "a") == nil)
        let a = try engine.namespace(named: "a")
        let b = try engine.namespace(named: "b")
        #expect(try engine.namespace(named: "a") == a)
        #expect(try engine.namespace(named: "default") == .default)
        #expect(a.id != b.id && a.id != Namespace.default.id)
        try engine.put([1], [1])
        try engine.put([1], [2], in: a)
        try engine.put([1], [3], in: b)
        try engine.put([2], [4], in: b)
        try engine.deleteRange(from: [], to: nil, in: a)
        for round in 0..<3 {
            #expect(try engine.get([1])?.bytes == [1])
            #expect(try engine.get([1], in: a) == nil)
            #expect(try engine.get([1], in: b)?.bytes == [3])
            #expect(try engine.get(many: [[1], [2], [3]], in: b).map { $0?.bytes } == [[3], [4], nil])
            #expect(try engine.page(in: b, limit: 9).entries.map(\.key) == [[1], [2]])
            #expect(try engine.page(in: b, limit: 9, reverse: true).entries.map(\.key) == [[2], [1]])
            #expect(try engine.namespaces().map(\.name).sorted() == ["a", "b", "default"])
            if round == 0 { try engine.compact() }
            if round == 1 {
                try engine.close()
                engine = try Fixture.store(files)
                #expect(try engine.existingNamespace(named: "b") == b)
            }
        }
        #expect(code { _ = try engine.namespace(named: "") } == .invalidArgument)
        #expect(code { _ = try engine.namespace(named: String(repeating: "n", count: 1025)) } == .invalidArgument)
        try engine.close()
    }

    @Test("Two that make the same one at once get the same; ids are never given twice")
    func race() throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let found = Watched<[String: Set<UInt32>]>([:])
        let crew = Crew()
        for _ in 0..<4 {
            try crew.start {
                for name in 0..<8 {
                    let made = try engine.namespace(named: "n\(name)")
                    found.update { _ = $0[made.name, default: []].insert(made.id.rawValue) }
                }
            }
        }
        try crew.join()
        #expect(found.current.values.allSatisfy { $0.count == 1 })
        #expect(Set(found.current.values.flatMap(\.self)).count == 8)
        try engine.close()
    }
}
