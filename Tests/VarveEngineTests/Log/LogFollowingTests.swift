import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite struct LogFollowingTests {
    /// Hands a source's durable log to a follower, up to `limit` bytes at once.
    private func follow(
        _ source: LogReader, _ follower: LogWriter, limit: Int = 4000
    ) throws -> [RecordedFrame] {
        var delivered: [RecordedFrame] = []
        var piece = ByteBuffer()
        var segment: LogSegment?
        func hand() throws {
            if piece.isEmpty { return }
            _ = unsafe try follower.appendVerbatim(piece.bytes, via: .map) { frame in
                delivered.append(RecordedFrame(frame))
            }
            piece.removeAll()
        }
        while let frame = try source.next() {
            if source.segment !== segment {
                try hand()
                segment = source.segment
                try follower.beginSegment(mirroring: source.segment.header)
            }
            unsafe piece.append(frame.bytes)
            if piece.count > limit { try hand() }
        }
        try hand()
        return delivered
    }

    private func newFollower(_ folder: LogFolder, at position: LogPosition, time: Timestamp = 0) throws -> LogWriter {
        var start = LogStart(position: position, lastCommitTime: time)
        start.follows = true
        return try folder.open(start)
    }

    /// The frames of a folder's segments, one after the other.
    private func frameBytes(_ folder: LogFolder) throws -> [UInt8] {
        var all: [UInt8] = []
        for segment in try LogSegment.list(folder.fileSystem, directory: folder.path) {
            let scanner = try LogScanner(folder.fileSystem, [segment], from: 0)
            while let frame = try scanner.next() { unsafe all.append(contentsOf: frame.bytes) }
        }
        return all
    }

    @Test("A follower's log equals its source's byte for byte, and its frames reach the caller in order")
    func equalLogs() throws {
        let (source, copy) = (try LogFolder(), try LogFolder())
        let writer = try source.create()
        var random = SplitMix(1)
        let follower = try newFollower(copy, at: LogFixture.start)
        var made: [RecordedFrame] = []
        var delivered: [RecordedFrame] = []
        let reader = try LogReader(writer, after: .zero)
        for _ in 0..<10 {
            made += try writer.recordRandom(60, &random)
            try writer.sync()
            delivered += try follow(reader, follower, limit: Int(random.next() % 5000))
            // A reader announces its segment once; the follower is asked again with each round.
            #expect(delivered == made)
            #expect(follower.position == writer.position)
        }
        #expect(try frameBytes(copy) == frameBytes(source))
        #expect(try copy.recover().1 == made)
    }

    @Test("A follower begins in the middle of a segment at a restart frame, and hands on only what is new")
    func beginsInTheMiddle() throws {
        let (source, copy) = (try LogFolder(), try LogFolder())
        let writer = try source.create()
        var random = SplitMix(2)
        let before = try writer.recordRandom(90, &random)
        let position = writer.position
        let time = writer.lastCommitTime
        let after = try writer.recordRandom(90, &random)
        try writer.sync()
        let follower = try newFollower(copy, at: position, time: time)
        let reader = try LogReader(writer, after: position.lsn, alignment: .restartFrame)
        #expect(try follow(reader, follower) == after)
        #expect(follower.position == writer.position)
        let (result, found) = try copy.recover(flushed: position.lsn)
        #expect(found == after)
        #expect(result.position == writer.position)
        #expect(before.count == 90)
    }

    @Test("A follower that was closed or killed goes on where it stands")
    func resumes() throws {
        let (source, copy) = (try LogFolder(), try LogFolder())
        let writer = try source.create()
        var random = SplitMix(3)
        var made: [RecordedFrame] = []
        var follower = try newFollower(copy, at: LogFixture.start)
        var seen = LSN.zero
        for round in 0..<8 {
            made += try writer.recordRandom(40, &random)
            try writer.sync()
            let alignment: LogReader.Alignment = round % 2 == 0 ? .exact : .restartFrame
            let reader = try LogReader(writer, after: seen, alignment: alignment)
            #expect(try follow(reader, follower) == made.filter { $0.after.lsn > seen }, "round \(round)")
            seen = follower.position.lsn
            if round % 3 == 0 { try follower.close() }
            let (result, found) = try copy.recover()
            #expect(found == made)
            var start = LogStart(position: result.position, lastCommitTime: result.lastCommitTime)
            start.follows = true
            start.resume = result.end
            start.decoder = result.decoder
            follower = try copy.open(start, catalog: result.catalog)
        }
        #expect(try frameBytes(copy) == frameBytes(source))
        try follower.endFollowing()
        let own = try follower.record([1, 2, 3])
        #expect(try copy.recover().1 == made + [own])
    }

    @Test("What does not continue the log is refused before anything is applied")
    func refusals() throws {
        let (source, copy) = (try LogFolder(), try LogFolder())
        let writer = try source.create()
        var random = SplitMix(4)
        _ = try writer.recordRandom(20, &random, largest: 100)
        try writer.sync()
        let follower = try newFollower(copy, at: LogFixture.start)
        let bytes = try frameBytes(source)
        let header = try #require(writer.catalog.last).header
        try follower.beginSegment(mirroring: header)
        func refuse(_ bytes: [UInt8], _ what: String) throws {
            let before = follower.position
            let stored = follower.sink.end
            var copy = ByteBuffer()
            copy.append(bytes)
            #expect(throws: VarveError.self, "\(what)") {
                _ = unsafe try follower.appendVerbatim(copy.bytes, via: .map) { _ in
                    Issue.record("\(what): a frame was applied")
                }
            }
            #expect(follower.position == before && follower.sink.end == stored)
        }
        try refuse(Array(bytes.dropLast()), "a frame cut short")
        try refuse(Array(bytes.dropFirst(1)), "no frame at the beginning")
        var flipped = bytes
        flipped[bytes.count - 5] ^= 1
        try refuse(flipped, "a flipped bit in the last frame")
        let other = SegmentHeader(
            storeID: UniqueID(high: 1, low: 1), nodeID: header.nodeID, timeline: header.timeline,
            firstLSN: header.firstLSN, runningHash: 0, time: 0, salt: header.salt, fileNumber: 1)
        #expect(throws: VarveError.self) { try follower.beginSegment(mirroring: other) }
        var good = ByteBuffer()
        good.append(bytes)
        var count = 0
        _ = unsafe try follower.appendVerbatim(good.bytes, via: .map) { _ in count += 1 }
        #expect(count == 20)
        try refuse(bytes.suffix(40), "the past again, and not from its beginning")
    }

    @Test("Another history of the same length is refused")
    func divergence() throws {
        let (source, copy) = (try LogFolder(), try LogFolder())
        let writer = try source.create()
        try writer.record([1])
        writer.demandRestart()
        try writer.record([2])
        try writer.sync()
        var position = writer.position
        position = LogPosition(timeline: position.timeline, lsn: LSN(1), runningHash: position.runningHash &+ 1)
        let follower = try newFollower(copy, at: position)
        let reader = try LogReader(writer, after: LSN(1))
        #expect(throws: VarveError.self) { _ = try follow(reader, follower) }
        #expect(try copy.logNames.isEmpty)
    }
}
