import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What a repair brings over of a damaged store, and what it says is lost.
struct RepairTests {
    private let folder: TemporaryDirectory
    private let source: String
    private let target: String
    private let files = PosixFileSystem()

    init() throws {
        folder = try TemporaryDirectory()
        source = folder.path + "/damaged"
        target = folder.path + "/new"
    }

    private static var options: EngineOptions {
        var options = EngineOptions()
        options.offersSocket = false
        options.table.blockBytes = 512
        return options
    }

    private static func key(_ number: Int) -> [UInt8] { Array("key-\(1000 + number)".utf8) }

    /// Keys 0..<200 in a table, of them 0..<10 deleted and 20..<30 in a range; 200..<300 in the log; key 100 overwritten
    /// there, key 101 deleted there.
    private func fill() throws {
        let engine = try Engine.open(at: source, Self.options)
        let namespace = try engine.namespace(named: "other")
        try engine.put(Array("k".utf8), Array("in another namespace".utf8), in: namespace)
        for number in 0..<200 {
            try engine.put(
                Self.key(number), Array("value \(number)".utf8), EntryFields(usableUntil: .max - 1, tags: [7]))
        }
        for number in 0..<10 { try engine.delete(Self.key(number)) }
        try engine.deleteRange(from: Self.key(20), to: Self.key(30))
        try engine.flush()
        for number in 200..<300 { try engine.put(Self.key(number), Array("value \(number)".utf8)) }
        try engine.put(Self.key(100), Array("newer".utf8))
        try engine.delete(Self.key(101))
        try engine.close()
    }

    private func contents(of directory: String) throws -> [[UInt8]: [UInt8]] {
        let engine = try Engine.openReadOnly(at: directory, Self.options)
        let iterator = try engine.makeIterator()
        var found: [[UInt8]: [UInt8]] = [:]
        try iterator.seekToFirst()
        while iterator.isValid {
            found[iterator.key] = iterator.value
            try iterator.next()
        }
        try engine.close()
        return found
    }

    private func overwrite(_ name: String, at offset: UInt64) throws {
        let file = try files.open(source + "/" + name, .readWrite)
        try file.write(Array("damage".utf8), at: offset)
        file.close()
    }

    private func names(_ suffix: String) throws -> [String] {
        try files.list(source).filter { $0.hasSuffix(suffix) }.sorted()
    }

    @Test("A store of another format is refused by name: without its manifest what was deleted would be back")
    func otherFormat() throws {
        try files.createDirectory(source)
        var names = try Golden.oldStore()
        for isNew in [false, true] {
            if isNew { names["MANIFEST-000001"] = try Golden.bytes("store/MANIFEST-000001") }
            for (name, bytes) in names { try Golden.put(bytes, source + "/" + name, files) }
            let error = #expect(throws: VarveError.self) { try Engine.repair(storeAt: source, into: target) }
            #expect(error?.code == .unsupportedFormat)
            #expect(error?.path == source + (isNew ? "/000002.log" : "/MANIFEST-000001"))
            #expect(try !files.exists(target) && !files.exists(target + ".salvage.tmp"))
        }
    }

    @Test("of a sound store everything comes over, with fields and namespaces, and nothing is lost")
    func sound() throws {
        try fill()
        let before = try contents(of: source)
        #expect(before.count == 300 - 21)
        let report = try Engine.repair(storeAt: source, into: target)
        #expect(report.losses.isEmpty && report.hasManifest)
        #expect(try contents(of: target) == before)
        let engine = try Engine.openReadOnly(at: target, Self.options)
        #expect(try engine.fields(of: Self.key(50))?.tags == [7])
        let other = try #require(try engine.existingNamespace(named: "other"))
        #expect(try engine.get(Array("k".utf8), in: other) != nil)
        try engine.close()
    }

    @Test("a damaged block costs what was in it, and the log behind it still counts")
    func damagedBlock() throws {
        try fill()
        let before = try contents(of: source)
        // The log that the table was made of is gone, so that only the table can tell.
        let table = try #require(try names(".sst").first)
        try overwrite(table, at: 2000)
        for name in try names(".log").dropLast() { try files.remove(source + "/" + name) }
        let report = try Engine.repair(storeAt: source, into: target)
        let loss = try #require(report.losses.first { $0.path.hasSuffix(table) })
        #expect(loss.offset != nil && (loss.bytes ?? 0) > 0)
        let after = try contents(of: target)
        for (key, value) in after { #expect(before[key] == value) }
        #expect(after[Self.key(250)] == Array("value 250".utf8))
        #expect(after[Self.key(100)] == Array("newer".utf8))
        #expect(after[Self.key(101)] == nil)
    }

    @Test("a damaged frame costs what depends on it; the frames from the next restart frame on come over")
    func damagedLog() throws {
        try fill()
        let log = try #require(try names(".log").last)
        let size = try files.open(source + "/" + log, .read).size()
        try overwrite(log, at: size / 2)
        let report = try Engine.repair(storeAt: source, into: target)
        #expect(report.losses.contains { $0.path.hasSuffix(log) && $0.offset != nil })
        let after = try contents(of: target)
        for number in 30..<100 { #expect(after[Self.key(number)] == Array("value \(number)".utf8)) }
    }

    @Test("without CURRENT and manifest the tables are found by themselves")
    func noManifest() throws {
        try fill()
        let before = try contents(of: source)
        for name in try files.list(source) where name == "CURRENT" || name.hasPrefix("MANIFEST") {
            try files.remove(source + "/" + name)
        }
        let report = try Engine.repair(storeAt: source, into: target)
        #expect(!report.hasManifest)
        #expect(try contents(of: target) == before)
    }

    @Test("what is there already is not touched, and what is no store is refused")
    func refusals() throws {
        try fill()
        try files.createDirectory(target)
        #expect(throws: VarveError.self) { try Engine.repair(storeAt: source, into: target) }
        #expect(try files.list(target).isEmpty)
        #expect(throws: VarveError.self) { try Engine.repair(storeAt: folder.path + "/none", into: target + "2") }
        #expect(try !files.exists(target + "2"))
    }
}
