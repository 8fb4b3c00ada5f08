import VarveIO

@testable import VarveEngine

/// Segments, frames, batches, entries.
extension FuzzTarget {
    static let segment = FuzzTarget(
        name: "segment",
        decode: { bytes in
            let header: SegmentHeader
            do { header = try SegmentHeader(decoding: bytes) } catch { return false }
            precondition(header.encoded().count == LogFormat.headerBytes)
            let files = MemoryFiles("/1.log", Array(bytes))
            _ = accepts { try LogInspector(fileSystem: files, path: "/1.log", key: [0x6B]).run { _ in } }
            return walk(UnsafeRawBufferPointer(rebasing: bytes[LogFormat.headerBytes...]), header)
        },
        repair: { FrameRepair.repairSegment(&$0) },
        seeds: { [("batches", LogSeeds.header.encoded() + LogSeeds.frames(compresses: true))] })

    static let frame = FuzzTarget(
        name: "frame",
        decode: { bytes in walk(bytes, LogSeeds.header) },
        repair: { FrameRepair.repairFrames(&$0, from: 0, LogSeeds.header) },
        seeds: {
            [("compressed", LogSeeds.frames(compresses: true)), ("stored", LogSeeds.frames(compresses: false))]
        })

    static let batch = FuzzTarget(
        name: "batch", decode: { bytes in accepts { try readBatch(bytes) } },
        seeds: { [("records", LogSeeds.payload(3))] })

    static let entry = FuzzTarget(
        name: "entry",
        decode: { bytes in
            accepts {
                let view = try EntryView(bytes)
                let fields = try view.fields()
                let value = Array(view.value)
                let again = ByteBuffer.made { EntryCodec.appendFields(fields, to: &$0) } + value
                try again.withBytes { bytes throws(DecodeError) in
                    let second = try EntryView(bytes)
                    let same = try second.fields() == fields
                    precondition(same, "an entry changed as it was encoded again")
                    precondition(Array(second.value) == value && second.usableUntil == view.usableUntil)
                }
            }
        },
        seeds: { [("fields", LogSeeds.entry), ("plain", [0, 1, 2])] })

    /// Decodes frame after frame and what they hold; then looks for frames everywhere.
    private static func walk(_ bytes: UnsafeRawBufferPointer, _ header: SegmentHeader) -> Bool {
        let decoder = FrameDecoder(header)
        var offset = 0
        var isGood = true
        while isGood, offset < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            _ = RawFrameHeader.contents(of: rest)
            isGood = accepts {
                decoder.mark()
                _ = try decoder.decode(rest)
                decoder.goBack()
                let frame = try decoder.decode(rest)
                offset += frame.length
                switch frame.header.kind {
                case .batch: try readBatch(frame.payload)
                case .clock: _ = try ClockRecord.decode(frame.payload)
                case .timeline: _ = try TimelineRecord.decode(frame.payload)
                default: break
                }
            }
        }
        if !isGood {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            _ = FrameSearch.evidence(in: rest, salt: header.salt, floor: header.firstLSN)
            joinWithin(rest, header)
        }
        return isGood
    }

    /// What a reader does that begins in the middle.
    private static func joinWithin(_ bytes: UnsafeRawBufferPointer, _ header: SegmentHeader) {
        let decoder = FrameDecoder(startingWithin: header)
        for offset in 0..<min(bytes.count, 64) {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            if (try? decoder.decode(rest)) != nil { return }
        }
    }

    private static func readBatch(_ payload: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = BatchReader(payload)
        while let record = try reader.next() {
            if record.kind == .put { _ = try EntryView(record.entry).fields() }
        }
    }
}

/// Small logs.
enum LogSeeds {
    static let timeline = TimelineID(ordinal: 1, unique: UniqueID(high: 0x5555, low: 0x6666))
    static let header = SegmentHeader(
        storeID: UniqueID(high: 1, low: 2), nodeID: UniqueID(high: 3, low: 4), timeline: timeline, firstLSN: LSN(1),
        runningHash: 0, time: 0, salt: 0xABCD, fileNumber: 7)

    static var entry: [UInt8] {
        let fields = EntryFields(
            usableUntil: 1000, freshUntil: 500, sourceVersion: 9, tags: [1, 2], valueType: 3, cause: 4,
            extensions: [EntryExtension(tag: 5, bytes: [6, 7])])
        return ByteBuffer.made { EntryCodec.appendFields(fields, to: &$0) } + Array("value".utf8)
    }

    static func payload(_ count: Int) -> [UInt8] {
        ByteBuffer.made { buffer in
            for number in 0..<count {
                let key = Array("key-\(number)".utf8)
                let entry = number == 1 ? LogSeeds.entry : [0] + [UInt8](repeating: 0x61, count: 40)
                key.withUnsafeBytes { key in
                    entry.withUnsafeBytes { entry in
                        BatchWriter.append(.put, .default, key: key, entry: entry, to: &buffer)
                    }
                }
            }
            BatchWriter.append(
                .delete, .default, key: UnsafeRawBufferPointer(start: nil, count: 0),
                entry: UnsafeRawBufferPointer(start: nil, count: 0), to: &buffer)
        }
    }

    /// A frame of each kind, then batches over one stream.
    static func frames(compresses: Bool) -> [UInt8] {
        let encoder = FrameEncoder(
            salt: header.salt, position: header.position, lastCommitTime: 0, compresses: compresses)
        var bytes: [UInt8] = []
        func add(_ kind: FrameKind, _ payload: [UInt8], count: UInt64 = 1, _ next: TimelineID? = nil) {
            payload.withUnsafeBytes { payload in
                bytes += Array(
                    encoder.encode(
                        kind, payload, count: count, commitTime: encoder.lastCommitTime + 10,
                        syncedLSN: encoder.position.lsn, beginning: next))
            }
        }
        add(.batch, payload(3), count: 4)
        add(.batch, payload(2), count: 3)
        add(.clock, ByteBuffer.made { ClockRecord(reading: 5, change: .shift, offset: 1).encode(to: &$0) })
        add(.mark, Array("mark".utf8))
        add(.noOp, [])
        let next = TimelineID(ordinal: 2, unique: UniqueID(high: 7, low: 8))
        let origin = TimelineOrigin(
            timeline: next, parent: timeline, forkLSN: encoder.position.lsn, reason: .created)
        add(.timeline, ByteBuffer.made { TimelineRecord.encode(origin, to: &$0) }, next)
        add(.batch, payload(1), count: 2)
        return bytes
    }
}
