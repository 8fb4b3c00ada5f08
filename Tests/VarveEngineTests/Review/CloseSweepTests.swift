import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What a clean close leaves in the folder.
struct CloseSweepTests {
    private func tables(_ files: SimulatedFileSystem) throws -> [String] {
        try files.list(ReviewStore.path).filter { $0.hasSuffix(".sst") }
    }

    private func compacted(_ store: ReviewStore, _ files: SimulatedFileSystem, threads: Bool) throws -> Engine {
        let engine = try store.open(files) { $0.usesThreads = threads }
        for round in 0..<2 {
            for number in 0..<50 { try engine.put(ReviewStore.key(number), [UInt8(round)]) }
            try engine.flush()
        }
        try engine.compact()
        return engine
    }

    @Test("no table and no manifest that nothing names", arguments: [false, true])
    func sweeps(threads: Bool) throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        try compacted(store, files, threads: threads).close()
        #expect(try tables(files).count == 1)
        #expect(try files.list(ReviewStore.path).filter { $0.contains("MANIFEST") }.count == 1)
        let again = try store.open(files.crash(seed: 4))
        #expect(try again.get(ReviewStore.key(7))?.bytes == [1])
    }

    @Test("a table that a reader still holds stays, and goes with the next opening")
    func pinned() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        for number in 0..<50 { try engine.put(ReviewStore.key(number), [0]) }
        try engine.flush()
        let iterator = try engine.makeIterator()
        try iterator.seekToFirst()
        for number in 0..<50 { try engine.put(ReviewStore.key(number), [1]) }
        try engine.compact()
        try engine.close()
        #expect(try tables(files).count == 2)
        #expect(iterator.value == [0])
        try store.open(files).close()
        #expect(try tables(files).count == 1)
    }

    @Test("a file that cannot be deleted does not make the close unclean")
    func refusedDelete() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try compacted(store, files, threads: false)
        files.fail(5, sticky: true) { $0.operation == .remove && $0.path.hasSuffix(".sst") }
        try engine.close()
        #expect(try files.exists(FileName.closed.path(in: ReviewStore.path)))
        files.clearFaults()
        try store.open(files).close()
        #expect(try tables(files).count == 1)
    }
}
