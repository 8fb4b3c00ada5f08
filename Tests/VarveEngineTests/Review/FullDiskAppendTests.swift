import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A disk that is full when a frame is written: where the file system can promise no space beforehand (copy on write)
/// the append is undone and a later one may succeed; where it had promised it, the log stops.
struct FullDiskAppendTests {
    @Test(
        "without maps for stores a full disk passes, and nothing of the batch is there",
        arguments: [Durability.interval, .synced])
    func passes(durability: Durability) throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        files.offerStoreMaps(false)
        let engine = try store.open(files)
        try engine.put([1], [1], durability: durability)
        let before = engine.position
        for _ in 0..<2 {
            files.fail(28, partial: true) { $0.operation == .write && $0.path.contains(".log") }
            let error = #expect(throws: VarveError.self) {
                try engine.put([2], [UInt8](repeating: 2, count: 3000), durability: durability)
            }
            #expect(error?.code == .diskFull)
            #expect(engine.health.failure == nil)
            #expect(engine.position == before)
        }
        try engine.put([3], [3], durability: durability)
        try engine.put([4], [4], durability: .synced)
        #expect(try engine.get([2]) == nil)
        for after in [files.killProcess(), files.crash(seed: 1)] {
            let again = try store.open(after)
            #expect(try again.get([1])?.bytes == [1])
            #expect(try again.get([2]) == nil)
            #expect(try again.get([3])?.bytes == [3])
            #expect(try again.get([4])?.bytes == [4])
        }
    }

    @Test("a follower without maps takes the same frames again when there is room")
    func followerPasses() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        files.offerStoreMaps(false)
        let source = try store.open(files)
        try source.put([1], [1])
        try source.checkpoint(to: "/copy")
        try source.put([2], [2])
        let copy = try Engine.openFollower(at: "/copy", store.options(), fileSystem: files)
        files.fail(28, partial: true) {
            $0.operation == .write && $0.path.hasPrefix("/copy/") && $0.path.contains(".log")
        }
        let error = #expect(throws: VarveError.self) { try copy.apply(from: source) }
        #expect(error?.code == .diskFull)
        try copy.apply(from: source)
        #expect(copy.position == source.position)
        #expect(try copy.get([2])?.bytes == [2])
    }

    @Test("a write into space that was promised and is not there stops the log, and is called what it is")
    func stops() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1], durability: .synced)
        files.fail(28) { $0.operation == .write && $0.path.contains(".log") }
        let error = #expect(throws: VarveError.self) { try engine.put([2], [2], durability: .synced) }
        #expect(error?.code == .io)
        let later = #expect(throws: VarveError.self) { try engine.put([3], [3]) }
        #expect(later?.code == .failedStop)
        #expect(try engine.get([1])?.bytes == [1])
    }
}
