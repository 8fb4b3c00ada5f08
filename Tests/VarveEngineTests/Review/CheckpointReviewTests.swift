import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Checkpoints against what happens beside them.
struct CheckpointReviewTests {
    @Test("a flush comes between the checkpoint's first looks")
    func flushBetween() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files) {
            $0.memtableBytes = 16 << 20
            $0.logSegmentBytes = 32 << 20
        }
        try engine.put([1], [1])
        let random = Mutex(SplitMix(5))
        files.observe { call in
            guard call.operation == .open, call.path.hasSuffix(".log") else { return }
            files.observe(nil)
            random.withLock { random in
                for number in 0..<30 {
                    _ = try? engine.put(ReviewStore.key(number), ReviewStore.noise(100_000, &random))
                }
            }
            try? engine.flush()
            _ = try? engine.put([2], [2])
        }
        try engine.checkpoint(to: "/copy")
        let copy = try store.open(files, at: "/copy")
        #expect(try copy.get([1]) != nil)
        #expect(try copy.get([2]) != nil)
        #expect(try copy.get(ReviewStore.key(29)) != nil)
    }

    @Test("a folder that is no unfinished checkpoint is left alone")
    func foreignFolder() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try files.createDirectory("/copy.tmp")
        try files.open("/copy.tmp/thesis", .createNew).close()
        #expect(throws: VarveError.self) { try engine.checkpoint(to: "/copy") }
        #expect(try files.exists("/copy.tmp/thesis"))
    }
}
