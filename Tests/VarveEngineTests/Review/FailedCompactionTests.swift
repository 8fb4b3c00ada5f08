import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// After a failure that stops the store, whoever asks for work is told.
struct FailedCompactionTests {
    @Test("a second compaction after a damaged table does not wait for ever")
    func isTold() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        var engine = try store.open(files) { $0.table.codec = .stored }
        for number in 0..<50 { try engine.put(ReviewStore.key(number), [UInt8](repeating: 1, count: 500)) }
        try engine.flush()
        try engine.close()
        for name in try files.list(ReviewStore.path) where name.hasSuffix(".sst") {
            try files.corrupt(ReviewStore.path + "/" + name, at: 3000)
        }
        engine = try store.open(files) {
            $0.table.codec = .stored
            $0.usesThreads = true
        }
        let damaged = engine
        for _ in 0..<2 {
            let error = #expect(throws: VarveError.self) { try damaged.compact() }
            #expect(error?.code == .corruption)
        }
    }
}
