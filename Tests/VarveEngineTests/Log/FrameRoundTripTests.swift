import Testing
import VarveTestSupport

@testable import VarveEngine

@Suite struct FrameRoundTripTests {
    private func encoder(_ header: SegmentHeader, compresses: Bool = true) -> FrameEncoder {
        FrameEncoder(
            salt: header.salt, position: header.position, lastCommitTime: header.time, compresses: compresses)
    }

    private func check(_ made: [MadeFrame], _ decoder: FrameDecoder, _ what: String) throws {
        let log = made.flatMap(\.bytes)
        var offset = 0
        for (index, frame) in made.enumerated() {
            try unsafe log.withUnsafeBytes { log in
                let decoded = try unsafe decoder.decode(UnsafeRawBufferPointer(rebasing: log[offset...]))
                #expect(decoded.header.kind == frame.kind, "\(what), frame \(index)")
                #expect(unsafe Array(decoded.payload) == frame.payload, "\(what), frame \(index)")
                #expect(unsafe Array(decoded.bytes) == frame.bytes, "\(what), frame \(index)")
                #expect(decoded.header.count == frame.count, "\(what), frame \(index)")
                #expect(decoded.header.commitTime == frame.commitTime, "\(what), frame \(index)")
                #expect(decoded.positionAfter == frame.positionAfter, "\(what), frame \(index)")
            }
            offset += frame.bytes.count
        }
        #expect(offset == log.count)
    }

    @Test("What is encoded decodes to the same, whatever the sizes", arguments: 0..<6 as Range<UInt64>, [true, false])
    func roundTrip(seed: UInt64, compresses: Bool) throws {
        var random = SplitMix(seed)
        let header = LogFixture.header(salt: random.next())
        let encoder = encoder(header, compresses: compresses)
        let sizes = [0, 1, 12, 13, 116, 116, 116, 500, 4096, 20_000, 32_768, 32_769, 65_536, 65_537, 300_000]
        var made: [MadeFrame] = []
        for _ in 0..<60 {
            let size = sizes.randomElement(using: &random) ?? 0
            let payload =
                random.next() % 4 == 0
                ? (0..<size).map { _ in random.byte() } : LogFixture.payload(&random, bytes: size)
            if random.next() % 16 == 0 { encoder.demandRestart() }
            made.append(
                encoder.make(payload, count: 1 + random.next() % 200, step: Int64(1 + random.next() % 1_000_000)))
        }
        try check(made, FrameDecoder(header), "seed \(seed)")
    }

    @Test("Small records that resemble each other shrink, though none would alone")
    func smallRecordsShrink() {
        let encoder = encoder(LogFixture.header())
        var random = SplitMix(1)
        var frames = 0
        for index in 0..<500 {
            var payload = ByteBuffer()
            let value = (0..<50).map { _ in random.byte() }
            unsafe Array("user:\(100_000 + index):profile".utf8).withUnsafeBytes { key in
                unsafe value.withUnsafeBytes { half in
                    unsafe BatchWriter.append(.put, .default, key: key, entry: half, to: &payload)
                }
            }
            frames += encoder.make(payload.array()).bytes.count - LogFormat.fixedFrameBytes
        }
        #expect(frames < 500 * 70, "500 records of 74 bytes of which 50 are random")
    }

    @Test("A payload that does not shrink is stored, and the frames after it still decode")
    func incompressible() throws {
        let header = LogFixture.header()
        let encoder = encoder(header)
        var random = SplitMix(2)
        let noise = (0..<1000).map { _ in random.byte() }
        let made = [encoder.make(noise), encoder.make(noise), encoder.make(Array("abc".utf8)), encoder.make(noise)]
        #expect(made[0].bytes.count > 1000)
        #expect(made[1].bytes.count < 100, "the second copy refers to the first, which was stored")
        #expect(made[3].bytes.count < 100)
        try check(made, FrameDecoder(header), "noise")
    }

    @Test("A restart frame stands first, at least every 64 KiB, around large payloads and on demand")
    func restarts() throws {
        let header = LogFixture.header()
        let encoder = encoder(header)
        var restarts: [Bool] = []
        let kilobyte = [UInt8](repeating: 7, count: 1024)
        for _ in 0..<130 { restarts.append(encoder.make(kilobyte).bytes[13] & 1 == 1) }
        #expect(restarts.enumerated().filter(\.element).map(\.offset) == [0, 64, 128])
        #expect(encoder.make([UInt8](repeating: 1, count: 32_769)).bytes[13] & 1 == 1)
        #expect(encoder.make([1]).bytes[13] & 1 == 1)
        #expect(encoder.make([1]).bytes[13] & 1 == 0)
        encoder.demandRestart()
        #expect(encoder.make([1]).bytes[13] & 1 == 1)
    }

    @Test("A decoder may begin at any restart frame and takes its position from there")
    func beginsInTheMiddle() throws {
        let header = LogFixture.header()
        let encoder = encoder(header)
        _ = encoder.make([1, 2, 3], count: 5)
        encoder.demandRestart()
        let made = [encoder.make([4, 5, 6]), encoder.make([7])]
        try check(made, FrameDecoder(startingWithin: header), "from the second restart")
        let late = FrameDecoder(startingWithin: header)
        #expect(throws: FrameFault.self) {
            try unsafe made[1].bytes.withUnsafeBytes { _ = try unsafe late.decode($0) }
        }
    }

    @Test("A timeline record reseeds the running hash, and the next frame restarts in the new timeline")
    func timelines() throws {
        let header = LogFixture.header()
        let encoder = encoder(header)
        let next = TimelineID(ordinal: 2, unique: UniqueID(high: 9, low: 9))
        let origin = TimelineOrigin(timeline: next, parent: LogFixture.timeline, forkLSN: LSN(1), reason: .promotion)
        var record = ByteBuffer()
        TimelineRecord.encode(origin, to: &record)
        let made = [
            encoder.make([1]), encoder.make(record.array(), kind: .timeline, beginning: next), encoder.make([2]),
        ]
        #expect(made[1].positionAfter.timeline == next)
        #expect(made[2].bytes[13] & 1 == 1)
        try check(made, FrameDecoder(header), "timelines")
        let other = self.encoder(header)
        let same = [other.make([1]), other.make(record.array(), kind: .mark), other.make([2])]
        #expect(same[2].positionAfter.runningHash != made[2].positionAfter.runningHash)
    }

    @Test("Going back to a mark undoes any number of frames, restarts among them")
    func marks() throws {
        let header = LogFixture.header()
        let encoder = encoder(header)
        let decoder = FrameDecoder(header)
        var random = SplitMix(4)
        let before = (0..<20).map { _ in encoder.make(LogFixture.payload(&random, bytes: 900)) }
        try check(before, decoder, "before the mark")
        let after = (0..<300).map { _ in encoder.make(LogFixture.payload(&random, bytes: 900)) }
        for length in [1, 5, 100, 300] {
            decoder.mark()
            try check(Array(after.prefix(length)), decoder, "\(length) frames to be undone")
            decoder.goBack()
        }
        try check(after, decoder, "after going back")
    }

    @Test("Any flipped bit is found")
    func flippedBits() throws {
        let header = LogFixture.header()
        let encoder = encoder(header)
        for _ in 0..<3 {
            let frame = encoder.make(Array("some payload, some payload, some payload".utf8))
            for bit in 0..<frame.bytes.count * 8 {
                var bytes = frame.bytes + [UInt8](repeating: 0, count: 64)
                bytes[bit / 8] ^= 1 << (bit % 8)
                #expect(throws: FrameFault.self, "bit \(bit)") {
                    try unsafe bytes.withUnsafeBytes { _ = try unsafe RawFrameHeader(verifying: $0, salt: header.salt) }
                }
            }
        }
    }

    @Test("A raw length beyond what LZ4 could have shrunk is refused before memory is taken for it")
    func impossibleRawLength() throws {
        let header = LogFixture.header()
        let frame = encoder(header).make([UInt8](repeating: 7, count: 1000))
        // Fixed part, restart part, and the count; then the raw length, two bytes of it.
        let place = LogFormat.fixedFrameBytes + LogFormat.restartBytes + 1
        func claiming(_ length: Int) -> [UInt8] {
            var claim = ByteBuffer()
            claim.appendVarint(UInt64(length))
            var bytes = Array(frame.bytes[..<place]) + claim.array() + frame.bytes[(place + 2)...]
            bytes.replaceSubrange(
                8..<12, with: unsafe withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { unsafe Array($0) })
            LogFixture.seal(&bytes, salt: header.salt)
            return bytes
        }
        func fault(_ bytes: [UInt8]) -> FrameFault? {
            do {
                try unsafe bytes.withUnsafeBytes { _ = try unsafe FrameDecoder(header).decode($0) }
                return nil
            } catch {
                return error as? FrameFault
            }
        }
        #expect(fault(claiming(1000)) == nil)
        let stored = frame.bytes.count - place - 2
        for length in [stored * 255 + 100, 100 << 20] {
            guard case .malformed(.outOfRange)? = fault(claiming(length)) else {
                Issue.record("\(length) raw bytes from \(stored): \(String(describing: fault(claiming(length))))")
                continue
            }
        }
    }
}
