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
