import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A disk that is full when an edit is written: freed space lets the store go on, and nothing is left behind.
struct ManifestDiskFullTests {
    @Test("flushing goes on when there is room again", arguments: [1, 3])
    func resumes(failures: Int) throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1])
        for _ in 0..<failures {
            files.fail(28, partial: true) { $0.operation == .write && $0.path.contains("MANIFEST") }
            let error = #expect(throws: VarveError.self) { try engine.flush() }
            #expect(error?.code == .diskFull)
            #expect(engine.health.failure == nil)
        }
        try engine.flush()
        #expect(engine.keeper.sealedCount == 0)
        try engine.put([2], [2])
        try engine.writing?.compaction.runHere()
        let names = try files.list(ReviewStore.path)
        #expect(names.filter { $0.hasSuffix(".sst") }.count == engine.versions.version.allTables.count)
        #expect(names.filter { $0.contains("MANIFEST") }.count == 1)
        let after = try store.open(files.killProcess())
        #expect(try after.get([1]) != nil)
        #expect(try after.get([2]) != nil)
    }
}
