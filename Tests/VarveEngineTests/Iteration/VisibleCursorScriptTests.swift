import Testing
import VarveTestSupport

@testable import VarveEngine

/// What a reader sees of several sources, forward and backward: as a script.
@Suite struct VisibleCursorScriptTests {
    @Test("Cursor script") func script() throws {
        var sources = DrawnSources()
        try ScriptTest.run("visible-cursor") { command in
            switch command.name {
            case "sources":
                sources = try DrawnSources(command.input)
                return ""
            case "scan": return try walk(sources, command)
            case "merge": return try sources.merged()
            default: return "no such command"
            }
        }
    }

    /// `scan at=9 now=50 from=b to=m prefix=x`, then moves: first last next prev seek-KEY before-KEY all back.
    private func walk(_ sources: DrawnSources, _ command: ScriptCommand) throws -> String {
        func bound(_ name: String) -> [UInt8]? { command.value(name).map { Array($0.utf8) } }
        let bounds = KeyBounds(
            namespace: .default, prefix: bound("prefix") ?? [], from: bound("from"), to: bound("to"))
        let cursor = VisibleCursor(
            try sources.cursor(), bounds: bounds, snapshot: try command.integer("at").map { LSN(UInt64($0)) } ?? .max,
            now: Timestamp(try command.integer("now") ?? 0), tombstones: sources.tombstones)
        var shown: [String] = []
        for move in command.input.flatMap({ $0.split(separator: " ").map(String.init) }) {
            switch move {
            case "first": try cursor.seekToFirst()
            case "last": try cursor.seekToLast()
            case "next": try cursor.next()
            case "prev": try cursor.previous()
            case "all":
                try cursor.seekToFirst()
                while cursor.isValid {
                    shown.append(Self.entry(cursor))
                    try cursor.next()
                }
                continue
            case "back":
                try cursor.seekToLast()
                while cursor.isValid {
                    shown.append(Self.entry(cursor))
                    try cursor.previous()
                }
                continue
            default:
                let words = move.split(separator: "-").map(String.init)
                let key = FullKey.make(.default, Array((words.count > 1 ? words[1] : "").utf8))
                if words[0] == "seek" {
                    try key.lend { unsafe try cursor.seek(to: $0) }
                } else {
                    try key.lend { unsafe try cursor.seek(before: $0) }
                }
            }
            shown.append(cursor.isValid ? Self.entry(cursor) : "end")
        }
        return shown.isEmpty ? "nothing" : shown.joined(separator: " ")
    }

    private static func entry(_ cursor: VisibleCursor) -> String {
        unsafe "\(String(decoding: cursor.userKey, as: UTF8.self))=\(String(decoding: cursor.value, as: UTF8.self))"
            + "@\(cursor.version)"
    }
}

/// Sources of a merge as a script draws them, newest first: one a line, `SOURCE: a@5=x b@4- c@3=y~50 [d,f)@9`, that is
/// puts, a delete, a put that is usable until 50, a range tombstone. `level:` cuts its versions into tables of two.
struct DrawnSources {
    struct Unknown: Error, CustomStringConvertible { let description: String }
    struct Source {
        var isLevel: Bool
        var versions: [TestVersion] = []
        var tombstones: [RangeTombstone] = []
    }

    var sources: [Source] = []

    init() {}

    init(_ lines: [String]) throws {
        for line in lines {
            let words = line.split(separator: " ").map(String.init)
            var source = Source(isLevel: words.first == "level:")
            for word in words.dropFirst() {
                if word.hasPrefix("[") {
                    source.tombstones.append(try Self.tombstone(word))
                } else {
                    source.versions.append(try Self.version(word))
                }
            }
            sources.append(source)
        }
    }

    static func key(_ user: some StringProtocol) -> [UInt8] { FullKey.make(.default, Array(user.utf8)) }

    /// `[a,c)@7`; an empty end is the end of the namespace.
    static func tombstone(_ word: String) throws -> RangeTombstone {
        let parts = word.split(omittingEmptySubsequences: false) { "[,)@".contains($0) }
        guard parts.count == 5, let lsn = UInt64(parts[4]) else { throw Unknown(description: word) }
        let end = parts[2].isEmpty ? FullKey.make(NamespaceID(rawValue: 17), []) : key(parts[2])
        return RangeTombstone(begin: key(parts[1]), end: end, lsn: LSN(lsn))
    }

    /// `a@5=value`, `a@5-`, `a@5=value~50` (deadline), `a@5=value^9` or `a@5-^9` (source version).
    static func version(_ word: String) throws -> TestVersion {
        let head = word.split(separator: "@", maxSplits: 1)
        guard head.count == 2 else { throw Unknown(description: word) }
        let digits = head[1].prefix { $0.isNumber }
        guard let lsn = UInt64(digits) else { throw Unknown(description: word) }
        var rest = head[1].dropFirst(digits.count)
        var fields = EntryFields()
        if let mark = rest.firstIndex(of: "^") {
            fields.sourceVersion = UInt64(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        if let mark = rest.firstIndex(of: "~") {
            fields.usableUntil = Timestamp(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        let isDelete = rest == "-"
        guard isDelete || rest.hasPrefix("=") else { throw Unknown(description: word) }
        let value = isDelete ? [] : Array(rest.dropFirst().utf8)
        return TestVersion(
            key(head[0]), lsn, isDelete ? .delete : .put, entry: TestVersion.entry(fields, value: value))
    }

    var tombstones: [RangeTombstones] { sources.map { RangeTombstones($0.tombstones) } }

    func cursor() throws -> MergingCursor {
        MergingCursor(
            sources.map { source in
                source.isLevel
                    ? .other(arrayLevel(source.versions, tableSize: 2)) : .other(ArrayCursor(source.versions))
            })
    }

    /// Every version in the order of the merge.
    func merged() throws -> String {
        let merge = try cursor()
        var shown: [String] = []
        try merge.seekToFirst()
        while merge.isValid {
            shown.append(Self.describe(TestVersion(merge)))
            try merge.next()
        }
        return shown.isEmpty ? "nothing" : shown.joined(separator: " ")
    }

    /// A version as it is drawn.
    static func describe(_ version: TestVersion) -> String {
        let key = EditScript.key(version.key)
        let (value, marks) = version.entry.lend { bytes -> (String, String) in
            guard let view = try? unsafe EntryView(bytes) else { return ("", "?") }
            let until = view.usableUntil == .max ? "" : "~\(view.usableUntil)"
            let source = view.sourceVersion.map { "^\($0)" } ?? ""
            return (unsafe String(decoding: view.value, as: UTF8.self), until + source)
        }
        return version.trailer.kind == .delete
            ? "\(key)@\(version.lsn)-\(marks)" : "\(key)@\(version.lsn)=\(value)\(marks)"
    }
}
