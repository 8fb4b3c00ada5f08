import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A write that is acknowledged is visible, and in the log: the death of the process cannot take it.
struct AcknowledgedWriteTests {
    @Test("a write behind a sync in flight is in the log before anybody sees it", arguments: [false, true])
    func behindSync(anotherFollows: Bool) throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        let pipeline = try #require(engine.writing).pipeline
        let ticket = Mutex<CommitPipeline.Ticket?>(nil)
        // While the first write is synced, a second comes, and perhaps a third that asks for a sync of its own.
        files.observe { call in
            guard call.operation == .sync, call.path.contains(".log") else { return }
            files.observe(nil)
            let second = try? Self.commit(pipeline, "second", .interval)
            ticket.withLock { $0 = second }
            if anotherFollows { _ = try? Self.commit(pipeline, "third", .synced) }
        }
        try engine.put(Array("first".utf8), [1], durability: .synced)
        let second = try #require(ticket.withLock { $0 })
        if try engine.get(Array("second".utf8)) != nil {
            try expectRecovered("second", files, store)
        }
        if let lsn = second.waitsFor { try engine.writing?.log.groupSync.wait(upTo: lsn) }
        #expect(try engine.get(Array("second".utf8)) != nil, "acknowledged, so visible")
        try expectRecovered("second", files, store)
    }

    private func expectRecovered(_ key: String, _ files: SimulatedFileSystem, _ store: ReviewStore) throws {
        let after = try store.open(files.killProcess())
        #expect(try after.get(Array(key.utf8)) != nil, "\(key) was seen, and is gone after a kill")
        try after.close()
    }

    private static func commit(
        _ pipeline: CommitPipeline, _ key: String, _ durability: Durability
    ) throws -> CommitPipeline.Ticket {
        var batch = WriteBatch()
        try batch.put(Array(key.utf8), [1])
        return unsafe try pipeline.commit(batch.payload.bytes, count: 1, durability)
    }

    @Test("frames that a follower's memtable refused stay out of sight", arguments: [UInt64(1), 3])
    func refusedFrames(count: UInt64) throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let source = try store.open(files)
        try source.put([1], [1], durability: .synced)
        try source.checkpoint(to: "/follower")
        let follower = try Engine.openFollower(at: "/follower", store.options(), fileSystem: files)
        let seen = follower.visibleLSN
        let log = try #require(source.writing).log
        var batch = WriteBatch()
        try batch.put([2], [2])
        try batch.put([3], [3])
        // Fewer records than LSNs would leave a gap, more would take those of the next batch.
        let time = log.lastCommitTime + 1
        let payload = batch.payload.array()
        _ = unsafe try payload.withUnsafeBytes { bytes in
            unsafe try log.append(.batch, payload: bytes, count: count, commitTime: time, via: .map)
        }
        #expect(throws: VarveError.self) { try follower.apply(from: source) }
        try follower.sync()
        #expect(follower.visibleLSN == seen)
    }
}
