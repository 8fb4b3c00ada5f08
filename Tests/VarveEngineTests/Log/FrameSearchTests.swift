import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The search for frames at every offset: it finds what a writer writes, takes nothing else for it, and its work is
/// bounded whatever values others choose.
@Suite struct FrameSearchTests {
    private static let salt: UInt64 = 0xABCD

    private func search(_ bytes: [UInt8], floor: UInt64 = 1, salt: UInt64 = salt) -> FrameSearch.Evidence {
        unsafe bytes.withUnsafeBytes { unsafe FrameSearch.evidence(in: $0, salt: salt, floor: LSN(floor)) }
    }

    // MARK: Values that look like frames

    /// Records of 32 bytes as an honest user has them: an etag, a size, a type, and what else there is.
    private static func records(_ count: Int, kinds: ClosedRange<UInt8>, isText: Bool, seed: UInt64) -> [UInt8] {
        var random = SplitMix(seed)
        var buffer = ByteBuffer(capacity: count * 32)
        for _ in 0..<count {
            buffer.appendFixed(random.next())
            buffer.appendFixed(UInt32(random.next() % 1_000_000))
            buffer.append([kinds.lowerBound + UInt8(random.next() % UInt64(kinds.count)), 0, 0, 0])
            if isText {
                // LSN and hash as an id has them, then small numbers: header and first record both can be.
                buffer.appendFixed(random.next())
                buffer.append([1, 1, 1, 1, 16, 4] + [random.byte(), random.byte()])
            } else {
                buffer.appendFixed(random.next())
                buffer.appendFixed(random.next())
            }
        }
        return buffer.array()
    }

    @Test(
        "Arrays of records whose fields look like a frame's are searched with little work", arguments: [true, false],
        [1...5, 2...5] as [ClosedRange<UInt8>])
    func honestRecords(isText: Bool, kinds: ClosedRange<UInt8>) {
        for seed in 1...2 as ClosedRange<UInt64> {
            let bytes = Self.records(1 << 16, kinds: kinds, isText: isText, seed: seed)
            let evidence = search(bytes, floor: 1000)
            #expect(evidence.frames == 0 && !evidence.gaveUp, "seed \(seed)")
            // By chance one place of 65,536, of half a megabyte.
            #expect(evidence.hashedBytes < 8 << 20, "seed \(seed)")
        }
    }

    /// What a recycled segment holds behind the last frame.
    @Test("A store is opened after a kill, whatever its values look like")
    func honestValuesAfterAKill() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        let made = try (0..<5).map { try writer.record([1, UInt8($0)]) }
        let end = writer.sink.end
        try folder.change("000001.log") { bytes in
            bytes = bytes[..<end] + Self.records(1 << 17, kinds: 2...5, isText: false, seed: 3)
        }
        let (result, found) = try folder.recover()
        #expect(found == made)
        #expect(result.end.offset == end && result.cut != nil)
    }

    @Test("Frames made under another salt are none, whole ones or headers alone, in any number")
    func forgedWithoutTheSalt() {
        var random = SplitMix(4)
        let forger = FrameEncoder(salt: 0xABCE, position: LogFixture.start, lastCommitTime: 0)
        var bytes: [UInt8] = []
        for _ in 0..<2000 { bytes += forger.make(LogFixture.payload(&random, bytes: 300)).bytes }
        let whole = search(bytes)
        #expect(whole.frames == 0 && !whole.gaveUp && whole.hashedBytes < 8 << 20)
        #expect(search(bytes, salt: 0xABCE).frames == 2000)

        let headers = search(Self.crowd(1 << 20, salt: 0xABCE))
        #expect(headers.frames == 0 && !headers.gaveUp)
        // A chance of one in 65,536 at each of 43,690 places, half a megabyte on average.
        #expect(headers.hashedBytes < 8 << 20)
    }

    /// Headers that are all right, to the end of so many bytes: what only who knows the salt can make.
    static func crowd(_ count: Int, salt: UInt64 = salt, isOneHeader: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count + 48 <= count {
            let number = isOneHeader ? 0 : UInt32(bytes.count)
            bytes += LogFixture.fixedPart(
                isOneHeader ? count / 2 : count - bytes.count, lsn: 2000, hash: number, salt: salt)
        }
        return bytes + [UInt8](repeating: 0, count: count - bytes.count)
    }

    @Test("A header that is right by chance is tried once, however often it stands there")
    func repeatedHeader() {
        let evidence = search(Self.crowd(1 << 20, isOneHeader: true), floor: 1000)
        #expect(evidence == FrameSearch.Evidence(hashedBytes: 1 << 19))
    }

    /// What bytes cost that were made without the salt is worked out in docs/formats/log.md.
    @Test("The budget is a multiple of what chance may cost, however long the rest is")
    func budget() {
        for mebibytes in [1, 4, 16] {
            let count = mebibytes << 20
            #expect(FrameSearch.budget(count) >= 8 * (count * count >> 18) + (64 << 20), "\(mebibytes) MiB")
        }
        #expect(FrameSearch.budget(64 << 20) >= 4 * (1 << 35))
        for mebibytes in [128, 512, 1024] {
            let count = mebibytes << 20
            #expect(FrameSearch.budget(count) >= 2 * (count * Limits.frameBytes >> 16), "\(mebibytes) MiB")
        }
    }

    @Test("What is longer than a frame can be costs nothing")
    func tooLong() {
        let crowd = Self.crowd(1 << 16)
        unsafe crowd.withUnsafeBytes { bytes in
            var search = unsafe FrameSearch(bytes, salt: Self.salt, floor: LSN(1000), longest: 1 << 12)
            #expect(search.next() == nil)
            // Only those of the last 4 KiB claim no more.
            #expect(search.hashedBytes > 0 && search.hashedBytes <= 1 << 19 && !search.gaveUp)
        }
    }

    @Test("Where too many headers are right the search gives up")
    func givesUp() {
        let evidence = search(Self.crowd(1 << 20), floor: 1000)
        #expect(evidence.gaveUp && evidence.frames == 0)
        #expect(evidence.hashedBytes <= FrameSearch.budget(1 << 20))
    }

    @Test("A search that gives up is damage: in a log, where continuity is asked, in a manifest")
    func givingUpIsDamage() throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        var random = SplitMix(5)
        _ = try writer.recordRandom(200, &random)
        let segments = writer.catalog.segments
        try #require(segments.count > 2)
        let crowd = Self.crowd(1 << 20, salt: segments[0].header.salt)
        let noise = GoldenLog.noise(1 << 16)
        #expect(try LogContinuity.start(of: segments, before: 1, folder.fileSystem) == 0)
        try folder.change("000001.log") { $0 = $0[..<2000] + noise }
        #expect(try LogContinuity.start(of: segments, before: 1, folder.fileSystem) == 1, "LSNs are missing")
        try folder.change("000001.log") { $0 = $0[..<2000] + crowd }
        #expect(try LogContinuity.start(of: segments, before: 1, folder.fileSystem) == 0, "nobody knows")
        let error = #expect(throws: VarveError.self) { try folder.recover() }
        #expect(error?.code == .corruption && error?.message.contains(FrameSearch.gaveUpText) == true)
    }

    @Test("A manifest behind whose end the search gives up is refused and not cut")
    func manifestIsRefused() throws {
        let whole = try GoldenManifest.written()
        let end = LogFormat.headerBytes + Int(whole[520]) + Int(whole[521]) << 8
        func read(_ rest: [UInt8]) throws -> ManifestReader {
            let system = try Golden.folder([GoldenManifest.name.text: whole[..<end] + rest])
            return try ManifestReader.read(5, in: Golden.directory, system) { TableFile(number: $0, properties: $1) }
        }
        #expect(try read(Self.crowd(1 << 20, salt: ~GoldenManifest.salt)).editNumber == 31)
        let error = #expect(throws: VarveError.self) { try read(Self.crowd(1 << 20, salt: GoldenManifest.salt)) }
        #expect(error?.code == .corruption && error?.offset == UInt64(end))
    }

    // MARK: Frames

    /// How a payload lies in its frame.
    private enum Form: CaseIterable {
        case stored, lz4, lone, empty

        func payload(_ random: inout SplitMix) -> [UInt8] {
            switch self {
            case .stored: (0..<500).map { _ in random.byte() }
            case .lz4: [UInt8](repeating: 7, count: 500)
            case .lone: (0..<40_000).map { _ in random.byte() % 4 }
            case .empty: []
            }
        }
    }

    private static let kinds: [FrameKind] = [
        .batch, .clock, .timeline, .mark, .noOp, .versionEdit, .init(rawValue: 77),
    ]

    @Test("What the writer writes the search finds, at any offset between anything", arguments: kinds.indices)
    func findsWhatIsWritten(_ index: Int) throws {
        let kind = Self.kinds[index]
        var random = SplitMix(UInt64(index))
        let next = TimelineID(ordinal: 2, unique: UniqueID(high: 7, low: 8))
        for form in Form.allCases {
            for restarts in [true, false] where restarts || form != .lone {
                for flags in [[], .critical, .origin, FrameFlags(rawValue: 0x40)] as [FrameFlags] {
                    let encoder = FrameEncoder(salt: Self.salt, position: LogFixture.start, lastCommitTime: 0)
                    _ = encoder.make([1], count: 99)
                    if restarts { encoder.demandRestart() }
                    let frame = encoder.make(
                        form.payload(&random), kind: kind, count: 3, flags: flags, synced: LSN(42),
                        beginning: kind == .timeline ? next : nil
                    ).bytes
                    let what: Comment = "\(kind) \(form) restart \(restarts) flags \(flags.rawValue)"
                    try #require(FrameFlags(rawValue: frame[13]).contains(.restart) == restarts, what)
                    try #require((frame[14] == FrameCodec.lz4) == (form == .lz4 || form == .lone), what)
                    // Garbage, then zeros up to the frame, and zeros behind: the quick path over them ends anywhere.
                    for (noise, zeros) in [
                        (0, 0), (1, 0), (13, 0), (0, 1), (3, 5), (24, 7), (101, 12), (5, 13), (2, 40),
                    ] {
                        let before = (0..<noise).map { _ in random.byte() } + [UInt8](repeating: 0, count: zeros)
                        let evidence = search(before + frame + [UInt8](repeating: 0, count: zeros), floor: 50)
                        #expect(evidence.frames == 1 && !evidence.gaveUp, "\(what) after \(noise) and \(zeros)")
                        #expect(evidence.synced == LSN(42), what)
                    }
                    // Before the floor, and beyond what a segment can hold.
                    #expect(search(frame, floor: 101).frames == 0, what)
                    #expect(search(frame, floor: 100).frames == 1, what)
                }
            }
        }
    }

    @Test("A restart frame whose full LSN is not the segment's is no evidence")
    func foreignLSN() {
        let far = LogPosition(timeline: LogFixture.timeline, lsn: LSN(1 << 32 + 99), runningHash: 0)
        let encoder = FrameEncoder(salt: Self.salt, position: far, lastCommitTime: 0)
        let frame = encoder.make([1], synced: LSN(1 << 32)).bytes
        #expect(search(frame, floor: 50).frames == 0)
        #expect(search(frame, floor: 1 << 32).frames == 1)
    }

    @Test("The header check alone tells a frame's first bytes from others")
    func headerCheck() throws {
        let frame = FrameEncoder(salt: Self.salt, position: LogFixture.start, lastCommitTime: 0)
            .make([UInt8](repeating: 3, count: 300)).bytes
        let head = Array(frame.prefix(LogFormat.fixedFrameBytes))
        func length(_ bytes: [UInt8], salt: UInt64 = Self.salt) -> Int? {
            unsafe bytes.withUnsafeBytes { try? unsafe RawFrameHeader.claimedLength($0, salt: salt) }
        }
        #expect(length(head) == frame.count)
        #expect(length(head, salt: Self.salt + 1) == nil)
        for bit in 48..<head.count * 8 {
            var bytes = head
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(length(bytes) == nil, "bit \(bit)")
        }
    }

    @Test(
        "What a later version writes proves as much as any other frame",
        arguments: [(FrameKind(rawValue: 77), FrameFlags()), (.batch, FrameFlags(rawValue: 0x40))])
    func laterVersion(kind: FrameKind, flags: FrameFlags) throws {
        let folder = try LogFolder()
        let writer = try folder.create()
        for number in 0..<4 { try writer.record([1, UInt8(number)]) }
        let damaged = writer.sink.end
        try writer.record([2, 2, 2, 2])
        try writer.sync()
        // The only frame that says so.
        try [UInt8]([3, 3, 3]).lend { payload in
            _ = unsafe try writer.append(
                kind, payload: payload, count: 1, commitTime: writer.lastCommitTime + 1000, flags: flags, via: .map)
        }
        #expect(try folder.recover().1.count == 6)
        try folder.change("000001.log") { $0[damaged + 28] ^= 1 }
        let error = #expect(throws: VarveError.self) { try folder.recover() }
        #expect(error?.code == .corruption && error?.offset == UInt64(damaged))
    }
}
