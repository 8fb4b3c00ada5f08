import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What an opening takes, refuses and names; a reader changes nothing.
@Suite struct OpeningTests {
    private func filled(_ files: SimulatedFileSystem = SimulatedFileSystem(), close: Bool = true) throws
        -> SimulatedFileSystem
    {
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<300)
        try engine.compact()
        try engine.writing?.compaction.runHere()
        try Fixture.fill(engine, 300..<400)
        try engine.sync()
        if close {
            try engine.close()
            return files
        }
        return files.killProcess()
    }

    private func openReadOnly(_ files: any FileSystem, _ path: String = "/store") throws -> Engine {
        try Engine.openReadOnly(at: path, Fixture.options(), fileSystem: files)
    }

    @Test("A read-only opener changes nothing on disk", arguments: [true, false])
    func readOnly(closed: Bool) throws {
        let files = try filled(close: closed)
        let before = try Fixture.folder("/store", files)
        let engine = try openReadOnly(files)
        #expect(try Fixture.contents(engine).count == 400)
        #expect(try engine.verify().damage.isEmpty)
        #expect(code { try engine.put([1], [1]) } == .readOnly)
        #expect(code { try engine.flush() } == .readOnly)
        #expect(code { try engine.compact() } == .readOnly)
        #expect(code { try engine.checkpoint(to: "/copy") } == .readOnly)
        _ = engine.statistics.json
        try engine.close()
        #expect(try Fixture.folder("/store", files) == before)
    }

    @Test(
        "A reader works where nothing can be changed, beside other readers and without a LOCK file",
        arguments: [true, false])
    func readOnlyMount(hasLock: Bool) throws {
        let files = try filled(close: true)
        if !hasLock { try files.remove("/store/LOCK") }
        let before = try Fixture.folder("/store", files)
        files.fail(30, sticky: true) { $0.operation.isChange }
        let first = try openReadOnly(files)
        let second = try openReadOnly(files)
        #expect(try Fixture.contents(first).count == 400)
        #expect(try Fixture.contents(second).count == 400)
        files.clearFaults()
        if hasLock { #expect(code { _ = try Fixture.store(files) } == .storeInUse) }
        try first.close()
        try second.close()
        #expect(try Fixture.folder("/store", files) == before)
        try Fixture.store(files).close()
    }

    @Test func readOnlyOnTheRealFileSystem() throws {
        let folder = try TemporaryDirectory()
        let engine = try Engine.open(at: folder.path + "/s", Fixture.options(threads: true))
        try Fixture.fill(engine, 0..<500)
        try engine.flush()
        try engine.checkpoint(to: folder.path + "/copy")
        try engine.close()
        for name in ["/s", "/copy"] {
            let before = try Fixture.folder(folder.path + name, PosixFileSystem())
            let reader = try openReadOnly(PosixFileSystem(), folder.path + name)
            #expect(try Fixture.contents(reader).count == 500)
            try reader.close()
            #expect(try Fixture.folder(folder.path + name, PosixFileSystem()) == before, "\(name)")
        }
    }

    @Test("A second opener is told who holds the store")
    func inUse() throws {
        let folder = try TemporaryDirectory()
        let engine = try Engine.open(at: folder.path, Fixture.options())
        let path = folder.path
        let errors = [
            failure { _ = try Engine.open(at: path, Fixture.options()) },
            failure { _ = try Engine.openReadOnly(at: path, Fixture.options()) },
            failure { _ = try Engine.openFollower(at: path, Fixture.options()) },
        ]
        for error in errors {
            #expect(error?.code == .storeInUse)
            #expect(error?.message.contains("process \(ProcessIdentity.id)") == true)
        }
        try engine.close()
        try Engine.open(at: folder.path, Fixture.options()).close()
    }

    @Test func nothingThere() throws {
        let files = SimulatedFileSystem()
        #expect(code { _ = try openReadOnly(files) } == .notAStore || code { _ = try openReadOnly(files) } == .io)
        var options = Fixture.options()
        options.createIfMissing = false
        try files.createDirectory("/store")
        #expect(code { _ = try Engine.open(at: "/store", options, fileSystem: files) } == .notAStore)
        #expect(code { _ = try openReadOnly(files) } == .notAStore)
        #expect(try files.list("/store").isEmpty, "a foreign folder gets no files")
    }

    @Test("A store without CURRENT is no unfinished creation: nothing is removed", arguments: [true, false])
    func missingCurrent(flushed: Bool) throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<10)
        if flushed { try engine.flush() }
        try engine.close()
        try files.remove("/store/CURRENT")
        let before = try Fixture.folder("/store", files)
        let error = failure { _ = try Fixture.store(files) }
        #expect(error?.code == .missingFile)
        #expect(error?.path == "/store/CURRENT")
        #expect(try Fixture.folder("/store", files) == before)
    }

    @Test("Files that the manifest names must be there and be themselves")
    func missingAndSwapped() throws {
        for victim in ["MANIFEST", ".sst", ".log"] {
            let files = try filled()
            let name = try #require(try files.list("/store").first { $0.contains(victim) })
            try files.remove("/store/" + name)
            let error = failure { _ = try Fixture.store(files) }
            #expect(error?.code == .missingFile || error?.code == .corruption, "\(victim)")
            let said = error?.description ?? "nothing"
            #expect(said.contains(victim) || (victim == ".log" && said.contains("log")), "\(said)")
        }
        // Two tables that changed places.
        let files = try filled()
        let tables = try files.list("/store").filter { $0.hasSuffix(".sst") }.map { "/store/" + $0 }
        try #require(tables.count >= 2)
        try files.rename(tables[0], to: "/store/x")
        try files.rename(tables[1], to: tables[0])
        try files.rename("/store/x", to: tables[1])
        let engine = try Fixture.store(files)
        let error = failure { _ = try Fixture.contents(engine) }
        #expect(error?.code == .corruption || error?.code == .missingFile)
        #expect(error?.path == tables[0])
        try engine.close()
    }

    @Test("A newer format is refused by name, whatever file says so")
    func newerFormat() throws {
        // Where each kind of file keeps its version; the checksum is made right again where one covers it.
        for kind in ["CURRENT", "CLOSED", "MANIFEST", ".log", ".sst"] {
            let files = try filled()
            let names = try files.list("/store").filter { $0.hasPrefix(kind) || $0.hasSuffix(kind) }
            let name = try #require(names.last)
            let path = "/store/" + name
            let file = try files.open(path, .readWrite)
            var content = try file.readAll(atMost: 1 << 24)
            guard NewerVersion.make(&content, kind: kind) else { continue }
            try file.write(content, at: 0)
            file.close()
            let error = failure {
                let engine = try Fixture.store(files)
                defer { try? engine.close() }
                _ = try Fixture.contents(engine)
            }
            #expect(error?.code == .unsupportedFormat, "\(kind): \(error?.description ?? "taken")")
            #expect(error?.description.contains(name) == true, "\(kind): \(error?.description ?? "taken")")
        }
    }
}

/// Rewrites a file's format version to 7, with a right checksum.
enum NewerVersion {
    static func make(_ content: inout [UInt8], kind: String) -> Bool {
        switch kind {
        case "CLOSED":
            content[8] = 7
            reseal(&content, covering: content.count - 8, at: content.count - 8)
        case "MANIFEST", ".log":
            content[8] = 7
            reseal(&content, covering: LogFormat.headerBytes - 8, at: LogFormat.headerBytes - 8)
        default:
            return false
        }
        return true
    }

    private static func reseal(_ content: inout [UInt8], covering count: Int, at place: Int) {
        let check = unsafe content[..<count].withUnsafeBytes { unsafe XXH3.hash64($0) }
        for index in 0..<8 { content[place + index] = UInt8(truncatingIfNeeded: check >> (8 * UInt64(index))) }
    }
}
