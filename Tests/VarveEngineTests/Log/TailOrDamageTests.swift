import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite struct TailOrDamageTests {
    /// A log of `frames` in one segment, nothing synced unless asked for, and where each frame begins.
    private func makeLog(
        _ folder: LogFolder, frames: Int = 12, syncAfter: Int? = nil, compresses: Bool = true
    ) throws -> (made: [RecordedFrame], offsets: [Int]) {
        var options = LogFolder.options
        options.compresses = compresses
        let writer = try folder.create(options)
        var made: [RecordedFrame] = []
        var offsets: [Int] = []
        for index in 0..<frames {
            offsets.append(writer.sink.end)
            made.append(try writer.record(Array("record number \(index) of this log".utf8)))
            if index + 1 == syncAfter { try writer.sync() }
        }
        offsets.append(writer.sink.end)
        return (made, offsets)
    }

    @Test("A tail torn at any byte is cut to the frames before it")
    func tornTail() throws {
        let whole = try LogFolder()
        let (made, offsets) = try makeLog(whole)
        let bytes = try whole.read("000001.log")
        for cut in stride(from: LogFormat.headerBytes, to: offsets[12], by: 5) {
            let folder = try LogFolder()
            let file = try folder.fileSystem.open(folder.path + "/000001.log", .createNew)
            try file.write(Array(bytes[..<cut]), at: 0)
            let kept = offsets.dropFirst().filter { $0 <= cut }.count
            let (result, found) = try folder.recover()
            #expect(found == Array(made.prefix(kept)), "cut at \(cut)")
            #expect(result.end.offset == offsets[kept])
            #expect(try file.size() == UInt64(offsets[kept]), "the rest is cut off")
        }
    }

    @Test("A sector that was lost in the unsynced tail cuts the log there, whatever follows")
    func reorderedSectors() throws {
        let folder = try LogFolder()
        let (made, offsets) = try makeLog(folder, frames: 60)
        try folder.change("000001.log") { bytes in
            for index in 1024..<1536 { bytes[index] = 0 }
        }
        let kept = offsets.dropFirst().filter { $0 <= 1024 }.count
        let (result, found) = try folder.recover()
        #expect(found == Array(made.prefix(kept)))
        #expect(result.cut != nil)
        #expect(try folder.recover().0.cut == nil, "a second recovery finds nothing to cut")
    }

    @Test(
        "Damage in the middle is damage where a later frame proves that it had been synced", arguments: [0, 1, 4, 7],
        [true, false])
    func damageInTheMiddle(frame: Int, compresses: Bool) throws {
        let folder = try LogFolder()
        let (_, offsets) = try makeLog(folder, syncAfter: 8, compresses: compresses)
        try folder.change("000001.log") { $0[offsets[frame] + 30] ^= 1 }
        do {
            _ = try folder.recover()
            Issue.record("damage in frame \(frame) was not found")
        } catch let error as VarveError {
            #expect(error.code == .corruption)
            #expect(error.path?.hasSuffix("000001.log") == true)
            #expect(error.offset == UInt64(offsets[frame]))
        }
    }

    @Test("The same damage behind the synced place is the tail", arguments: [8, 9, 11])
    func damageInTheTail(frame: Int) throws {
        let folder = try LogFolder()
        let (made, offsets) = try makeLog(folder, syncAfter: 8)
        try folder.change("000001.log") { $0[offsets[frame] + 30] ^= 1 }
        #expect(try folder.recover().1 == Array(made.prefix(frame)))
    }

    @Test("A damaged last frame is damage where the manifest or a clean close says that it was there")
    func provedByOthers() throws {
        let folder = try LogFolder()
        let (made, offsets) = try makeLog(folder)
        try folder.change("000001.log") { $0[offsets[11] + 30] ^= 1 }
        #expect(throws: VarveError.self) { try folder.recover(flushed: LSN(12)) }
        #expect(throws: VarveError.self) { try folder.recover(closedEnd: made[11].after) }
        #expect(try folder.recover(flushed: LSN(11)).1.isEmpty)
    }

    @Test("A missing segment is damage, or the tail where nothing of it was synced", arguments: [true, false])
    func missingSegment(synced: Bool) throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(9)
        let made = try writer.recordRandom(400, &random)
        let segments = writer.catalog.segments
        try #require(segments.count > 4)
        if synced {
            try writer.sync()
            try writer.record([1])
        }
        try folder.fileSystem.remove(segments[2].path)
        if synced {
            #expect(throws: VarveError.self) { try folder.recover() }
        } else {
            let (result, found) = try folder.recover()
            #expect(found == made.filter { $0.after.lsn < segments[2].firstLSN })
            #expect(result.cut?.removed.count == segments.count - 3)
            #expect(try folder.logNames.count == 2)
        }
    }

    @Test("A log that lacks what tables do not hold is named")
    func missingStart() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(10)
        _ = try writer.recordRandom(200, &random)
        try folder.fileSystem.remove(writer.catalog.segments[0].path)
        do {
            _ = try folder.recover()
            Issue.record("a missing first segment was not found")
        } catch let error as VarveError {
            #expect(error.code == .missingFile)
        }
        let second = writer.catalog.segments[1].firstLSN
        #expect(try folder.recover(flushed: LSN(second.rawValue - 1)).0.position == writer.position)
    }

    @Test("Stale bytes of a recycled segment are not frames, even where an old frame lies at the right place")
    func staleBytes() throws {
        let folder = try LogFolder()
        let (made, offsets) = try makeLog(folder)
        let old = try folder.read("000001.log")
        let other = try LogFolder()
        let writer = try other.create()
        let short = try writer.record(Array("record number 0 of this log".utf8))
        #expect(short == made[0])
        try other.change("000001.log") { bytes in
            for index in offsets[1]..<old.count { bytes[index] = old[index] }
        }
        let (result, found) = try other.recover()
        #expect(found == [short])
        #expect(result.end.offset == offsets[1])
    }

    @Test("A damaged header is damage, and another store's segment is refused")
    func headers() throws {
        let folder = try LogFolder()
        _ = try makeLog(folder)
        try folder.change("000001.log") { $0[100] ^= 1 }
        #expect(throws: VarveError.self) { try folder.recover() }
        try folder.change("000001.log") { $0[100] ^= 1 }
        _ = try folder.recover()
        try folder.fileSystem.rename(folder.path + "/000001.log", to: folder.path + "/000002.log")
        #expect(throws: VarveError.self) { try folder.recover() }
    }

    @Test("The judge weighs each kind of evidence")
    func judge() {
        #expect(TailJudge(expected: LSN(10)).verdict == .tail)
        #expect(TailJudge(expected: LSN(10), flushed: LSN(9)).verdict == .tail)
        #expect(TailJudge(expected: LSN(10), flushed: LSN(10)).verdict != .tail)
        #expect(TailJudge(expected: LSN(10), closedEnd: LSN(9)).verdict == .tail)
        #expect(TailJudge(expected: LSN(10), closedEnd: LSN(11)).verdict != .tail)
        #expect(TailJudge(expected: LSN(10), laterSynced: LSN(9)).verdict == .tail)
        #expect(TailJudge(expected: LSN(10), laterSynced: LSN(10)).verdict != .tail)
        #expect(TailJudge(expected: LSN(10), searchGaveUp: true).verdict != .tail)
    }

    @Test(
        "Numbers of few bits, as a cache's notes have them, are soon told from frames", arguments: [1, 2] as [UInt64])
    func numbers(seed: UInt64) {
        var random = SplitMix(seed)
        var words: [UInt64] = []
        for _ in 0..<1 << 17 {
            words += [random.next(), random.next()]
            for _ in 0..<2 {
                words.append((0..<4).reduce(0) { word, _ in word << 16 | random.next() % 200 })
            }
        }
        let evidence = unsafe words.withUnsafeBytes {
            unsafe FrameSearch.evidence(in: $0, salt: random.next(), floor: LSN(1_000_000))
        }
        #expect(evidence.frames == 0 && !evidence.gaveUp, "seed \(seed)")
        #expect(evidence.hashedBytes < 64 << 20, "seed \(seed)")
    }
}
