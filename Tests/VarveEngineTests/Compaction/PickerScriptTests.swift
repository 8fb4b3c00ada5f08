import Testing
import VarveTestSupport

@testable import VarveEngine

/// What the picker chooses of a version, the time and the space taken: as a script.
@Suite struct PickerScriptTests {
    @Test("Picker script") func script() throws {
        var sketch = PickerSketch()
        try ScriptTest.run("picker") { command in
            switch command.name {
            case "version":
                sketch = try PickerSketch(command)
                return sketch.targets
            case "pick": return try sketch.pick(command)
            case "manual": return try sketch.manual(command)
            default: return "no such command"
            }
        }
    }
}

/// A version drawn in a script, and the picker's options for it. Sizes are small numbers: base 100, tables of 10.
private struct PickerSketch {
    struct Unknown: Error, CustomStringConvertible { let description: String }

    private var options = CompactionOptions()
    private var invalidated: [FileNumber: Double] = [:]
    private var version = Version.empty(
        flushed: LogPosition(
            timeline: TimelineID(ordinal: 1, unique: UniqueID(high: 0, low: 1)), lsn: .zero, runningHash: 0))

    init() {}

    /// `version trigger=4 ...`, and lines of tables: `L0 7[a-m]`, with marks behind them: `bytes=50`, `lsn=5-9`,
    /// `deletes=9` (of ten entries), `ranges=1`, `until=90` (the latest deadline), `expired=8@50` (sixteenths of the bytes
    /// by that time), `dropped=8` (sixteenths of the bytes whose tags were dropped), `sources=1`, `time=70` (the latest
    /// commit time).
    init(_ command: ScriptCommand) throws {
        options.levelZeroTrigger = try command.integer("trigger") ?? 4
        options.levelZeroLimit = try command.integer("limit") ?? 8
        options.baseBytes = UInt64(try command.integer("base") ?? 100)
        options.tableBytes = 10
        options.compactionBytes = UInt64(try command.integer("compaction") ?? 400)
        options.runs = try command.integer("runs") ?? 0
        options.uncompressedLevels = try command.integer("uncompressed") ?? 0
        options.tombstoneAge = 60
        var edit = VersionEdit()
        for line in command.input {
            let words = line.split(separator: " ").map(String.init)
            guard words.count >= 2, let level = Int(words[0].dropFirst()) else { throw Unknown(description: line) }
            let (number, properties) = try Self.table(words[1], words.dropFirst(2))
            edit.add(number, properties, level: level)
            for mark in words where mark.hasPrefix("dropped=") {
                invalidated[number] = (Double(mark.dropFirst(8)) ?? 0) / 16
            }
        }
        version = try version.applying(edit, number: 1) { TableFile(number: $0, properties: $1) }.version
    }

    private static func table(
        _ drawn: String, _ marks: ArraySlice<String>
    ) throws -> (FileNumber, TableProperties) {
        let parts = drawn.split { "[]".contains($0) }.map(String.init)
        guard parts.count >= 2, let number = FileNumber(parts[0]) else { throw Unknown(description: drawn) }
        var properties = EditScript.properties(number, parts[1], "\(number * 10)-\(number * 10 + 9)")
        properties.fileBytes = 10
        properties.largestCommitTime = Timestamp(number)
        for mark in marks {
            let words = mark.split { "=@-".contains($0) }.map(String.init)
            let values = words.dropFirst().map { Int64($0) ?? 0 }
            switch words[0] {
            case "bytes": properties.fileBytes = UInt64(values[0])
            case "lsn":
                properties.smallestLSN = LSN(UInt64(values[0]))
                properties.largestLSN = LSN(UInt64(values[1]))
            case "deletes":
                properties.deleteCount = UInt64(values[0])
                properties.putCount = 10 - properties.deleteCount
            case "ranges": properties.rangeTombstoneCount = UInt64(values[0])
            case "until": properties.latestUsableUntil = values[0]
            case "expired":
                properties.expiryQuantiles = (0..<16).map { $0 < values[0] ? values[1] : .max }
            case "dropped": break
            case "sources": properties.sourceVersionCount = UInt64(values[0])
            case "time": properties.largestCommitTime = values[0]
            default: throw Unknown(description: mark)
            }
        }
        return (number, properties)
    }

    /// The base level, and how far each level is.
    var targets: String {
        let targets = LevelTargets(version, running: [], options: options)
        let levels = (targets.baseLevel..<version.levels.count).map { level in
            let target = targets.bytes[level] == .max ? "all" : "\(targets.bytes[level])"
            return "L\(level) \(version.levels[level].bytes)/\(target)"
        }
        return "base L\(targets.baseLevel): \(levels.joined(separator: " ")), "
            + "debt \(targets.debt(of: version, options: options))"
    }

    /// `pick now=50 time=100 budget=70 L5=m` (the last: where the compaction of that level before ended). `limit=25`: the
    /// entries that the namespace may have; `poor=3,3,4`: its passes over these tables found nothing; `after=m`: where the
    /// last one ended. `damaged=3,4`: these tables cannot be read.
    func pick(_ command: ScriptCommand) throws -> String {
        var cursors = [[UInt8]](repeating: [], count: Limits.levels)
        for level in 1..<Limits.levels {
            guard let key = command.value("L\(level)") else { continue }
            cursors[level] = FullKey.make(.default, Array(key.utf8))
        }
        var situation = CompactionPicker.Situation(
            now: Timestamp(try command.integer("now") ?? 0), commitTime: Timestamp(try command.integer("time") ?? 0),
            tableBudget: try command.integer("budget").map { UInt64($0) }, cursors: cursors)
        situation.damaged = Set(command.value("damaged")?.split(separator: ",").compactMap { FileNumber($0) } ?? [])
        situation.invalidated = invalidated
        if let limit = try command.integer("limit") {
            situation.limits = [.default: NamespaceLimit(entries: UInt64(limit))]
            var progress = QuotaProgress()
            for number in command.value("poor")?.split(separator: ",") ?? [] {
                progress.poor[FileNumber(number) ?? 0, default: 0] += 1
            }
            progress.cursor = command.value("after").map { FullKey.make(.default, Array($0.utf8)) } ?? []
            situation.quotaProgress = [.default: progress]
        }
        switch CompactionPicker(options: options).pick(version, situation) {
        case .none: return "nothing"
        case .drop(let drop):
            return "drop " + drop.tables.map { "L\($0.level) \($0.file.number)" }.joined(separator: ", ")
        case .move(let move):
            return "move " + move.tables.map { "L\($0.level) \($0.file.number)" }.joined(separator: ", ")
                + " to L\(move.outputLevel)"
        case .compact(let compaction): return Self.describe(compaction)
        }
    }

    /// `manual from=L0 keys=a-f`
    func manual(_ command: ScriptCommand) throws -> String {
        let range = command.value("keys").map { keys in
            let ends = keys.split(separator: "-").map { FullKey.make(.default, Array($0.utf8)) }
            return KeyRange(smallest: ends[0], largest: ends[1], isExclusive: true)
        }
        return (0..<Limits.levels).compactMap { level in
            CompactionPicker(options: options).manual(version, from: level, range).map { Self.describe($0) }
        }.joined(separator: "\n")
    }

    private static func describe(_ compaction: Compaction) -> String {
        func list(_ tables: [TableFile]) -> String { tables.map { "\($0.number)" }.joined(separator: " ") }
        let lower = compaction.lower.isEmpty ? "" : " with L\(compaction.outputLevel) \(list(compaction.lower))"
        let beneath = compaction.grandparents.isEmpty ? "" : ", above \(list(compaction.grandparents))"
        var reason = "\(compaction.reason)"
        if case .quota(let namespace) = compaction.reason { reason = "quota of \(namespace.rawValue)" }
        return "\(reason): L\(compaction.upperLevel) \(list(compaction.upper))\(lower)"
            + " to L\(compaction.outputLevel)\(compaction.isBottommost ? " (bottommost)" : "")\(beneath)"
            + compaction.quotas.map {
                ", namespace \($0.namespace.rawValue) loses \(Int($0.share * 100)) %\($0.isForced ? " by force" : "")"
            }.joined()
    }
}
