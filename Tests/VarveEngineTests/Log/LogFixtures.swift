import Glibc
import Synchronization
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Fixed identities, so that a failure reads the same everywhere.
enum LogFixture {
    static let storeID = UniqueID(high: 0x1111, low: 0x2222)
    static let nodeID = UniqueID(high: 0x3333, low: 0x4444)
    static let timeline = TimelineID(ordinal: 1, unique: UniqueID(high: 0x5555, low: 0x6666))
    static let start = LogPosition(timeline: timeline, lsn: .zero, runningHash: RunningHash.initial)
    static let identity = LogIdentity(storeID: storeID, nodeID: nodeID)

    static func header(salt: UInt64 = 0xABCD, position: LogPosition = start, time: Timestamp = 0) -> SegmentHeader {
        SegmentHeader(
            storeID: storeID, nodeID: nodeID, timeline: position.timeline, firstLSN: position.lsn.next,
            runningHash: position.runningHash, time: time, salt: salt, fileNumber: 7)
    }

    /// A payload that resembles records: half of it repeats.
    static func payload(_ random: inout SplitMix, bytes: Int) -> [UInt8] {
        let half = (0..<(bytes + 1) / 2).map { _ in random.byte() }
        return Array((half + half).prefix(bytes))
    }
}

extension LogFixture {
    /// Gives the frame at the beginning of `bytes` the checksum that its bytes have.
    static func seal(_ bytes: inout [UInt8], length: Int? = nil, salt: UInt64) {
        let checksum = unsafe bytes[..<(length ?? bytes.count)].withUnsafeBytes {
            unsafe FrameChecksum(salt: salt).whole($0)
        }
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt64(index))) }
    }

    /// 24 bytes that begin like a frame of `length` bytes: header check and all, if made under the segment's salt.
    static func fixedPart(
        _ length: Int, kind: UInt8 = 1, flags: UInt8 = 0, codec: UInt8 = 0, lsn: UInt32, hash: UInt32, salt: UInt64
    ) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.appendFixed(UInt64(0))
        buffer.appendFixed(UInt32(length))
        buffer.append([kind, flags, codec, 0])
        buffer.appendFixed(lsn)
        buffer.appendFixed(hash)
        var bytes = buffer.array()
        seal(&bytes, salt: salt)
        return bytes
    }
}

/// A frame that was encoded, and what it must decode to.
struct MadeFrame {
    let kind: FrameKind
    let payload: [UInt8]
    let count: UInt64
    let commitTime: Timestamp
    let bytes: [UInt8]
    let positionAfter: LogPosition
}

extension FrameEncoder {
    func make(
        _ payload: [UInt8], kind: FrameKind = .batch, count: UInt64 = 1, flags: FrameFlags = [],
        synced: LSN? = nil, beginning timeline: TimelineID? = nil, step: Timestamp = 1000
    ) -> MadeFrame {
        let time = lastCommitTime + step
        let before = position.lsn
        let bytes = unsafe payload.withUnsafeBytes { payload in
            unsafe Array(
                encode(
                    kind, payload, count: count, commitTime: time, flags: flags, syncedLSN: synced ?? before,
                    beginning: timeline))
        }
        return MadeFrame(
            kind: kind, payload: payload, count: count, commitTime: time, bytes: bytes, positionAfter: position)
    }
}

/// A folder of the real file system that goes with its last reference, and the log in it.
final class LogFolder: Sendable {
    private let folder: TemporaryDirectory
    var path: String { folder.path }
    let fileSystem = PosixFileSystem()
    private let number = Atomic<UInt64>(0)

    init() throws { folder = try TemporaryDirectory() }

    func nextNumber() -> UInt64 { number.wrappingAdd(1, ordering: .relaxed).newValue }

    static let options = LogOptions(
        segmentBytes: 16 << 10, compresses: true, acceleration: 1, recycledSegments: 2, syncInterval: nil,
        usesThreads: false)

    func create(
        _ options: LogOptions = options, at position: LogPosition = LogFixture.start
    ) throws -> LogWriter {
        try open(LogStart(position: position, lastCommitTime: 0), options: options)
    }

    func open(_ start: LogStart, catalog: LogCatalog? = nil, options: LogOptions = options) throws -> LogWriter {
        try LogWriter(
            identity: LogFixture.identity, catalog: catalog ?? LogCatalog(fileSystem: fileSystem, directory: path),
            start: start, options: options, nextFileNumber: { [self] in nextNumber() })
    }

    /// What a recovery finds.
    func recover(
        flushed: LSN = .zero, closedEnd: LogPosition? = nil, usesThread: Bool = true
    ) throws -> (LogRecovery.Result, [RecordedFrame]) {
        var recovery = LogRecovery(fileSystem: fileSystem, directory: path, flushed: flushed)
        recovery.storeID = LogFixture.storeID
        recovery.closedEnd = closedEnd
        recovery.usesThread = usesThread
        var frames: [RecordedFrame] = []
        let result = try recovery.run { frame in frames.append(RecordedFrame(frame)) }
        return (result, frames)
    }

    var logNames: [String] {
        get throws { try fileSystem.list(path).filter { $0.hasSuffix(".log") }.sorted() }
    }

    func read(_ name: String) throws -> [UInt8] {
        let file = try fileSystem.open(path + "/" + name, .read)
        defer { file.close() }
        return try file.read(count: Int(file.size()), at: 0)
    }

    /// Replaces bytes of a file, as damage does.
    func change(_ name: String, _ body: (inout [UInt8]) -> Void) throws {
        var bytes = try read(name)
        body(&bytes)
        try fileSystem.remove(path + "/" + name)
        let file = try fileSystem.open(path + "/" + name, .createNew)
        defer { file.close() }
        try file.write(bytes, at: 0)
    }
}

/// What a frame said, kept beyond its life.
struct RecordedFrame: Equatable {
    let kind: FrameKind
    let payload: [UInt8]
    let firstLSN: LSN
    let after: LogPosition

    init(_ frame: DecodedFrame) {
        kind = frame.header.kind
        payload = unsafe Array(frame.payload)
        firstLSN = frame.header.firstLSN
        after = frame.positionAfter
    }
    init(kind: FrameKind, payload: [UInt8], firstLSN: LSN, after: LogPosition) {
        self.kind = kind
        self.payload = payload
        self.firstLSN = firstLSN
        self.after = after
    }
}

extension LogWriter {
    /// Appends a payload and says what a reader must find.
    @discardableResult
    func record(
        _ payload: [UInt8], count: UInt64 = 1, via route: AppendRoute = .map
    ) throws(VarveError) -> RecordedFrame {
        let first = position.lsn.next
        let time = lastCommitTime + 1000
        var copy = ByteBuffer()
        copy.append(payload)
        let after = unsafe try append(.batch, payload: copy.bytes, count: count, commitTime: time, via: route)
        return RecordedFrame(kind: .batch, payload: payload, firstLSN: first, after: after)
    }

    /// Appends `frames` random payloads.
    func recordRandom(
        _ frames: Int, _ random: inout SplitMix, syncs: Bool = false, largest: Int = 600
    ) throws -> [RecordedFrame] {
        var made: [RecordedFrame] = []
        for _ in 0..<frames {
            let payload = LogFixture.payload(&random, bytes: Int(random.next() % UInt64(largest)))
            made.append(
                try record(payload, count: 1 + random.next() % 5, via: random.next() % 3 == 0 ? .buffer : .map))
            if syncs, random.next() % 8 == 0 { try sync() }
        }
        try writeBuffered()
        return made
    }
}
