import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite struct LogWritingTests {
    @Test(
        "What is appended by either route is there after a kill, over many segments", arguments: 0..<4 as Range<UInt64>)
    func survivesKill(seed: UInt64) throws {
        let folder = try LogFolder()
        var random = SplitMix(seed)
        let writer = try folder.create()
        let made = try writer.recordRandom(300, &random, syncs: true)
        #expect(try folder.logNames.count > 3, "seed \(seed)")
        let (result, found) = try folder.recover(usesThread: seed % 2 == 0)
        #expect(found == made, "seed \(seed)")
        #expect(result.position == writer.position, "seed \(seed)")
        #expect(result.lastCommitTime == writer.lastCommitTime)
    }

    @Test("After a clean close the log goes on in the same segment; after a kill in a new one")
    func goesOn() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var made = [try writer.record([1, 2, 3]), try writer.record([4])]
        try writer.close()
        #expect(throws: VarveError.self) { try writer.record([9]) }

        var (result, found) = try folder.recover(closedEnd: writer.position)
        #expect(found == made)
        #expect(result.cut == nil)
        var start = LogStart(position: result.position, lastCommitTime: result.lastCommitTime)
        start.resume = result.end
        let second = try folder.open(start, catalog: result.catalog)
        made.append(try second.record([5]))
        made.append(try second.record([6]))
        #expect(try folder.logNames.count == 1)

        (result, found) = try folder.recover()
        #expect(found == made)
        start = LogStart(position: result.position, lastCommitTime: result.lastCommitTime, syncedLSN: .zero)
        start.unsynced = result.unsynced
        let third = try folder.open(start, catalog: result.catalog)
        #expect(third.syncedLSN == .zero)
        made.append(try third.record([7]))
        try third.sync()
        #expect(third.syncedLSN == LSN(5))
        #expect(try folder.logNames.count == 2)
        #expect(try folder.recover().1 == made)
        try third.close()
    }

    @Test("At the last LSN a log takes nothing more, and stands")
    func lastLSN() throws {
        let folder = try LogFolder()
        let start = LogPosition(
            timeline: LogFixture.timeline, lsn: LSN(LSN.max.rawValue - 4), runningHash: RunningHash.initial)
        let writer = try folder.create(at: start)
        try writer.record([1])
        #expect(code { try writer.record([2], count: 3) } == .limitExceeded)
        try writer.record([3], count: 2)
        #expect(writer.position.lsn.next == .max)
        #expect(code { try writer.record([4]) } == .limitExceeded)
        try writer.close()
        #expect(try folder.recover(flushed: start.lsn).1.map(\.payload) == [[1], [3]])
    }

    @Test("A batch larger than a segment gets one of its own")
    func largeBatch() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(3)
        var made = [try writer.record([1])]
        made.append(try writer.record(LogFixture.payload(&random, bytes: 100_000), count: 1000))
        made.append(try writer.record([2]))
        #expect(try folder.recover().1 == made)
    }

    @Test("Rolling without frames does nothing; with frames the next one begins a segment")
    func rolls() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        try writer.roll()
        #expect(try folder.logNames.count == 1)
        let made = [try writer.record([1])]
        try writer.roll()
        try writer.roll()
        #expect(try folder.logNames.count == 2)
        #expect(try folder.recover().1 == made)
    }

    @Test("Segments that nobody needs are used again, and their stale bytes are never read")
    func recycles() throws {
        let folder = try LogFolder()
        var options = LogFolder.options
        options.usesThreads = true
        let writer = try folder.create(options)
        var random = SplitMix(5)
        var made: [RecordedFrame] = []
        var flushed = LSN.zero
        for _ in 0..<20 {
            made = try writer.recordRandom(40, &random)
            try writer.sync()
            flushed = writer.position.lsn
            _ = try writer.removeObsoleteSegments(flushed: flushed, slots: [])
        }
        #expect(writer.statistics.segmentsRecycled > 3)
        made = try writer.recordRandom(70, &random)
        #expect(try folder.recover(flushed: flushed).1 == made)
        try writer.close()
    }

    @Test("A segment with a second name is not used again")
    func linkedSegmentsStay() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(6)
        _ = try writer.recordRandom(50, &random)
        try writer.roll()
        let first = try #require(writer.catalog.segments.first)
        let kept = try folder.read(FileName.log(first.number).text)
        try folder.fileSystem.link(first.path, to: folder.path + "/checkpoint.copy")
        _ = try writer.removeObsoleteSegments(flushed: writer.position.lsn, slots: [])
        _ = try writer.recordRandom(300, &random)
        #expect(try folder.read("checkpoint.copy") == kept)
    }

    @Test("A timeline begun in the middle is recovered, and the position is in it")
    func timelines() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        try writer.record([1])
        let next = TimelineID(ordinal: 2, unique: UniqueID(high: 7, low: 8))
        let origin = TimelineOrigin(
            timeline: next, parent: LogFixture.timeline, forkLSN: LSN(1), reason: .powerLoss)
        _ = try writer.appendTimeline(origin, commitTime: writer.lastCommitTime + 1, via: .map)
        try writer.record([2])
        let (result, _) = try folder.recover()
        #expect(result.position == writer.position)
        #expect(result.position.timeline == next)
    }

    @Test("Many blocking and async writers all get their sync")
    func concurrentSyncs() async throws {
        let folder = try LogFolder()
        var options = LogFolder.options
        options.usesThreads = true
        options.segmentBytes = 1 << 20
        let writer = try folder.create(options)
        let commit = Commit(writer)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for _ in 0..<50 {
                        let lsn = try commit.append()
                        try await writer.groupSync.wait(upTo: lsn)
                        #expect(writer.syncedLSN >= lsn, "task \(task)")
                    }
                }
            }
            try await group.waitForAll()
        }
        var threads: [IOThread] = []
        for index in 0..<8 {
            threads.append(
                try IOThread(name: "test") {
                    for _ in 0..<50 {
                        let reached = try? {
                            let lsn = try commit.append()
                            try writer.groupSync.wait(upTo: lsn)
                            return writer.syncedLSN >= lsn
                        }()
                        #expect(reached == true, "thread \(index)")
                    }
                })
        }
        for thread in threads { thread.join() }
        #expect(writer.syncedLSN == LSN(800))
        try writer.close()
        #expect(try folder.recover(closedEnd: writer.position).1.count == 800)
    }

    /// The commit lock.
    private final class Commit: Sendable {
        private let lock = Monitor(())
        private let writer: LogWriter
        init(_ writer: LogWriter) { self.writer = writer }
        func append() throws -> LSN {
            try lock.withLock { _ in try writer.record([1, 2, 3], via: .buffer).after.lsn }
        }
    }
}
