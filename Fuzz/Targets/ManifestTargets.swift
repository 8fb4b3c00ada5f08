import VarveIO

@testable import VarveEngine

/// Version edits, manifests, and the small files beside them.
extension FuzzTarget {
    static let versionEdit = FuzzTarget(
        name: "version-edit",
        decode: { bytes in
            accepts {
                var reader = ByteReader(bytes)
                let edit = try VersionEdit.decode(from: &reader)
                let again = ByteBuffer.made { edit.encode(to: &$0) }
                let second = try again.withBytes { bytes throws(DecodeError) in
                    var reader = ByteReader(bytes)
                    return try VersionEdit.decode(from: &reader)
                }
                precondition(second == edit, "a version edit changed as it was encoded again")
                _ = accepts { try use(edit) }
            }
        },
        seeds: {
            [
                ("snapshot", ByteBuffer.made { ManifestSeeds.snapshot.encode(to: &$0) }),
                ("change", ByteBuffer.made { ManifestSeeds.change.encode(to: &$0) }),
            ]
        })

    static let manifest = FuzzTarget(
        name: "manifest",
        decode: { bytes in
            let number = LogSeeds.header.fileNumber
            let path = "/" + FileName.manifest(number).text
            let files = MemoryFiles(path, Array(bytes))
            return accepts {
                let reader = try ManifestReader.read(number, in: "", files) { TableFile(number: $0, properties: $1) }
                try reader.state.options.check(path: path)
                _ = ByteBuffer.made { reader.state.snapshot(of: reader.version).encode(to: &$0) }
            }
        },
        repair: { FrameRepair.repairSegment(&$0, magic: LogFormat.manifestMagic) },
        seeds: { [("two-edits", ManifestSeeds.manifest)] })

    static let closed = FuzzTarget(
        name: "closed",
        decode: { bytes in accepts { _ = try CleanClose(decoding: bytes) } },
        repair: { bytes in
            guard bytes.count >= 8 else { return }
            let end = bytes.count - 8
            bytes.setNumber(bytes.hash(0..<end), at: end)
        },
        seeds: {
            let files = MemoryFiles()
            let close = CleanClose(log: ManifestSeeds.position, manifest: 5, manifestBytes: 4096)
            try close.write(in: "", files)
            return [("closed", files.bytes(FileName.closed.path(in: "")))]
        })

    static let current = FuzzTarget(
        name: "current",
        decode: { bytes in
            let files = MemoryFiles(FileName.current.path(in: ""), Array(bytes))
            return accepts { _ = try CurrentFile.read(in: "", files) }
        },
        repair: { bytes in
            let name = String(decoding: bytes.prefix { $0 != 0x20 && $0 != 0x0A }, as: UTF8.self)
            let check = Array(name.utf8)
            bytes = Array("\(name) \(hexadecimal(check.hash(0..<check.count)))\n".utf8)
        },
        seeds: {
            let files = MemoryFiles()
            try CurrentFile.write(5, in: "", files)
            return [("current", files.bytes(FileName.current.path(in: "")))]
        })

    static let lock = FuzzTarget(
        name: "lock",
        decode: { bytes in
            accepts {
                let record = try LockRecord(decoding: Array(bytes))
                precondition(record.processID > 0 && !record.holder.isEmpty)
            }
        },
        repair: { bytes in
            var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
            lines = Array(lines.dropLast(2))
            let text = Array(lines.joined(separator: [0x0A])) + [0x0A]
            bytes = text + Array("check \(hexadecimal(text.hash(0..<text.count)))\n".utf8)
        },
        seeds: {
            let record = LockRecord(
                processID: 1234, bootID: "7d7d", started: 1_700_000_000, program: "a%b\nc", socketPath: "/run/v.sock")
            return [("held", record.encoded())]
        })

    static let degraded = FuzzTarget(
        name: "degraded",
        decode: { bytes in
            accepts {
                let file = try DegradedMarkFile(decoding: bytes)
                let again = try DegradedMarkFile(reading: file.encoded(), path: "")
                let isSame = again.mark?.time == file.mark?.time && again.floors == file.floors
                precondition(isSame, "a mark changed as it was read back")
            }
        },
        repair: { bytes in
            guard bytes.count >= DegradedMarkFile.sectorBytes else { return }
            bytes.setNumber(bytes.hash(0..<504), at: 504)
        },
        seeds: {
            var file = DegradedMarkFile(storeID: LogSeeds.header.storeID)
            file.mark = DegradedMarkFile.Mark(time: 9, cause: "no space left")
            file.floors.raise(FloorTable.Floor(slot: 1, version: 7))
            return [("set", Array(file.encoded().prefix(2 * DegradedMarkFile.sectorBytes)))]
        })

    private static func use(_ edit: VersionEdit) throws {
        var state = try ManifestState(snapshot: ManifestSeeds.snapshot)
        let make = { TableFile(number: $0, properties: $1) }
        let before = try Version.empty(flushed: state.flushed)
            .applying(ManifestSeeds.snapshot, number: 1, makeTable: make).version
        _ = accepts { _ = try ManifestState(snapshot: edit) }
        try state.apply(edit)
        let after = try before.applying(edit, number: 2, makeTable: make).version
        _ = ByteBuffer.made { state.snapshot(of: after).encode(to: &$0) }
    }
}

/// Small manifests.
enum ManifestSeeds {
    static let position = LogPosition(timeline: LogSeeds.timeline, lsn: LSN(12), runningHash: 99)

    static var snapshot: VersionEdit {
        var edit = VersionEdit()
        edit.identity = StoreIdentity(storeID: LogSeeds.header.storeID, nodeID: LogSeeds.header.nodeID)
        edit.options = BoundOptions()
        edit.nextFileNumber = 5
        edit.flushed = position
        edit.lastCommitTime = 10
        edit.clock = .start
        edit.timelines = [
            TimelineOrigin(timeline: LogSeeds.timeline, parent: nil, forkLSN: .zero, reason: .created)
        ]
        edit.added = [VersionEdit.AddedTable(level: 1, number: 3, properties: TableSeeds.properties)]
        return edit
    }

    static var change: VersionEdit {
        var edit = VersionEdit()
        edit.nextFileNumber = 9
        edit.lastCommitTime = 20
        edit.clock = StoreClockState(reading: 7, offset: -3, isFrozen: true)
        edit.slots = [RetentionSlot(name: "archive", lsn: LSN(4), capBytes: 1 << 20)]
        edit.removedSlots = ["gone"]
        edit.floors = [FloorTable.Floor(slot: 5, version: 6), FloorTable.Floor(slot: 4095, version: 1)]
        edit.removed = [VersionEdit.RemovedTable(level: 1, number: 3)]
        edit.added = [VersionEdit.AddedTable(level: 2, number: 3, properties: TableSeeds.properties)]
        edit.origin = .checkpoint(of: position)
        return edit
    }

    static var manifest: [UInt8] {
        var header = LogSeeds.header
        header.magic = LogFormat.manifestMagic
        let encoder = FrameEncoder(
            salt: header.salt, position: header.position, lastCommitTime: header.time, compresses: false)
        var bytes = header.encoded()
        for edit in [snapshot, change] {
            let payload = ByteBuffer.made { edit.encode(to: &$0) }
            bytes += payload.withBytes { payload in
                Array(
                    encoder.encode(
                        .versionEdit, payload, count: 1, commitTime: encoder.lastCommitTime + 1, flags: .critical,
                        syncedLSN: encoder.position.lsn))
            }
        }
        return bytes
    }
}
