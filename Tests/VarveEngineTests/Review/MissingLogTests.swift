import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Files that somebody took away are named, and what is left is not touched.
struct MissingLogTests {
    @Test("a closed store without its log is not an empty one")
    func logIsGone() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1])
        try engine.close()
        for name in try files.list(ReviewStore.path) where name.hasSuffix(".log") {
            try files.remove(ReviewStore.path + "/" + name)
        }
        let error = #expect(throws: VarveError.self) { try store.open(files) }
        #expect(error?.code == .missingFile)
    }

    @Test("a store without CURRENT keeps its log")
    func currentIsGone() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1])
        try engine.close()
        try files.remove(FileName.current.path(in: ReviewStore.path))
        let before = try files.list(ReviewStore.path).filter { $0.hasSuffix(".log") }
        let error = #expect(throws: VarveError.self) { try store.open(files) }
        #expect(error?.code == .missingFile)
        #expect(try files.list(ReviewStore.path).filter { $0.hasSuffix(".log") } == before)
    }

    @Test("a file numbered beyond all counting is not ours")
    func hugeNumber() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        try store.open(files).close()
        let foreign = ReviewStore.path + "/18446744073709551615.sst"
        try files.open(foreign, .createNew).close()
        try store.open(files).close()
        #expect(try files.exists(foreign))
    }
}
