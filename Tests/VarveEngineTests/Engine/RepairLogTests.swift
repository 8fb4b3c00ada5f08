import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What a repair takes from the log, what it leaves, and what it refuses.
@Suite struct RepairLogTests {
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
