import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The golden manifest: a snapshot and edits that between them use every field; and the small files beside it.
enum GoldenManifest {
    static let name = FileName.manifest(5)
    static let salt: UInt64 = 0x0123_4567_89AB_CDEF
    static let identity = StoreIdentity(storeID: LogFixture.storeID, nodeID: LogFixture.nodeID)
    static let second = TimelineID(ordinal: 2, unique: UniqueID(high: 0x7777, low: 0x8888))
    static let close = CleanClose(
        log: LogPosition(timeline: second, lsn: LSN(90), runningHash: 0xFEED), manifest: 5, manifestBytes: 2000)
    static let lock = LockRecord(
        processID: 1234, bootID: "7d7d1b0c", started: 1_763_694_033_000_000_000, program: "a%b\nc",
        socketPath: "/run/user/1000/varve/0123456789abcdef.sock")

    static let edits: [VersionEdit] = [snapshot, flush, compaction, housekeeping]

    /// What the manifest of a new store begins with.
    static var start: VersionEdit {
        var edit = VersionEdit()
        edit.identity = identity
        edit.options = BoundOptions()
        edit.nextFileNumber = 1
        edit.flushed = LogPosition(timeline: first, lsn: .zero, runningHash: 0)
        edit.lastCommitTime = 0
        edit.clock = .start
        edit.timelines = [TimelineOrigin(timeline: first, parent: nil, forkLSN: .zero, reason: .created)]
        return edit
    }
    private static let first = TimelineID(ordinal: 1, unique: UniqueID(high: 0, low: 1))

    private static var snapshot: VersionEdit {
        var edit = VersionEdit()
        edit.identity = identity
        edit.options = BoundOptions()
        edit.nextFileNumber = 9
        edit.flushed = LogPosition(timeline: LogFixture.timeline, lsn: LSN(40), runningHash: 0xAB)
        edit.lastCommitTime = 40_000
        edit.clock = .start
        edit.timelines = [
            TimelineOrigin(timeline: LogFixture.timeline, parent: nil, forkLSN: .zero, reason: .created)
        ]
        edit.origin = .checkpoint(of: LogPosition(timeline: LogFixture.timeline, lsn: LSN(40), runningHash: 0xAB))
        edit.slots = [RetentionSlot(name: "archive", lsn: LSN(4), capBytes: 1 << 30)]
        edit.floors = [FloorTable.Floor(slot: 5, version: 6), FloorTable.Floor(slot: 4095, version: .max)]
        edit.add(3, table(3, "a", "m", lsns: 1...20), level: 6)
        edit.add(4, table(4, "m\u{1}", "z", lsns: 2...19), level: 6)
        edit.add(6, table(6, "c", "p", lsns: 21...40), level: 0)
        return edit
    }

    /// What a flush says.
    private static var flush: VersionEdit {
        var edit = VersionEdit()
        edit.nextFileNumber = 10
        edit.flushed = LogPosition(timeline: second, lsn: LSN(60), runningHash: 0xCD)
        edit.lastCommitTime = 60_000
        edit.clock = StoreClockState(reading: 7_000, offset: -3, isFrozen: true)
        edit.timelines = [
            TimelineOrigin(timeline: second, parent: LogFixture.timeline, forkLSN: LSN(40), reason: .promotion)
        ]
        edit.origin = VersionEdit.OriginChange.none
        var properties = table(9, "b", "q", lsns: 41...60)
        properties.largestKeyIsExclusive = true
        properties.rangeTombstoneCount = 2
        properties.sourceVersionCount = 3
        properties.highestSourceVersion = 1 << 40
        properties.earliestUsableUntil = 100
        properties.latestUsableUntil = .max
        properties.expiryQuantiles = (1...16).map { $0 < 9 ? Timestamp($0) * 100 : .max }
        edit.add(9, properties, level: 0)
        return edit
    }

    /// What a compaction and a move say.
    private static var compaction: VersionEdit {
        var edit = VersionEdit()
        edit.nextFileNumber = 12
        edit.floors = [FloorTable.Floor(slot: 5, version: 8)]
        edit.remove(6, level: 0)
        edit.remove(3, level: 6)
        edit.remove(9, level: 0)
        edit.add(11, table(11, "a", "l", lsns: 1...40), level: 6)
        var moved = flush.added[0].properties
        moved.fileID = 9
        edit.add(9, moved, level: 5)
        return edit
    }

    /// What slots and clocks say.
    private static var housekeeping: VersionEdit {
        var edit = VersionEdit()
        edit.nextFileNumber = 12
        edit.clock = StoreClockState(reading: 9_000, offset: 0, isFrozen: false)
        edit.slots = [
            RetentionSlot(name: "follower \u{e9}", lsn: LSN(59), capBytes: 1),
            RetentionSlot(name: "feed", lsn: .zero, capBytes: .max),
        ]
        edit.removedSlots = ["archive", "never was"]
        return edit
    }

    private static func table(
        _ number: FileNumber, _ smallest: String, _ largest: String, lsns: ClosedRange<UInt64>
    ) -> TableProperties {
        var properties = TableProperties()
        properties.fileID = number
        properties.fileBytes = 4096 * number
        properties.contentHash = ContentHash(high: number, low: ~number)
        properties.smallestKey = FullKey.make(.default, Array(smallest.utf8))
        properties.largestKey = FullKey.make(.default, Array(largest.utf8))
        properties.putCount = 10
        properties.deleteCount = 2
        properties.smallestLSN = LSN(lsns.lowerBound)
        properties.largestLSN = LSN(lsns.upperBound)
        properties.smallestCommitTime = Timestamp(lsns.lowerBound) * 1000
        properties.largestCommitTime = Timestamp(lsns.upperBound) * 1000
        properties.latestUsableUntil = .max
        properties.expiryQuantiles = [Timestamp](repeating: .max, count: 16)
        properties.rawKeyBytes = 120
        properties.rawEntryBytes = 4000
        properties.storedDataBytes = 3000
        properties.dataBlockCount = 2
        return properties
    }

    /// What the writer makes of the edits today.
    static func written() throws -> [UInt8] {
        let system = try Golden.folder()
        let writer = try ManifestWriter(
            5, snapshot, identity: identity, timeline: LogFixture.timeline, editNumber: 31, salt: salt,
            in: Golden.directory, system)
        for edit in edits.dropFirst() { try writer.append(edit) }
        writer.close()
        return try Golden.take(name, from: system)
    }

    static func writtenCurrent() throws -> [UInt8] {
        let system = try Golden.folder()
        try CurrentFile.write(5, in: Golden.directory, system)
        return try Golden.take(.current, from: system)
    }

    static var mark: DegradedMarkFile {
        var file = DegradedMarkFile(storeID: LogFixture.storeID)
        file.mark = DegradedMarkFile.Mark(time: 1_700_000_000_000_000_000, cause: "no space left")
        file.floors.raise(FloorTable.Floor(slot: 0, version: 7))
        file.floors.raise(FloorTable.Floor(slot: 4095, version: 1 << 40))
        return file
    }

    static func writtenClose() throws -> [UInt8] {
        let system = try Golden.folder()
        try close.write(in: Golden.directory, system)
        return try Golden.take(.closed, from: system)
    }
}
