import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Version edits as bytes with their fields named, and what a run of edits makes of a store: as a script.
@Suite struct ManifestScriptTests {
    private struct Store {
        var state: ManifestState
        var version: Version
        var number: UInt64 = 1

        init() throws {
            state = try ManifestState(snapshot: GoldenManifest.start)
            version = .empty(flushed: state.flushed)
        }

        mutating func apply(_ edit: VersionEdit) throws {
            var next = state
            try next.apply(edit)
            version = try version.applying(edit, number: number + 1) { TableFile(number: $0, properties: $1) }.version
            state = next
            number += 1
        }

        var text: String {
            var lines: [String] = []
            for (level, content) in version.levels.enumerated() where !content.tables.isEmpty {
                let tables = content.tables.map { table in
                    "\(table.number)[\(EditScript.key(table.properties.smallestKey))-"
                        + EditScript.key(table.properties.largestKey)
                        + "\(table.properties.largestKeyIsExclusive ? ")" : "]")"
                        + "@\(table.properties.smallestLSN)-\(table.properties.largestLSN)"
                }
                lines.append("level \(level): \(tables.joined(separator: " "))")
            }
            lines.append(
                "next \(state.nextFileNumber), flushed \(state.flushed.lsn), commit time \(state.lastCommitTime), clock "
                    + "\(state.clock.reading)\(state.clock.offset < 0 ? "" : "+")\(state.clock.offset)"
                    + (state.clock.isFrozen ? " frozen" : ""))
            lines.append("timelines \(state.timelines.origins.map { "\($0.timeline.ordinal)>\($0.forkLSN)" })")
            for slot in state.slots.values.sorted(by: { $0.name < $1.name }) {
                lines.append("slot \(slot.name) at \(slot.lsn), cap \(slot.capBytes)")
            }
            if let origin = state.checkpointOrigin { lines.append("checkpoint of LSN \(origin.lsn)") }
            for floor in version.floors.raised { lines.append("floor \(floor.slot): \(floor.version)") }
            return lines.joined(separator: "\n")
        }
    }

    @Test("Manifest script: edits as bytes, and what they make of a store") func script() throws {
        var store = try Store()
        try ScriptTest.run("manifest-edits") { command in
            switch command.name {
            case "reset":
                store = try Store()
                return store.text
            case "encode":
                return EditScript.annotated(try EditScript.edit(command.input).encoded)
            case "decode":
                return EditScript.decoded(EditScript.bytes(command.input))
            case "apply":
                try store.apply(try EditScript.edit(command.input))
                return store.text
            case "snapshot":
                // What a new manifest begins with says the same as the edits so far.
                let snapshot = store.state.snapshot(of: store.version)
                let again = try ManifestState(snapshot: snapshot)
                #expect(again == store.state)
                return VersionEditText.lines(snapshot).joined(separator: "\n")
            default: return "no such command"
            }
        }
    }
}

/// Edits as lines of a script, and their bytes as annotated lines.
enum EditScript {
    struct Unknown: Error, CustomStringConvertible { let description: String }

    /// One field a line: `add 0 12 a-m 5-9`, `remove 0 12`, `next 13`, `flushed 9`, `time 9000`, `clock 10 -3 frozen`,
    /// `timeline 2 after 9`, `slot name 5 100`, `unslot name`, `floor 7 99`, `checkpoint 9`, `no-checkpoint`.
    static func edit(_ lines: [String]) throws -> VersionEdit {
        var edit = VersionEdit()
        for line in lines {
            let words = line.split(separator: " ").map(String.init)
            let numbers = words.dropFirst().map { Int64($0) ?? 0 }
            switch words[0] {
            case "next": edit.nextFileNumber = UInt64(numbers[0])
            case "flushed": edit.flushed = position(numbers[0])
            case "time": edit.lastCommitTime = numbers[0]
            case "clock":
                edit.clock = StoreClockState(
                    reading: numbers[0], offset: numbers[1], isFrozen: words.contains("frozen"))
            case "timeline":
                let parent = numbers[0] == 1 ? nil : timeline(numbers[0] - 1)
                edit.timelines.append(
                    TimelineOrigin(
                        timeline: timeline(numbers[0]), parent: parent, forkLSN: LSN(UInt64(numbers[2])),
                        reason: parent == nil ? .created : .promotion))
            case "slot":
                edit.slots.append(
                    RetentionSlot(name: words[1], lsn: LSN(UInt64(numbers[1])), capBytes: UInt64(numbers[2])))
            case "unslot": edit.removedSlots.append(words[1])
            case "floor":
                edit.floors.append(FloorTable.Floor(slot: UInt16(numbers[0]), version: UInt64(numbers[1])))
            case "checkpoint": edit.origin = .checkpoint(of: position(numbers[0]))
            case "no-checkpoint": edit.origin = VersionEdit.OriginChange.none
            case "remove": edit.remove(UInt64(numbers[1]), level: Int(numbers[0]))
            case "add":
                edit.add(UInt64(numbers[1]), properties(UInt64(numbers[1]), words[3], words[4]), level: Int(numbers[0]))
            default: throw Unknown(description: "no field \(words[0])")
            }
        }
        return edit
    }

    private static func timeline(_ ordinal: Int64) -> TimelineID {
        TimelineID(ordinal: UInt32(ordinal), unique: UniqueID(high: 0, low: UInt64(ordinal)))
    }
    private static func position(_ lsn: Int64) -> LogPosition {
        LogPosition(timeline: timeline(1), lsn: LSN(UInt64(lsn)), runningHash: 0xAA)
    }

    /// Keys `a-m`, or `a-m)` where the last is the end of a range tombstone; LSNs `5-9`.
    static func properties(_ number: FileNumber, _ keys: String, _ lsns: String) -> TableProperties {
        var properties = TableProperties()
        properties.fileID = number
        properties.fileBytes = 1000
        let ends = keys.split(separator: "-").map(String.init)
        properties.largestKeyIsExclusive = ends[1].hasSuffix(")")
        properties.rangeTombstoneCount = ends[1].hasSuffix(")") ? 1 : 0
        properties.smallestKey = FullKey.make(.default, Array(ends[0].utf8))
        properties.largestKey = FullKey.make(.default, Array(ends[1].filter { $0 != ")" }.utf8))
        let span = lsns.split(separator: "-").map { UInt64($0) ?? 0 }
        properties.smallestLSN = LSN(span[0])
        properties.largestLSN = LSN(span[1])
        properties.putCount = 10
        properties.latestUsableUntil = .max
        return properties
    }

    static func key(_ full: [UInt8]) -> String {
        String(decoding: full.dropFirst(FullKey.namespaceBytes), as: UTF8.self)
    }

    /// Annotated hex to bytes: what stands behind a # is for the reader.
    static func bytes(_ lines: [String]) -> [UInt8] {
        let digits = lines.flatMap { line in line.prefix { $0 != "#" }.filter { !$0.isWhitespace } }
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(digits[$0...($0 + 1)]), radix: 16)
        }
    }

    /// One line a field: tag, length and body, and what the field is.
    static func annotated(_ bytes: [UInt8]) -> String {
        var lines: [String] = []
        var rest = bytes[...]
        while let tag = rest.first, rest.count >= 2 {
            // Lengths of one byte, or of two.
            let second = rest[rest.startIndex + 1]
            let head = second < 0x80 ? 2 : 3
            let length = second < 0x80 ? Int(second) : Int(second & 0x7F) | Int(rest[rest.startIndex + 2]) << 7
            let field = rest.prefix(head + length)
            let name = VersionEdit.Tag(rawValue: UInt64(tag)).map { "\($0)" } ?? "unknown"
            lines.append(hex(field.prefix(head)) + " # \(name), \(length) bytes")
            let body = Array(field.dropFirst(head))
            lines += stride(from: 0, to: body.count, by: 24).map { "  " + hex(body[$0..<min($0 + 24, body.count)]) }
            rest = rest.dropFirst(head + length)
        }
        return lines.joined(separator: "\n")
    }

    private static func hex(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }

    static func decoded(_ bytes: [UInt8]) -> String {
        bytes.lend { bytes in
            var reader = unsafe ByteReader(bytes)
            do {
                return VersionEditText.lines(try VersionEdit.decode(from: &reader)).joined(separator: "\n")
            } catch {
                return "refused: \(error)"
            }
        }
    }
}
