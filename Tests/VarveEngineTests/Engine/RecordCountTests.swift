import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// How many records a frame counts is believed only as far as its payload can hold them: memory is asked for by it.
@Suite struct RecordCountTests {
    private let files = SimulatedFileSystem()
    private static let few: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    private static let boast: UInt64 = 30_000_000

    /// A store that was killed behind a whole batch frame of a few bytes that counts thirty million records.
    private func boastful() throws -> SimulatedFileSystem {
        let engine = try Fixture.store(files)
        try engine.put(bytes("k"), [1])
        let log = try #require(engine.writing).log
        var payload = ByteBuffer()
        payload.append(Self.few)
        _ = unsafe try log.append(
            .batch, payload: payload.bytes, count: Self.boast, commitTime: log.lastCommitTime + 1, via: .map)
        return files.killProcess()
    }

    @Test("An opening names the batch", arguments: [true, false])
    func opening(readOnly: Bool) throws {
        let disk = try boastful()
        let error = failure {
            let engine =
                try readOnly
                ? Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: disk)
                : Fixture.store(disk)
            try engine.close()
        }
        #expect(error?.code == .corruption)
        #expect(error?.message.contains("malformed, though its frame is whole") == true)
    }

    @Test("A repair passes over it and says so")
    func repair() throws {
        let disk = try boastful()
        let report = try Engine.repair(storeAt: "/store", into: "/new", fileSystem: disk)
        #expect(report.losses.count == 1)
        #expect(report.losses.first?.reason.contains("malformed, though its frame is whole") == true)
        let engine = try Engine.openReadOnly(at: "/new", Fixture.options(), fileSystem: disk)
        #expect(try Fixture.contents(engine) == [bytes("k"): [1]])
        try engine.close()
    }

    @Test("A follower asks for no more room than what it was sent can need, though nothing of that is verified yet")
    func following() throws {
        let engine = try Fixture.store(files)
        try engine.checkpoint(to: "/f", slot: "f")
        let follower = try Engine.openFollower(at: "/f", Fixture.options(), fileSystem: files)
        let before = follower.position
        let encoder = FrameEncoder(salt: 7, position: LogFixture.start, lastCommitTime: 0, compresses: false)
        let boastful = encoder.make(Self.few, count: Self.boast).bytes
        #expect(code { try follower.follow(frames: boastful) } == .corruption)
        // A codec of later versions, and 128 MiB of raw bytes each by their own word.
        var encrypted = encoder.make([0x80, 0x80, 0x80, 0x40, 0]).bytes
        encrypted[14] = FrameCodec.firstEncrypted
        let many = Array([[UInt8]](repeating: encrypted, count: 1000).joined())
        #expect(failure { try follower.follow(frames: many) } != nil)
        #expect(follower.position == before)
        try engine.put(bytes("k"), [1])
        try follower.apply(from: engine)
        #expect(follower.position == engine.position)
        try follower.close()
        try engine.close()
    }

    @Test("A follower stores no batch that holds other than it counts", arguments: [[1, 0, 1, 107, 0], [9]])
    func unstored(payload: [UInt8]) throws {
        let engine = try Fixture.store(files)
        try engine.put(bytes("k"), [1])
        try engine.checkpoint(to: "/f", slot: "f")
        let follower = try Engine.openFollower(at: "/f", Fixture.options(), fileSystem: files)
        let before = follower.position
        let log = try #require(engine.writing).log
        var buffer = ByteBuffer()
        buffer.append(payload)
        _ = unsafe try log.append(
            .batch, payload: buffer.bytes, count: payload.count > 1 ? 2 : 1, commitTime: log.lastCommitTime + 1,
            via: .map)
        try log.sync()
        #expect(code { try follower.apply(from: engine) } == .corruption)
        #expect(follower.position == before)
        try follower.close()
        let again = try Engine.openFollower(at: "/f", Fixture.options(), fileSystem: files)
        #expect(again.position == before)
        #expect(try Fixture.contents(again) == [bytes("k"): [1]])
        try again.close()
    }

    @Test("LSNs that a no-op passes over are no records")
    func noOps() throws {
        let engine = try Fixture.store(files)
        try engine.checkpoint(to: "/f", slot: "f")
        let follower = try Engine.openFollower(at: "/f", Fixture.options(), fileSystem: files)
        let pipeline = try #require(engine.writing).pipeline
        let end = LSN(engine.position.lsn.rawValue + 1 << 30)
        _ = unsafe try pipeline.append(.noOp, ByteBuffer().bytes, upTo: end)
        try engine.put(bytes("k"), [1])
        try follower.apply(from: engine)
        #expect(follower.position == engine.position)
        #expect(try Fixture.contents(follower) == [bytes("k"): [1]])
        try follower.close()
        try engine.close()
    }

    @Test("Frames that shrink well come in pieces for which a follower has room")
    func pieces() throws {
        let folder = try LogFolder()
        var options = LogFolder.options
        options.segmentBytes = 4 << 20
        let writer = try folder.create(options)
        let payload = [UInt8](repeating: 0, count: 48 << 20)
        for _ in 0..<4 { try writer.record(payload, count: 10_000_000) }
        try writer.record([0, 16, 0, 0], count: 1)
        try writer.sync()
        let stream = LogStream(try LogReader(writer, after: .zero))
        var pieces: [[Int]] = []
        while let piece = try stream.next() {
            if case .frames(_, let rawBytes, let records) = piece { pieces.append([rawBytes, records]) }
        }
        #expect(pieces.allSatisfy { $0[0] <= Limits.batchBytes && $0[1] <= Limits.batchRecords })
        #expect(pieces.map { $0[1] } == [10_000_000, 10_000_000, 10_000_000, 10_000_001])
        try writer.close()
    }

    @Test("Of any batch that a frame can hold there is a memtable; what is beyond an arena is refused")
    func memtables() throws {
        let most = Memtable.worstCaseBytes(records: Limits.batchBytes / 4, bytes: Limits.batchBytes)
        let memtable = try MemtableInserter.makeMemtable(limit: 2 << 30, atLeast: most, like: nil)
        #expect(memtable.hasRoom(records: Limits.batchBytes / 4, bytes: Limits.batchBytes))
        let error = code {
            _ = try MemtableInserter.makeMemtable(limit: 64 << 10, atLeast: Limits.memtableBytes, like: memtable)
        }
        #expect(error == .limitExceeded)
    }
}
