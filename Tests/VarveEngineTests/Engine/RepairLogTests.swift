import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What a repair takes from the log, what it leaves, and what it refuses.
@Suite struct RepairLogTests {
    private let files = SimulatedFileSystem()

    private func repair() throws -> RepairReport {
        try Engine.repair(storeAt: "/store", into: "/new", fileSystem: files)
    }

    private func repaired() throws -> [[UInt8]: [UInt8]] {
        let engine = try Engine.openReadOnly(at: "/new", Fixture.options(), fileSystem: files)
        defer { try? engine.close() }
        return try Fixture.contents(engine)
    }

    private func names(_ suffix: String) throws -> [String] {
        try files.list("/store").filter { $0.hasSuffix(suffix) }.sorted()
    }

    private func change(_ name: String, _ body: (inout [UInt8]) throws -> Void) throws {
        let path = "/store/" + name
        let file = try files.open(path, .read)
        var content = try file.readAll(atMost: 1 << 30)
        file.close()
        try body(&content)
        try Golden.put(content, path, files)
    }

    /// A closed store whose slot keeps log that a table holds as well: key 0 is put in one segment and deleted in the
    /// next, and the delete was compacted away; keys 1 and 3 are in the table, key 2 in the log alone. Returns the
    /// deleting segment.
    private func fill() throws -> String {
        let engine = try Fixture.store(files)
        try engine.checkpoint(to: "/copy", slot: "reader")
        let log = try #require(engine.writing).log
        try engine.put(Fixture.key(0), Fixture.value(0, 0))
        try engine.put(Fixture.key(1), Fixture.value(1, 0))
        try log.roll()
        try engine.delete(Fixture.key(0))
        let deleting = try #require(log.sink.current?.segment.path)
        try log.roll()
        try engine.put(Fixture.key(3), Fixture.value(3, 0))
        try engine.compact()
        try engine.put(Fixture.key(2), Fixture.value(2, 0))
        try engine.close()
        return deleting
    }
    private static let left = [1, 2, 3].reduce(into: [:]) { $0[Fixture.key($1)] = Fixture.value($1, 0) }

    @Test("Log that whole tables hold is not taken again: a delete that rots there brings nothing back")
    func coveredLog() throws {
        let deleting = try fill()
        try files.corrupt(deleting, at: LogFormat.headerBytes + 30)
        let report = try repair()
        #expect(report.losses.map(\.path) == [deleting])
        #expect(try repaired() == Self.left)
    }

    @Test("Where a block of a table is lost, the log that the table was made of still tells", arguments: [true, false])
    func coveredLogBesideDamage(isGone: Bool) throws {
        _ = try fill()
        let table = "/store/" + (try #require(try names(".sst").last))
        if isGone { try files.remove(table) } else { try files.corrupt(table, at: 20) }
        let report = try repair()
        #expect(report.losses.contains { $0.path == table })
        #expect(try repaired() == Self.left)
    }

    @Test("A header that claims a newer version, and is not whole, costs its segment and not the store")
    func damagedVersion() throws {
        _ = try fill()
        let log = try #require(try names(".log").first)
        try change(log) { content in
            content[8] ^= 0x40
            content[200] ^= 1
        }
        let report = try repair()
        #expect(report.losses.map(\.path) == ["/store/" + log])
        #expect(try repaired() == Self.left)
    }

    @Test("Where no manifest says that this version wrote last, a newer version is refused")
    func newerVersion() throws {
        _ = try fill()
        let log = try #require(try names(".log").first)
        try change(log) { content in
            content[8] ^= 0x40
            content[200] ^= 1
        }
        for name in try files.list("/store") where name == "CURRENT" || name.hasPrefix("MANIFEST") {
            try files.remove("/store/" + name)
        }
        #expect(code { _ = try repair() } == .unsupportedFormat)
        #expect(try !files.exists("/new"))
    }

    @Test("A newer version's whole header is refused, whatever the manifest says")
    func wholeNewerVersion() throws {
        _ = try fill()
        let log = try #require(try names(".log").first)
        try change(log) { content in
            content[8] = 2
            let checksum = unsafe content[..<504].withUnsafeBytes { unsafe XXH3.hash64($0) }
            for index in 0..<8 { content[504 + index] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt64(index))) }
        }
        #expect(code { _ = try repair() } == .unsupportedFormat)
    }

    @Test("A whole frame that means what this version does not know is refused by name, and is no damage")
    func unknownFrame() throws {
        _ = try fill()
        let log = try #require(try names(".log").last)
        try change(log) { content in
            let header = unsafe try content.withUnsafeBytes { unsafe try SegmentHeader(decoding: $0) }
            let start = LogFormat.headerBytes
            let length = Int(content[start + 8]) | Int(content[start + 9]) << 8
            var frame = Array(content[start..<start + length])
            frame[14] = FrameCodec.firstEncrypted
            LogFixture.seal(&frame, salt: header.salt)
            content.replaceSubrange(start..<start + length, with: frame)
        }
        let error = failure { _ = try repair() }
        #expect(error?.code == .unsupportedFormat)
        #expect(error?.path == "/store/" + log && error?.offset == UInt64(LogFormat.headerBytes))
        #expect(try !files.exists("/new"))
    }

    @Test("A segment longer than any can be is damage, and no memory is taken for it")
    func sparseSegment() throws {
        let folder = try TemporaryDirectory()
        let disk = PosixFileSystem()
        let source = folder.path + "/damaged"
        let engine = try Engine.open(at: source, Fixture.options(), fileSystem: disk)
        try engine.put(Fixture.key(1), [1])
        try engine.flush()
        try engine.close()
        let name = try #require(try disk.list(source).filter { $0.hasSuffix(".log") }.max())
        let path = source + "/" + name
        let file = try disk.open(path, .readWrite)
        try file.truncate(to: 4 << 40)
        file.close()
        let error = failure { try Engine.open(at: source, Fixture.options(), fileSystem: disk).close() }
        #expect(error?.code == .corruption && error?.path == path)
        let report = try Engine.repair(storeAt: source, into: folder.path + "/new", fileSystem: disk)
        #expect(report.losses.map(\.path) == [path])
        let again = try Engine.openReadOnly(at: folder.path + "/new", Fixture.options(), fileSystem: disk)
        #expect(try Fixture.contents(again) == [Fixture.key(1): [1]])
        try again.close()
    }
}
