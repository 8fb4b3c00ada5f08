import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The damaged golden files: each is a good one with one thing done to it.
struct GoldenDamage: Sendable {
    /// The folder under `damaged`.
    let name: String
    let file: FileName
    let change: @Sendable (inout [UInt8]) throws -> Void

    init(_ name: String, _ file: FileName, _ change: @escaping @Sendable (inout [UInt8]) throws -> Void) {
        self.name = name
        self.file = file
        self.change = change
    }

    var path: String { "damaged/\(name)/\(file.text)" }

    static let all = log + manifest + table + small

    /// Reads a damaged file as the engine would, and says what came of it.
    static func outcome(_ bytes: [UInt8], _ file: FileName) -> String {
        do {
            switch file {
            case .log: return try recovered(bytes, file)
            case .manifest(let number): return try folded(bytes, file, number)
            case .table(let number):
                let table = try GoldenTable.open(bytes, number)
                try table.verify()
                return "whole"
            case .current:
                let system = try Golden.folder([file.text: bytes])
                return "names \(try CurrentFile.read(in: Golden.directory, system) ?? 0)"
            case .closed:
                let system = try Golden.folder([file.text: bytes])
                return "whole: \(try CleanClose.read(in: Golden.directory, system) == GoldenManifest.close)"
            case .lock:
                return "whole: \(try LockRecord(decoding: bytes) == GoldenManifest.lock)"
            case .degraded:
                let mark = try DegradedMarkFile(reading: bytes, path: file.text)
                return "whole: \(mark.mark == GoldenManifest.mark.mark && mark.floors == GoldenManifest.mark.floors)"
            }
        } catch let error as VarveError {
            return describe(error)
        } catch {
            return "\(error)"
        }
    }

    /// Code, place and message of an error.
    static func describe(_ error: VarveError) -> String {
        let place = error.offset.map { " at \($0)" } ?? ""
        return "\(error.code) in \(error.path ?? "no file")\(place)\n\(error.message)"
    }

    private static func recovered(_ bytes: [UInt8], _ file: FileName) throws -> String {
        let system = try Golden.folder([file.text: bytes])
        var recovery = LogRecovery(fileSystem: system, directory: Golden.directory, flushed: .zero)
        recovery.usesThread = false
        var frames = 0
        let result = try recovery.run { _ in frames += 1 }
        let cut = result.cut.map { "cut \($0.bytes) bytes at \($0.offset): \($0.reason)" } ?? "nothing cut"
        return "\(frames) frames up to LSN \(result.position.lsn)\n\(cut)"
    }

    private static func folded(_ bytes: [UInt8], _ file: FileName, _ number: FileNumber) throws -> String {
        let system = try Golden.folder([file.text: bytes])
        let reader = try ManifestReader.read(number, in: Golden.directory, system) {
            TableFile(number: $0, properties: $1)
        }
        try reader.state.options.check(path: file.path(in: Golden.directory))
        return "edits up to \(reader.editNumber), end at \(reader.end) of \(bytes.count)"
    }
}

// MARK: Log and manifest

extension GoldenDamage {
    private static let headerDamage: [(String, @Sendable (inout [UInt8]) -> Void)] = [
        ("header-flipped", { $0[200] ^= 0x10 }),
        ("header-truncated", { $0.removeSubrange(300...) }),
        ("magic-flipped", { $0[0] ^= 1 }),
        ("version-newer", { $0.resealHeader { $0[8] = 2 } }),
        ("version-older", { $0.resealHeader { $0[8] = 0 } }),
        // One bit from the version before, and still whole: damage, not an old file.
        ("version-flipped", { $0[8] ^= 1 }),
        ("version-zeroed", { for index in 8..<40 { $0[index] = 0 } }),
        // A later version's header may be longer: its version must show all the same.
        (
            "version-newer-layout",
            { bytes in
                bytes[8] = 2
                bytes[13] = 4
            }
        ),
        ("feature-required", { $0.resealHeader { $0[16 + 4] = 2 } }),
        ("feature-optional", { $0.resealHeader { $0[24] = 0x80 } }),
        // Another file under this name.
        ("renamed", { $0.resealHeader { $0[120] = 6 } }),
        ("encrypted", { $0.resealHeader { $0[64] = 3 } }),
    ]

    private static func segment(_ kind: String, _ file: FileName) -> [GoldenDamage] {
        headerDamage.map { GoldenDamage("\(kind)-\($0.0)", file, $0.1) }
    }

    /// Offsets of frames, as the inspector's text shows them.
    private static let log =
        segment("log", GoldenLog.name) + [
            GoldenDamage("log-frame-header-flipped", GoldenLog.name) { $0[686 + 16] ^= 4 },
            GoldenDamage("log-lz4-payload-flipped", GoldenLog.name) { $0[735 + 40] ^= 1 },
            GoldenDamage("log-stored-payload-flipped", GoldenLog.name) { $0[1080 + 100] ^= 0x80 },
            GoldenDamage("log-restart-flipped", GoldenLog.name) { $0[1705 + 30] ^= 1 },
            GoldenDamage("log-clock-flipped", GoldenLog.name) { $0[853 + 30] ^= 1 },
            GoldenDamage("log-timeline-flipped", GoldenLog.name) { $0[1632 + 30] ^= 1 },
            // Its length leads nowhere; what is behind is found all the same.
            GoldenDamage("log-length-flipped", GoldenLog.name) { $0[735 + 10] ^= 1 },
            GoldenDamage("log-zeros-within", GoldenLog.name) { bytes in
                for index in 897..<1017 { bytes[index] = 0 }
            },
            // Nothing says that the last frame had been synced: a tail.
            GoldenDamage("log-last-frame-flipped", GoldenLog.name) { $0[1893 + 30] ^= 1 },
            GoldenDamage("log-truncated", GoldenLog.name) { $0.removeSubrange(1920...) },
            GoldenDamage("log-truncated-to-a-frame", GoldenLog.name) { $0.removeSubrange(1893...) },
            GoldenDamage("log-kind-unknown-and-critical", GoldenLog.name) {
                $0.resealFrame(at: 971, GoldenLog.salt) { $0[13] |= 2 }
            },
            GoldenDamage("log-flag-unknown-and-critical", GoldenLog.name) {
                $0.resealFrame(at: 853, GoldenLog.salt) { $0[13] |= 0x40 }
            },
            GoldenDamage("log-codec-unknown", GoldenLog.name) {
                $0.resealFrame(at: 686, GoldenLog.salt) { $0[14] = 2 }
            },
            GoldenDamage("log-frame-encrypted", GoldenLog.name) {
                $0.resealFrame(at: 686, GoldenLog.salt) { $0[14] = 128 }
            },
            // Whole, and yet not what the running hash says stood here.
            GoldenDamage("log-record-changed", GoldenLog.name) {
                $0.resealFrame(at: 618, GoldenLog.salt) { $0[40] ^= 1 }
            },
        ]

    private static let manifest =
        segment("manifest", GoldenManifest.name) + [
            GoldenDamage("manifest-snapshot-flipped", GoldenManifest.name) { $0[512 + 300] ^= 1 },
            GoldenDamage("manifest-edit-flipped", GoldenManifest.name) { $0[1717 + 100] ^= 1 },
            GoldenDamage("manifest-last-edit-flipped", GoldenManifest.name) { $0[2914 + 50] ^= 1 },
            GoldenDamage("manifest-truncated", GoldenManifest.name) { $0.removeSubrange(2950...) },
            GoldenDamage("manifest-truncated-in-the-snapshot", GoldenManifest.name) { $0.removeSubrange(1700...) },
            GoldenDamage("manifest-without-edits", GoldenManifest.name) { $0.removeSubrange(512...) },
            GoldenDamage("manifest-field-unknown", GoldenManifest.name) { $0.replaceEdits { $0 + [27, 1, 0] } },
            GoldenDamage("manifest-field-unknown-and-even", GoldenManifest.name) {
                $0.replaceEdits { $0 + [28, 1, 0] }
            },
            GoldenDamage("manifest-store-feature", GoldenManifest.name) {
                $0.replaceEdits { $0 + options { $0.requiredFeatures = 8 } }
            },
            GoldenDamage("manifest-store-levels", GoldenManifest.name) {
                $0.replaceEdits { $0 + options { $0.levelCount = 9 } }
            },
            GoldenDamage("manifest-store-key-order", GoldenManifest.name) {
                $0.replaceEdits { $0 + options { $0.keyOrder = 1 } }
            },
            GoldenDamage("manifest-table-removed-twice", GoldenManifest.name) { bytes in
                var edit = VersionEdit()
                edit.remove(6, level: 0)
                bytes.replaceEdits { $0 + edit.encoded }
            },
        ]

    private static func options(_ change: (inout BoundOptions) -> Void) -> [UInt8] {
        var edit = VersionEdit()
        var options = BoundOptions()
        change(&options)
        edit.options = options
        return edit.encoded
    }
}

// MARK: Tables, CURRENT, CLOSED, LOCK

extension GoldenDamage {
    private static let mixed = GoldenTable.mixed.name

    /// Flips a byte in the first data block of a codec.
    private static func flipBlock(_ codec: BlockCodec, _ bytes: inout [UInt8]) throws {
        let table = try GoldenTable.open(bytes, 12)
        for block in 0..<table.index.count {
            let extent = try table.extent(of: block)
            guard bytes[extent.upperBound - 9] == codec.rawValue else { continue }
            bytes[extent.lowerBound + 20] ^= 1
            return
        }
        throw VarveError(.invalidArgument, "no block of that codec")
    }

    private static func flip(
        _ handle: KeyPath<TableFooter, BlockHandle>, _ bytes: inout [UInt8], mask: UInt8 = 1
    ) throws {
        let footer = try GoldenTable.open(bytes, 12).footer
        bytes[Int(footer[keyPath: handle].offset) + 10] ^= mask
    }

    private static let table = [
        GoldenDamage("table-lz4-block-flipped", mixed) { try flipBlock(.lz4, &$0) },
        GoldenDamage("table-stored-block-flipped", mixed) { try flipBlock(.stored, &$0) },
        GoldenDamage("table-filter-flipped", mixed) { try flip(\.filter, &$0) },
        GoldenDamage("table-index-flipped", mixed) { try flip(\.index, &$0) },
        GoldenDamage("table-range-tombstones-flipped", mixed) { try flip(\.rangeTombstones, &$0) },
        GoldenDamage("table-properties-flipped", mixed) { try flip(\.properties, &$0) },
        GoldenDamage("table-footer-flipped", mixed) { $0[$0.count - 100] ^= 1 },
        GoldenDamage("table-magic-flipped", mixed) { $0[$0.count - 1] ^= 1 },
        GoldenDamage("table-truncated", mixed) { $0.removeLast() },
        GoldenDamage("table-truncated-at-the-footer", mixed) { $0.removeLast(TableFooter.byteCount) },
        GoldenDamage("table-truncated-to-little", mixed) { $0.removeSubrange(100...) },
        GoldenDamage("table-longer", mixed) { $0.append(0) },
        GoldenDamage("table-version-newer", mixed) { $0.resealFooter { $0[0] = 1 } },
        GoldenDamage("table-version-newer-layout", mixed) { bytes in
            bytes[bytes.count - TableFooter.byteCount] = 1
            bytes[bytes.count - TableFooter.byteCount + 60] ^= 1
        },
        GoldenDamage("table-feature-required", mixed) { $0.resealFooter { $0[8] = 4 } },
        GoldenDamage("table-feature-optional", mixed) { $0.resealFooter { $0[16] = 4 } },
        GoldenDamage("table-file-id-changed", mixed) { $0.resealFooter { $0[24] = 13 } },
        GoldenDamage("table-tombstones-flipped", GoldenTable.tombstonesOnly.name) { $0[70] ^= 1 },
    ]

    private static let small = [
        GoldenDamage("current-name-flipped", .current) { $0[12] ^= 1 },
        GoldenDamage("current-check-flipped", .current) { $0[20] ^= 1 },
        GoldenDamage("current-truncated", .current) { $0.removeLast(4) },
        GoldenDamage("current-empty", .current) { $0 = [] },
        // A later version says more, or something else: it is refused, and its name is told.
        GoldenDamage("current-newer", .current) { $0 = Array("varve-current 2\n".utf8) + $0 },
        GoldenDamage("current-names-a-table", .current) { bytes in
            let name = Array("000005.sst".utf8)
            let check = name.lend { unsafe XXH3.hash64($0) }
            bytes = name + Array(" \(hexadecimal(check))\n".utf8)
        },
        GoldenDamage("closed-flipped", .closed) { $0[40] ^= 1 },
        GoldenDamage("closed-truncated", .closed) { $0.removeLast() },
        GoldenDamage("closed-longer", .closed) { $0.append(0) },
        GoldenDamage("closed-version-newer", .closed) { $0[8] = 1 },
        GoldenDamage("lock-flipped", .lock) { $0[20] ^= 1 },
        GoldenDamage("lock-truncated", .lock) { $0.removeLast(30) },
    ]
}

extension VersionEdit {
    var encoded: [UInt8] { ByteBuffer.made { encode(to: &$0) } }
}

// MARK: Changes that keep the checksums right

extension [UInt8] {
    fileprivate mutating func store(_ value: UInt64, at offset: Int) {
        for index in 0..<8 { self[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }

    /// Changes a segment's header and seals it again.
    mutating func resealHeader(_ change: (inout [UInt8]) -> Void) {
        change(&self)
        let end = LogFormat.headerBytes - 8
        store(Array(self[..<end]).lend { unsafe XXH3.hash64($0) }, at: end)
    }

    /// Changes the frame at `offset` and seals it again.
    fileprivate mutating func resealFrame(at offset: Int, _ salt: UInt64, _ change: (inout [UInt8]) -> Void) {
        let length = Int(self[offset + 8]) | Int(self[offset + 9]) << 8
        var frame = Array(self[offset..<offset + length])
        change(&frame)
        LogFixture.seal(&frame, salt: salt)
        replaceSubrange(offset..<offset + length, with: frame)
    }

    /// Makes the manifest anew with its last edit changed.
    fileprivate mutating func replaceEdits(_ change: ([UInt8]) -> [UInt8]) {
        let header = SegmentHeader(
            magic: LogFormat.manifestMagic, storeID: LogFixture.storeID, nodeID: LogFixture.nodeID,
            timeline: LogFixture.timeline, firstLSN: LSN(31), runningHash: 0, time: 30, salt: GoldenManifest.salt,
            fileNumber: 5)
        let encoder = FrameEncoder(
            salt: header.salt, position: header.position, lastCommitTime: header.time, compresses: false)
        self = header.encoded()
        for (number, edit) in GoldenManifest.edits.enumerated() {
            let payload = number + 1 == GoldenManifest.edits.count ? change(edit.encoded) : edit.encoded
            self += encoder.make(payload, kind: .versionEdit, flags: .critical, step: 1).bytes
        }
    }

    /// Changes a table's footer and seals it again.
    fileprivate mutating func resealFooter(_ change: (inout [UInt8]) -> Void) {
        var footer = Array(self[(count - TableFooter.byteCount)...])
        change(&footer)
        footer.store(Array(footer[..<112]).lend { unsafe XXH3.hash64($0) }, at: 112)
        replaceSubrange((count - TableFooter.byteCount)..., with: footer)
    }
}
