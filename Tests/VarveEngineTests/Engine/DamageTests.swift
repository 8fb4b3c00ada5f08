import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A flipped byte in any kind of file is found by opening or by verifying, and the file is named.
@Suite struct DamageTests {
    private static let kinds = ["CURRENT", "CLOSED", "MANIFEST", ".log", ".sst"]

    private func filled() throws -> SimulatedFileSystem {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<300)
        try engine.compact()
        try engine.writing?.compaction.runHere()
        try Fixture.fill(engine, 300..<400)
        try engine.close()
        return files
    }

    private func path(_ kind: String, _ files: SimulatedFileSystem) throws -> String {
        "/store/" + (try #require(try files.list("/store").last { $0.hasPrefix(kind) || $0.hasSuffix(kind) }))
    }

    @Test("At rest", arguments: kinds, 1...4 as ClosedRange<UInt64>)
    func atRest(kind: String, seed: UInt64) throws {
        let files = try filled()
        let path = try path(kind, files)
        var random = SplitMix(seed)
        let file = try files.open(path, .read)
        // Of a preallocated segment only what was written counts.
        let size = kind == ".log" ? LogFormat.headerBytes + 400 : Int(try file.size())
        file.close()
        let offset = Int(random.next() % UInt64(size))
        try files.corrupt(path, at: offset, xor: UInt8(1) << UInt8(random.next() % 8))
        let place: Comment = "\(kind), seed \(seed), offset \(offset)"
        do {
            let engine = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: files)
            let report = try engine.verify()
            try engine.close()
            #expect(report.damage.contains { $0.path == path }, place)
        } catch {

            #expect([.corruption, .unsupportedFormat, .missingFile].contains(error.code), place)
            #expect(error.description.contains(path) || error.path == path, place)
        }
    }

    @Test("Under an open store", arguments: ["CURRENT", "MANIFEST", ".log", ".sst"])
    func underAnOpenStore(kind: String) throws {
        let files = try filled()
        let engine = try Fixture.store(files)
        try engine.sync()
        #expect(try engine.verify().damage.isEmpty)
        let path = try path(kind, files)
        try files.corrupt(path, at: kind == "CURRENT" ? 3 : 600)
        #expect(try engine.verify().damage.map(\.path) == [path])
        engine.health.stop(VarveError(.io, "the test is over"))
        try engine.close()
    }

    @Test("A damaged block is an error for who reads it, and never served")
    func reads() throws {
        let files = try filled()
        let engine = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: files)
        try files.corrupt(try path(".sst", files), at: 700)
        var errors = 0
        for number in 0..<400 {
            do {
                let value = try engine.get(Fixture.key(number))
                #expect(value?.bytes == Fixture.value(number, 0))
            } catch {
                #expect(error.code == .corruption)
                errors += 1
            }
        }
        #expect(errors > 0 && errors < 100)
        try engine.close()
    }
}
