import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import VarveCrashTest

/// What happens to a store's files behind its back, on a real file system: named errors, and no dead process.
@Suite struct DamagedFolderTests {
    private static func options() -> EngineOptions {
        var options = EngineOptions()
        options.offersSocket = false
        options.blockCacheBytes = 0
        options.table.codec = .stored
        return options
    }

    /// A closed store with two tables in the last level's order of keys.
    private static func makeStore(in folder: TemporaryDirectory) throws -> String {
        let path = folder.path + "/store"
        let engine = try Engine.open(at: path, options())
        for part in 0..<2 {
            for number in 0..<400 {
                try engine.put(Array("\(part)key\(number)".utf8), [UInt8](repeating: UInt8(number & 255), count: 200))
            }
            try engine.flush()
        }
        try engine.close()
        return path
    }

    private static func tables(in path: String) throws -> [String] {
        try PosixFileSystem().list(path).filter { $0.hasSuffix(".sst") }.sorted().map { path + "/" + $0 }
    }

    private static func readAll(_ path: String) -> VarveError? {
        do throws(VarveError) {
            let engine = try Engine.open(at: path, options())
            var failure: VarveError?
            do throws(VarveError) { _ = try engine.page(limit: 1 << 20) } catch { failure = error }
            try engine.close()
            return failure
        } catch {
            return error
        }
    }

    @Test func aTableThatIsCutWhileItIsMappedIsAnError() throws {
        let folder = try TemporaryDirectory()
        let path = try Self.makeStore(in: folder)
        let engine = try Engine.open(at: path, Self.options())
        let key = Array("0key7".utf8)
        #expect(try engine.get(key) != nil)
        for table in try Self.tables(in: path) {
            let file = try PosixFileSystem().open(table, .readWrite)
            try file.truncate(to: 0)
            file.close()
        }
        // The block was verified and is served from the map, which has lost its file.
        let error = #expect(throws: VarveError.self) { _ = try engine.get(key) }
        #expect(error?.path?.hasSuffix(".sst") == true)
        #expect(error?.code == .corruption || error?.code == .io)
        try engine.put(Array("still here".utf8), [1])
        #expect(try engine.get(Array("still here".utf8))?.bytes == [1])
        try? engine.close()
    }

    @Test func aMissingTableIsNamed() throws {
        let folder = try TemporaryDirectory()
        let path = try Self.makeStore(in: folder)
        let lost = try #require(try Self.tables(in: path).first)
        try PosixFileSystem().remove(lost)
        let error = try #require(Self.readAll(path))
        #expect(error.code == .missingFile)
        #expect(error.path == lost)
    }

    @Test func swappedTablesAreNamed() throws {
        let folder = try TemporaryDirectory()
        let path = try Self.makeStore(in: folder)
        let tables = try Self.tables(in: path)
        try #require(tables.count >= 2)
        let system = PosixFileSystem()
        try system.rename(tables[0], to: path + "/aside")
        try system.rename(tables[1], to: tables[0])
        try system.rename(path + "/aside", to: tables[1])
        let error = try #require(Self.readAll(path))
        #expect(error.code == .corruption || error.code == .missingFile)
        #expect(error.path.map { tables.contains($0) } == true)
    }

    /// One flipped bit anywhere in any file is found by opening or verifying, or changes nothing that is read.
    @Test(arguments: [".sst", ".log", "MANIFEST", "CURRENT"])
    func aFlippedBitIsFoundOrHarmless(_ kind: String) throws {
        let workload = Workload(WorkloadShape(seed: 3, steps: 50))
        try workload.runAll()
        let history = workload.history.now
        let names = try workload.files.list(Workload.directory).filter { $0.contains(kind) }
        try #require(!names.isEmpty)
        var random = SplitMix(5)
        var found = 0
        for name in names {
            let path = Workload.directory + "/" + name
            let size = Int(try workload.files.open(path, .read).size())
            for _ in 0..<(size == 0 ? 0 : 24) {
                let files = workload.files.killProcess()
                let offset = Int(random.next() % UInt64(size))
                try files.corrupt(path, at: offset, xor: 1 << UInt8(random.next() % 8))
                do {
                    let engine = try Engine.open(
                        at: Workload.directory, workload.shape.options(workload.clock), fileSystem: files)
                    let damage = try engine.verify().damage
                    if damage.isEmpty {
                        let index = try StoreChecker.position(
                            of: engine, in: history, history.allowed(afterPowerCut: false))
                        #expect(index == history.issued, "\(path) offset \(offset)")
                    } else {
                        found += 1
                    }
                } catch let error as VarveError {
                    #expect(
                        [.corruption, .unsupportedFormat, .missingFile].contains(error.code),
                        "\(path) offset \(offset): \(error)")
                    found += 1
                }
            }
        }
        #expect(found > 0, "no flipped bit was found at all")
    }
}
