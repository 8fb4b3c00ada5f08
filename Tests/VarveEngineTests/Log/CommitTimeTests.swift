import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Commit times end where a log could no longer count on from them, for who reads and for who writes.
@Suite struct CommitTimeTests {
    private func fault(_ bytes: [UInt8], _ decoder: FrameDecoder) -> FrameFault? {
        do {
            try unsafe bytes.withUnsafeBytes { _ = try unsafe decoder.decode($0) }
            return nil
        } catch {
            return error as? FrameFault
        }
    }

    @Test("A frame beyond them is malformed, whether it spells its time out or counts on")
    func frames() {
        let header = LogFixture.header()
        let encoder = FrameEncoder(salt: header.salt, position: header.position, lastCommitTime: 0)
        let decoder = FrameDecoder(header)
        #expect(fault(encoder.make([1], step: 1000).bytes, decoder) == nil)
        guard case .malformed(.outOfRange)? = fault(encoder.make([2], step: .max - 2000).bytes, decoder) else {
            Issue.record("a frame that counts on to the end of time is taken")
            return
        }
        encoder.continueFrom(decoder.position ?? header.position, lastCommitTime: .max - 1)
        guard case .malformed(.outOfRange)? = fault(encoder.make([3], step: 1).bytes, decoder) else {
            Issue.record("a frame at the end of time is taken")
            return
        }
    }

    @Test("So is a segment's header, and a version edit")
    func headers() throws {
        let header = LogFixture.header(time: .max).encoded()
        #expect(throws: DecodeError.self) {
            try unsafe header.withUnsafeBytes { _ = try unsafe SegmentHeader(decoding: $0) }
        }
        var edit = VersionEdit()
        edit.lastCommitTime = .max
        var buffer = ByteBuffer()
        edit.encode(to: &buffer)
        #expect(throws: DecodeError.self) {
            var reader = unsafe ByteReader(buffer.bytes)
            _ = try VersionEdit.decode(from: &reader)
        }
    }

    @Test("A log takes no frame that would not be read back, and goes on")
    func writing() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        try writer.record([1])
        let error = failure {
            _ = unsafe try writer.append(
                .batch, payload: ByteBuffer().bytes, count: 1, commitTime: .max - 1, via: .map)
        }
        #expect(error?.code == .limitExceeded)
        try writer.record([2])
        try writer.close()
        #expect(try folder.recover().1.map(\.payload) == [[1], [2]])
    }

    @Test("What a log refused for its time reaches no manifest: the store opens again")
    func refused() throws {
        let files = SimulatedFileSystem()
        let before = try Fixture.store(files)
        try before.put(bytes("k"), [1])
        try before.flush()
        try before.close()
        let beyond = ManualClock(wallNanoseconds: LogFormat.latestTime + 1)
        let engine = try Fixture.store(files, Fixture.options(clock: beyond))
        #expect(code { try engine.put(bytes("k"), [2]) } == .limitExceeded)
        // The memtable, though empty, makes way for it before the log is asked.
        #expect(code { try engine.put(bytes("k"), [UInt8](repeating: 3, count: 48 << 20)) } == .limitExceeded)
        try engine.flush()
        #expect(engine.statistics.lastCommitTime <= LogFormat.latestTime)
        try engine.close()
        let after = try Fixture.store(files)
        #expect(try Fixture.contents(after) == [bytes("k"): [1]])
        try after.put(bytes("k"), [4])
        try after.close()
    }
}
