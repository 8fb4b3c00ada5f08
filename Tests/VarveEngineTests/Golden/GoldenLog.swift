import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The golden log segment: every kind of frame, every codec, flags, a timeline begun.
enum GoldenLog {
    static let name = FileName.log(7)
    static let salt: UInt64 = 0x5A17_5A17_5A17_5A17
    static let next = TimelineID(ordinal: 2, unique: UniqueID(high: 0x7777, low: 0x8888))
    /// A kind that this version does not know. Not critical, so it is passed on.
    static let unknownKind = FrameKind(rawValue: 77)

    struct Frame {
        var kind = FrameKind.batch
        var payload: [UInt8]
        var count: UInt64 = 1
        var flags: FrameFlags = []
        var beginning: TimelineOrigin?
        /// Everything before it is synced.
        var syncsBefore = false
        var restarts = false
    }

    static let frames: [Frame] = [
        Frame(payload: put("apple", "red", EntryFields(usableUntil: 5000, freshUntil: 4000))),
        Frame(payload: put("apricot", "orange, and as small as that")),
        Frame(
            payload: put("apricot", "orange, and as small as that", EntryFields(sourceVersion: 12)), syncsBefore: true),
        Frame(
            payload: put("banana", "yellow", EntryFields(tags: [7, 1 << 63], valueType: 3, cause: 2))
                + record(.delete, "apple", EntryFields(cause: 1)) + record(.rangeDelete, "b", end: "c")
                + record(.rangeDelete, "x", end: ""), count: 4),
        Frame(
            kind: .clock,
            payload: ByteBuffer.made { ClockRecord(reading: 123_456, change: .reading, offset: 0).encode(to: &$0) }),
        Frame(
            kind: .clock,
            payload: ByteBuffer.made { ClockRecord(reading: 123_999, change: .shift, offset: -77).encode(to: &$0) },
            flags: .critical, syncsBefore: true),
        Frame(kind: .mark, payload: Array("before the upgrade".utf8)),
        Frame(kind: .noOp, payload: []),
        Frame(kind: unknownKind, payload: Array("of a later version".utf8)),
        Frame(payload: put("cherry", "from a follower's origin"), flags: .origin),
        // Does not shrink: stored, though the stream goes on.
        Frame(payload: put("noise", noise(120)), syncsBefore: true),
        Frame(payload: put("cherry", "from a follower's origin")),
        // Alone in its stream.
        Frame(payload: put("large", [UInt8](repeating: 0x61, count: 40 << 10))),
        Frame(payload: put("date", "brown"), syncsBefore: true),
        Frame(
            kind: .timeline, payload: [], flags: .critical,
            beginning: TimelineOrigin(
                timeline: next, parent: LogFixture.timeline, forkLSN: LSN(17), reason: .promotion)),
        Frame(payload: put("elderberry", "black"), syncsBefore: true),
        Frame(payload: put("fig", "purple"), restarts: true),
        Frame(payload: put("grape", "green"), syncsBefore: true),
    ]

    /// What the writer makes of them today.
    static func written(_ frames: [Frame] = frames) throws -> [UInt8] {
        let system = try Golden.folder()
        let options = LogOptions(
            segmentBytes: 256 << 10, compresses: true, syncInterval: nil, usesThreads: false, makeSalt: { salt })
        let writer = try LogWriter(
            identity: LogFixture.identity, catalog: LogCatalog(fileSystem: system, directory: Golden.directory),
            start: LogStart(position: LogFixture.start, lastCommitTime: 0), options: options, nextFileNumber: { 7 })
        for frame in frames {
            if frame.syncsBefore { try writer.sync() }
            if frame.restarts { writer.demandRestart() }
            let time = writer.lastCommitTime + 1000
            if let origin = frame.beginning {
                _ = try writer.appendTimeline(origin, commitTime: time, via: .map)
            } else {
                _ = try frame.payload.lend { payload in
                    unsafe try writer.append(
                        frame.kind, payload: payload, count: frame.count, commitTime: time, flags: frame.flags,
                        via: .map)
                }
            }
        }
        try writer.close()
        return try Golden.take(name, from: system)
    }

    /// The payload of a frame as it is read back.
    static func payload(_ frame: Frame) -> [UInt8] {
        guard let origin = frame.beginning else { return frame.payload }
        return ByteBuffer.made { TimelineRecord.encode(origin, to: &$0) }
    }

    static func put(_ key: String, _ value: String, _ fields: EntryFields = .none) -> [UInt8] {
        put(key, Array(value.utf8), fields)
    }

    static func put(_ key: String, _ value: [UInt8], _ fields: EntryFields = .none) -> [UInt8] {
        record(.put, key, fields, value)
    }

    static func record(
        _ kind: RecordKind, _ key: String, _ fields: EntryFields = .none, _ value: [UInt8] = []
    ) -> [UInt8] {
        record(kind, key, TestVersion.entry(fields, value: value))
    }

    static func record(_ kind: RecordKind, _ key: String, end: String) -> [UInt8] {
        record(kind, key, Array(end.utf8))
    }

    private static func record(_ kind: RecordKind, _ key: String, _ entry: [UInt8]) -> [UInt8] {
        ByteBuffer.made { buffer in
            Array(key.utf8).lend { key in
                entry.lend { unsafe BatchWriter.append(kind, .default, key: key, entry: $0, to: &buffer) }
            }
        }
    }

    /// Bytes that do not shrink.
    static func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var random = SplitMix(seed)
        return (0..<count).map { _ in random.byte() }
    }
}

extension ByteBuffer {
    /// The bytes that `body` appends.
    static func made(_ body: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        body(&buffer)
        return buffer.array()
    }
}
