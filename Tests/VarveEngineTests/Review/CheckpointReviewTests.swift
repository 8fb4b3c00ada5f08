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

    @Test("of two into one folder at once the second is refused, and the first is whole")
    func twoAtOnce() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1])
        try engine.flush()
        try engine.put([2], [2])
        var codes: [VarveError.Code?] = []
        try engine.checkpoint(to: "/copy") { _, _ in codes.append(code { try engine.checkpoint(to: "/copy") }) }
        #expect(codes == [.storeInUse])
        #expect(try !files.exists("/copy.tmp"))
        let copy = try store.open(files, at: "/copy")
        #expect(try copy.get([1]) != nil)
        #expect(try copy.get([2]) != nil)
    }

    @Test("what a checkpoint that was cut short left is no hindrance")
    func afterACrash() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1])
        try engine.flush()
        try files.createDirectory("/copy.tmp")
        for name in ["LOCK", "000001.sst", "CURRENT"] { try files.open("/copy.tmp/" + name, .createNew).close() }
        try engine.checkpoint(to: "/copy")
        let copy = try store.open(files, at: "/copy")
        #expect(try copy.get([1]) != nil)
    }
}
