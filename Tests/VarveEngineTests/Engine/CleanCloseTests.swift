import Foundation
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What a close leaves behind, and what the next opening makes of it.
struct CleanCloseTests {
    @Test("a closed store says so, and goes on with its own timeline", arguments: [true, false])
    func closedStoreGoesOn(usesThreads: Bool) throws {
        let folder = try TemporaryDirectory()
        var options = EngineOptions()
        options.usesThreads = usesThreads
        options.offersSocket = false
        let first = try Engine.open(at: folder.path, options)
        try first.put(Array("a".utf8), Array("1".utf8))
        let position = first.position
        try first.close()
        #expect(first.statistics.failure == nil)
        #expect(try PosixFileSystem().exists(FileName.closed.path(in: folder.path)))

        let second = try Engine.open(at: folder.path, options)
        #expect(second.position == position)
        #expect(try second.get(Array("a".utf8))?.bytes == Array("1".utf8))
        try second.close()
    }

    @Test("a store whose last sync fails says so, and leaves no thread behind")
    func failedCloseLeavesNoThread() async throws {
        let files = SimulatedFileSystem()
        let engine = try await Engine.open(at: "/store", Fixture.options(threads: true), fileSystem: files)
        try await engine.put(bytes("a"), bytes("1"))
        #expect(await engine.context.threads.run { IOThread.isOnOne })
        files.fail(EIO) { $0.operation == .sync && $0.path.contains(".log") }
        await #expect { try await engine.close() } throws: { error in
            // The second where the log's own thread met the failure before.
            [.io, .failedStop].contains((error as? VarveError)?.code)
        }
        // What has no threads any more runs its work where it is asked.
        #expect(await !engine.context.threads.run { IOThread.isOnOne })
    }
}
