import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Each kind of file: what was written under format version 1 reads back to exactly what it held, and the same input
/// gives the same bytes today.
@Suite("Golden files") struct GoldenFileTests {
    // MARK: Written today

    @Test("The log is written as it was") func writesLog() throws {
        try check(try GoldenLog.written(), GoldenLog.name, hasLZ4: true)
    }

    @Test("The manifest is written as it was") func writesManifest() throws {
        try check(try GoldenManifest.written(), GoldenManifest.name)
    }

    @Test("CURRENT, CLOSED, LOCK and DEGRADED are written as they were") func writesSmallFiles() throws {
        try check(try GoldenManifest.writtenCurrent(), .current)
        try check(try GoldenManifest.writtenClose(), .closed)
        try check(GoldenManifest.lock.encoded(), .lock)
        try check(GoldenManifest.mark.encoded(), .degraded)
    }

    @Test("Tables are written as they were", arguments: GoldenTable.all.indices) func writesTable(_ index: Int) throws {
        let table = GoldenTable.all[index]
        let written = try table.written()
        try check(written.bytes, table.name, hasLZ4: table.options.codec == .lz4)
        // What the manifest would say of it fits the file of then.
        guard !ScriptTest.isRewriting, Golden.isLZ4OfTheFixtures else { return }
        let golden = try GoldenTable.open(try Golden.bytes(table.name.text), table.number, expected: written.properties)
        try golden.verify(contentHash: written.properties.contentHash)
    }

    /// Bytes and the inspector's text; with `VARVE_REWRITE=1` both are replaced.
    private func check(
        _ made: [UInt8], _ name: FileName, hasLZ4: Bool = false, _ place: SourceLocation = #_sourceLocation
    ) throws {
        if !hasLZ4 || Golden.isLZ4OfTheFixtures || ScriptTest.isRewriting {
            try Golden.check(made, is: name.text, place)
        }
        let bytes = ScriptTest.isRewriting ? made : try Golden.bytes(name.text)
        let system = try Golden.folder([name.text: bytes])
        try Golden.check(try Golden.inspect(name.path(in: Golden.directory), system), is: name.text + ".txt", place)
    }

    // MARK: Read back

    @Test("Each frame of the log reads back", .enabled(if: !ScriptTest.isRewriting)) func readsLog() throws {
        let system = try Golden.folder([GoldenLog.name.text: try Golden.bytes(GoldenLog.name.text)])
        let segment = try LogSegment.open(system, directory: Golden.directory, number: 7)
        #expect(segment.header.storeID == LogFixture.storeID && segment.header.nodeID == LogFixture.nodeID)
        #expect(segment.header.salt == GoldenLog.salt && segment.header.position == LogFixture.start)
        let scanner = try LogScanner(system, [segment], from: 0)
        var lsn = LSN(1)
        for (number, frame) in GoldenLog.frames.enumerated() {
            let found = try #require(try scanner.next(), "frame \(number)")
            #expect(unsafe Array(found.payload) == GoldenLog.payload(frame), "frame \(number)")
            #expect(found.header.kind == frame.kind && found.header.count == frame.count, "frame \(number)")
            #expect(found.header.firstLSN == lsn, "frame \(number)")
            #expect(found.header.commitTime == Timestamp(number + 1) * 1000, "frame \(number)")
            #expect(found.header.flags.subtracting(.restart) == frame.flags, "frame \(number)")
            lsn = lsn.advanced(by: frame.count)
        }
        #expect(try scanner.next() == nil)
        #expect(scanner.stop?.fault == .absent)
        #expect(scanner.position.timeline == GoldenLog.next)
    }

    /// Both codecs, restart frames and others: else the golden segment proves less than it seems to.
    @Test("The golden log holds every form of a frame", .enabled(if: !ScriptTest.isRewriting)) func logIsRich() throws {
        let text = String(decoding: try Golden.bytes(GoldenLog.name.text + ".txt"), as: UTF8.self)
        let forms = [
            "raw lz4 [restart]", "raw lz4 ->", "raw stored ->", "raw stored [restart]", "[critical]", "[origin]",
            "kind-77",
            "clock", "timeline", "mark", "no-op",
        ]
        for form in forms { #expect(text.contains(form), "\(form)") }
    }

    @Test("Each edit of the manifest reads back", .enabled(if: !ScriptTest.isRewriting)) func readsManifest() throws {
        let bytes = try Golden.bytes(GoldenManifest.name.text)
        let header = try bytes.lend {
            unsafe try SegmentHeader(
                decoding: UnsafeRawBufferPointer(rebasing: $0[..<LogFormat.headerBytes]), magic: LogFormat.manifestMagic
            )
        }
        let decoder = FrameDecoder(header)
        var offset = LogFormat.headerBytes
        for (number, edit) in GoldenManifest.edits.enumerated() {
            let found = try Array(bytes[offset...]).lend { rest in
                let frame = unsafe try decoder.decode(rest)
                offset += frame.length
                var payload = unsafe ByteReader(frame.payload)
                return try VersionEdit.decode(from: &payload)
            }
            #expect(found == edit, "edit \(number)")
        }
        #expect(offset == bytes.count)

        let system = try Golden.folder([GoldenManifest.name.text: bytes])
        let reader = try ManifestReader.read(5, in: Golden.directory, system) { TableFile(number: $0, properties: $1) }
        #expect(reader.editNumber == 34 && reader.end == UInt64(bytes.count))
        #expect(reader.version.levels.map { $0.tables.map(\.number) } == [[], [], [], [], [], [9], [11, 4]])
        #expect(reader.state.flushed.lsn == LSN(60) && reader.state.checkpointOrigin == nil)
        #expect(reader.state.slots.keys.sorted() == ["feed", "follower \u{e9}"])
        #expect(reader.state.clock == StoreClockState(reading: 9_000, offset: 0, isFrozen: false))
        #expect(reader.state.timelines.current == GoldenManifest.second)
        #expect(
            reader.version.floors.raised
                == [FloorTable.Floor(slot: 5, version: 8), FloorTable.Floor(slot: 4095, version: .max)])
    }

    @Test("CURRENT, CLOSED and LOCK read back", .enabled(if: !ScriptTest.isRewriting)) func readsSmallFiles() throws {
        let names = [FileName.current, .closed]
        let system = try Golden.folder(
            Dictionary(uniqueKeysWithValues: try names.map { ($0.text, try Golden.bytes($0.text)) }))
        #expect(try CurrentFile.read(in: Golden.directory, system) == 5)
        #expect(try CleanClose.read(in: Golden.directory, system) == GoldenManifest.close)
        #expect(try LockRecord(decoding: try Golden.bytes("LOCK")) == GoldenManifest.lock)
    }

    @Test(
        "Each entry of the tables reads back", .enabled(if: !ScriptTest.isRewriting), arguments: GoldenTable.all.indices
    )
    func readsTable(_ index: Int) throws {
        let golden = GoldenTable.all[index]
        let bytes = try Golden.bytes(golden.name.text)
        let table = try GoldenTable.open(bytes, golden.number)
        try table.verify()
        #expect(try table.records(.sequential) == golden.records)
        #expect(try table.records(.point) == golden.records)
        #expect(try table.recordsBackward() == golden.records.reversed())
        #expect(table.rangeTombstones == RangeTombstones(golden.tombstones))
        for record in golden.records {
            #expect(try table.get(record.key, at: record.lsn) == record, "\(record)")
        }
        let shares = table.properties.namespaceShares
        switch golden.number {
        case 12: #expect(shares == nil)
        case 13: #expect(shares == [])
        case 14: #expect(shares?.map(\.putCount) == [20] && shares?.map(\.namespace) == [.default])
        case 16:
            let sample = table.properties.tagSample
            #expect(sample.count >= 16 && sample.count <= 32)
            #expect(sample.entries.contains { $0.tags == [3] } && sample.entries.contains { $0.tags.last == .max })
            #expect(sample.entries.allSatisfy { $0.namespace == .default && $0.version.rawValue % 3 != 2 })
        default:
            #expect(shares?.map(\.namespace.rawValue) == [0, 16, 17, 70_000])
            #expect(shares?.map(\.putCount) == [2, 8, 1, 11])
            let sum = shares?.reduce(0) { $0 + $1.storedBytes } ?? 0
            #expect(sum <= table.properties.storedDataBytes && sum > table.properties.storedDataBytes - 8)
        }
        guard index == 0 else { return }
        let codecs = Set(try (0..<table.index.count).map { bytes[try table.extent(of: $0).upperBound - 9] })
        #expect(codecs == [BlockCodec.stored.rawValue, BlockCodec.lz4.rawValue], "both codecs in one table")
    }
}
