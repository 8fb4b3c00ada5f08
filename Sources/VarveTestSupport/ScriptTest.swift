internal import Foundation

/// Tests written as a script: commands, a separator, and the text that each command must print.
///
///     # a comment
///     name argument key=value
///     input line
///     ----
///     expected text
///
/// A case ends at the first blank line after its separator. Expected text that holds blank lines itself is enclosed in
/// a second separator (`----` twice in a row before it and once more after it). With `VARVE_REWRITE=1` in the
/// environment the expected text is replaced by what was printed, to be reviewed as a diff.
///
/// The idea is SQLite's and CockroachDB's ("datadriven"): a wide table of behaviour is cheap to write, and a change of
/// behaviour shows as text.
public enum ScriptTest {
    /// Whether this run replaces expected texts instead of comparing them: `VARVE_REWRITE=1`.
    public static var isRewriting: Bool { ProcessInfo.processInfo.environment["VARVE_REWRITE"] == "1" }

    /// Runs the script `Scripts/name` of the calling test's target. `body` returns what a command prints; what it
    /// throws is printed as `error: ...`. Throws one `ScriptFailure` that lists every difference.
    public static func run(
        _ name: String, beside file: StaticString = #filePath, _ body: (ScriptCommand) throws -> String
    ) throws {
        var folder = URL(fileURLWithPath: "\(file)").deletingLastPathComponent()
        while !FileManager.default.fileExists(atPath: folder.appendingPathComponent("Scripts").path), folder.path != "/"
        {
            folder.deleteLastPathComponent()
        }
        let path = folder.appendingPathComponent("Scripts").appendingPathComponent(name).path
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let result = try run(script: text, named: name, body)
        if isRewriting {
            if result.rewritten != text {
                try result.rewritten.write(toFile: path, atomically: true, encoding: .utf8)
            }
        } else if !result.differences.isEmpty {
            throw ScriptFailure(script: name, differences: result.differences)
        }
    }

    /// What running a script gave: the script with its expected texts replaced, and where they differed.
    public struct Result {
        public var rewritten: String
        public var differences: [String]
        public var commands: Int
    }

    /// Runs a script given as text.
    public static func run(
        script: String, named name: String, _ body: (ScriptCommand) throws -> String
    ) throws -> Result {
        var result = Result(rewritten: "", differences: [], commands: 0)
        var parser = ScriptParser(script, named: name)
        for item in try parser.items() {
            switch item {
            case .text(let line):
                result.rewritten += line + "\n"
            case .example(let command, let head, let expected):
                result.commands += 1
                var printed: String
                do { printed = try body(command) } catch { printed = "error: \(error)" }
                while printed.hasSuffix("\n") { printed.removeLast() }
                let lines = printed.isEmpty ? [] : printed.split(separator: "\n", omittingEmptySubsequences: false)
                result.rewritten += render(head: head, lines: lines.map(String.init))
                if lines.map(String.init) != expected {
                    let want = expected.joined(separator: "\n")
                    result.differences.append(
                        "\(name):\(command.line): \(command.text)\n--- expected\n\(want)\n--- printed\n\(printed)")
                }
            }
        }
        // A script ends in exactly one newline, however its last case ended.
        while result.rewritten.hasSuffix("\n\n") { result.rewritten.removeLast() }
        return result
    }

    private static func render(head: [String], lines: [String]) -> String {
        var text = head.joined(separator: "\n") + "\n----\n"
        let enclose = lines.contains("")
        if enclose { text += "----\n" }
        for line in lines { text += line + "\n" }
        if enclose { text += "----\n" }
        return text + "\n"
    }
}

/// One command of a script.
public struct ScriptCommand {
    public let name: String
    /// The words after the name, `key=value` or bare, in order.
    public let arguments: [String]
    /// The lines between the command and the separator.
    public let input: [String]
    /// The line of the script, from 1.
    public let line: Int
    public var text: String { ([name] + arguments).joined(separator: " ") }

    /// The value of `key=value`.
    public func value(_ key: String) -> String? {
        for argument in arguments where argument.hasPrefix(key + "=") {
            return String(argument.dropFirst(key.count + 1))
        }
        return nil
    }
    /// The value of `key=number`.
    public func integer(_ key: String) throws -> Int? {
        guard let text = value(key) else { return nil }
        guard let number = Int(text) else {
            throw ScriptFailure(script: "line \(line)", differences: ["\(key)=\(text)"])
        }
        return number
    }
    /// Whether the bare word stands among the arguments.
    public func has(_ word: String) -> Bool { arguments.contains(word) }
}

/// A script whose printed text differs from the expected text, or that cannot be read.
public struct ScriptFailure: Error, CustomStringConvertible {
    public let script: String
    public let differences: [String]
    public var description: String {
        "\(script): \(differences.count) difference(s); VARVE_REWRITE=1 rewrites the script\n"
            + differences.joined(separator: "\n\n")
    }
}

/// Splits a script into its cases and what stands between them.
private struct ScriptParser {
    enum Item {
        case text(String)
        case example(ScriptCommand, head: [String], expected: [String])
    }
    private static let separator = "----"
    private let lines: [String]
    private let name: String
    private var next = 0

    init(_ script: String, named name: String) {
        var lines = script.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        self.lines = lines
        self.name = name
    }

    mutating func items() throws -> [Item] {
        var items: [Item] = []
        while next < lines.count {
            let line = lines[next]
            if line.isEmpty || line.hasPrefix("#") {
                items.append(.text(line))
                next += 1
            } else {
                items.append(try example())
            }
        }
        return items
    }

    private mutating func example() throws -> Item {
        let first = next
        var head: [String] = []
        while next < lines.count, lines[next] != Self.separator {
            head.append(lines[next])
            next += 1
        }
        guard next < lines.count else {
            throw ScriptFailure(script: name, differences: ["line \(first + 1): a command without ----"])
        }
        next += 1
        let expected = expectedText()
        let words = head[0].split(separator: " ").map(String.init)
        let command = ScriptCommand(
            name: words.first ?? "", arguments: Array(words.dropFirst()), input: Array(head.dropFirst()),
            line: first + 1)
        return .example(command, head: head, expected: expected)
    }

    private mutating func expectedText() -> [String] {
        var expected: [String] = []
        let enclosed = next < lines.count && lines[next] == Self.separator
        if enclosed { next += 1 }
        let stop = enclosed ? Self.separator : ""
        while next < lines.count, lines[next] != stop {
            expected.append(lines[next])
            next += 1
        }
        if next < lines.count { next += 1 }
        if enclosed, next < lines.count, lines[next].isEmpty { next += 1 }
        return expected
    }
}
