import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite struct LogReadingTests {
    private func readAll(_ reader: LogReader) throws -> [RecordedFrame] {
        var found: [RecordedFrame] = []
        while let frame = try reader.next() { found.append(RecordedFrame(frame)) }
        return found
    }

    @Test("A reader begins at any LSN and yields what is durable, no more")
    func anyLSN() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(1)
        let synced = try writer.recordRandom(250, &random)
        try writer.sync()
        let durable = writer.position.lsn
        _ = try writer.recordRandom(20, &random)
        for lsn in 0...durable.rawValue {
            let reader = try LogReader(writer, after: LSN(lsn))
            #expect(try readAll(reader) == synced.filter { $0.after.lsn.rawValue > lsn }, "after \(lsn)")
        }
        let reader = try LogReader(writer, after: LSN(durable.rawValue / 2), alignment: .restartFrame)
        let first = try #require(try reader.next())
        #expect(first.header.isRestart)
        #expect(first.header.firstLSN.rawValue <= durable.rawValue / 2 + 1)
    }

    @Test("A reader follows the live end over segments, and sees each frame once it is synced")
    func followsTheEnd() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        let reader = try LogReader(writer, after: .zero)
        var random = SplitMix(2)
        var made: [RecordedFrame] = []
        var found: [RecordedFrame] = []
        for _ in 0..<60 {
            made += try writer.recordRandom(Int(random.next() % 12), &random)
            #expect(try reader.next() == nil || found.count < made.count)
            try writer.sync()
            found += try readAll(reader)
            #expect(found == made)
        }
        #expect(try folder.logNames.count > 2)
    }

    @Test("A stream reads a piece's worth at a time, though a piece ends with each small segment")
    func backlog() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(3)
        for _ in 0..<300 { try writer.record((0..<8000).map { _ in random.byte() }) }
        try writer.sync()
        let stream = LogStream(try LogReader(writer, after: .zero))
        _ = try #require(try stream.next())
        #expect(stream.lastLSN.rawValue < 150)
        var yielded = 0
        while let piece = try stream.next() {
            if case .frames(let bytes, _, _) = piece { yielded += bytes.count }
        }
        #expect(stream.lastLSN == writer.position.lsn)
        #expect(yielded > 300 * 8000)
        try writer.close()
    }

    @Test("Waiting readers wake when more is synced, when cancelled and when the log closes")
    func waits() async throws {
        let folder = try LogFolder()
        var options = LogFolder.options
        options.usesThreads = true
        let writer = try folder.create(options)
        let reader = try LogReader(writer, after: .zero)
        let hasRead = Watched(false)
        let thread = try IOThread(name: "reader") {
            #expect(throws: Never.self) { try reader.nextWaiting() }
            hasRead.update { $0 = true }
            #expect(throws: VarveError.self) { try reader.nextWaiting() }
        }
        try writer.record([1])
        try await writer.sync()
        await hasRead.reached { $0 }
        reader.cancel()
        thread.join()

        let second = try LogReader(writer, after: LSN(1))
        let waiting = Task { try await second.waitForMore() }
        try writer.record([2])
        try await writer.sync()
        try await waiting.value
        #expect(try second.next()?.header.firstLSN == LSN(2))
        let cancelled = Task { try await second.waitForMore() }
        cancelled.cancel()
        await #expect(throws: VarveError.self) { try await cancelled.value }
        let closed = Task { try await second.waitForMore() }
        try writer.close()
        await #expect(throws: VarveError.self) { try await closed.value }
    }

    @Test("A reader pins what it reads; who comes too late is told what is held")
    func pinsAndGaps() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(3)
        let made = try writer.recordRandom(300, &random)
        try writer.sync()
        let end = writer.position.lsn
        do {
            let reader = try LogReader(writer, after: .zero)
            _ = try reader.next()
            _ = try writer.removeObsoleteSegments(flushed: end, slots: [])
            #expect(try readAll(reader) == Array(made.dropFirst()))
        }
        _ = try writer.removeObsoleteSegments(flushed: end, slots: [])
        #expect(try folder.logNames.count == 1)
        do {
            _ = try LogReader(writer, after: .zero)
            Issue.record("a gap was not told")
        } catch {
            #expect(error.code == .logGap)
        }
    }

    @Test("Damage under a reader is an error with its place")
    func damage() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(4)
        _ = try writer.recordRandom(200, &random)
        try writer.sync()
        let second = writer.catalog.segments[1]
        let file = try folder.fileSystem.open(second.path, .readWrite)
        try file.write([0xFF], at: 700)
        let reader = try LogReader(writer, after: .zero)
        do {
            _ = try readAll(reader)
            Issue.record("damage was not found")
        } catch let error as VarveError {
            #expect(error.code == .corruption)
            #expect(error.path == second.path)
        }
    }
}

@Suite struct LogRetentionTests {
    private let segments = [(1, 100), (11, 100), (21, 100), (31, 100)].map {
        LogRetention.Held(firstLSN: LSN($0.0), bytes: $0.1)
    }
    private func decide(flushed: UInt64, _ slots: (String, UInt64, UInt64)...) -> LogRetention.Decision {
        LogRetention(
            segments: segments, flushed: LSN(flushed),
            slots: slots.map { LogRetention.Slot(name: $0.0, lsn: LSN($0.1), capBytes: $0.2) }
        ).decision
    }

    @Test("A segment goes when tables hold all of it, and never the last")
    func flushed() {
        #expect(decide(flushed: 0).removable == 0)
        #expect(decide(flushed: 9).removable == 0)
        #expect(decide(flushed: 10).removable == 1)
        #expect(decide(flushed: 29).removable == 2)
        #expect(decide(flushed: 99).removable == 3)
    }

    @Test("A slot holds back the log up to its cap, and is named when it loses some")
    func slots() {
        #expect(decide(flushed: 99, ("a", 15, 1000)) == .init(removable: 1, lost: [], keptBytes: 300))
        #expect(decide(flushed: 99, ("a", 15, 250)) == .init(removable: 3, lost: ["a"], keptBytes: 100))
        #expect(decide(flushed: 99, ("a", 0, 250), ("b", 25, 250)) == .init(removable: 2, lost: ["a"], keptBytes: 200))
        #expect(decide(flushed: 5, ("a", 0, 1)) == .init(removable: 0, lost: [], keptBytes: 400))
        // One whose log stays for another's sake has lost nothing.
        #expect(decide(flushed: 99, ("a", 15, 100), ("b", 16, 1000)) == .init(removable: 1, lost: [], keptBytes: 300))
    }
}
