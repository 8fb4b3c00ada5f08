/// A Swift source with its code and its comments apart, line by line: enough of a lexer for the tidy rules. String
/// contents are blanked, so that braces and words in them do not count.
struct SwiftText {
    private(set) var code: [String] = [""]
    private(set) var comments: [String] = [""]

    private enum State: Equatable {
        case code
        case lineComment
        case blockComment(depth: Int)
        case string(hashes: Int, isMultiline: Bool)
    }

    private var state = State.code
    /// For each interpolation that is open: the string around it and the parentheses open within.
    private var interpolations: [(string: State, parentheses: Int)] = []

    private let bytes: [UInt8]

    init(_ text: String) {
        bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            if bytes[index] == 0x0A {
                endLine()
                index += 1
            } else {
                index += step(index)
            }
        }
    }

    private mutating func endLine() {
        code.append("")
        comments.append("")
        if state == .lineComment { state = .code }
        if case .string(_, false) = state { state = .code }
    }

    private func starts(_ index: Int, _ word: String) -> Bool {
        index + word.utf8.count <= bytes.count && bytes[index..<index + word.utf8.count].elementsEqual(word.utf8)
    }

    /// The bytes from `index` up to the first of `stops` behind it or the line's end: what one step takes at least.
    private func plain(_ index: Int, stops: String) -> Range<Int> {
        var end = index + 1
        while end < bytes.count, bytes[end] != 0x0A, !stops.utf8.contains(bytes[end]) { end += 1 }
        return index..<end
    }

    private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    /// Takes what stands at `index`; how many bytes that was.
    private mutating func step(_ index: Int) -> Int {
        switch state {
        case .code: return stepInCode(index)
        case .lineComment:
            let range = plain(index, stops: "")
            comments[comments.count - 1] += text(range)
            return range.count
        case .blockComment(let depth): return stepInBlockComment(index, depth)
        case .string(let hashes, let isMultiline): return stepInString(index, hashes, isMultiline)
        }
    }

    private mutating func stepInCode(_ index: Int) -> Int {
        if starts(index, "//") {
            state = .lineComment
            return 2
        }
        if starts(index, "/*") {
            state = .blockComment(depth: 1)
            return 2
        }
        let hashes = bytes[index...].prefix { $0 == UInt8(ascii: "#") }.count
        if starts(index + hashes, "\"") {
            let isMultiline = starts(index + hashes, "\"\"\"")
            state = .string(hashes: hashes, isMultiline: isMultiline)
            code[code.count - 1] += "\""
            return hashes + (isMultiline ? 3 : 1)
        }
        if closesInterpolation(bytes[index]) { return 1 }
        let range = plain(index, stops: "/\"#()")
        code[code.count - 1] += text(range)
        return range.count
    }

    /// Counts parentheses within an interpolation; true for the one that leads back into the string.
    private mutating func closesInterpolation(_ byte: UInt8) -> Bool {
        guard let open = interpolations.popLast() else { return false }
        var parentheses = open.parentheses
        if byte == UInt8(ascii: "(") { parentheses += 1 }
        if byte == UInt8(ascii: ")") {
            guard parentheses > 0 else {
                state = open.string
                return true
            }
            parentheses -= 1
        }
        interpolations.append((open.string, parentheses))
        return false
    }

    private mutating func stepInBlockComment(_ index: Int, _ depth: Int) -> Int {
        if starts(index, "/*") {
            state = .blockComment(depth: depth + 1)
            return 2
        }
        if starts(index, "*/") {
            state = depth == 1 ? .code : .blockComment(depth: depth - 1)
            return 2
        }
        let range = plain(index, stops: "/*")
        comments[comments.count - 1] += text(range)
        return range.count
    }

    private mutating func stepInString(_ index: Int, _ hashes: Int, _ isMultiline: Bool) -> Int {
        let marks = String(repeating: "#", count: hashes)
        if starts(index, "\\" + marks + "(") {
            interpolations.append((.string(hashes: hashes, isMultiline: isMultiline), 0))
            state = .code
            return 2 + hashes
        }
        if hashes == 0, bytes[index] == UInt8(ascii: "\\") { return starts(index + 1, "\n") ? 1 : 2 }
        let end = (isMultiline ? "\"\"\"" : "\"") + marks
        guard starts(index, end) else { return plain(index, stops: "\\\"").count }
        state = .code
        code[code.count - 1] += "\""
        return end.utf8.count
    }
}

extension SwiftText {
    /// A function, initialiser, accessor or subscript with a body.
    struct Function: Equatable {
        let name: String
        /// The number of its first line, from 1, and how many lines it has.
        let line: Int
        let length: Int
    }

    /// Every function with a body, from its first line to its closing brace.
    func functions() -> [Function] {
        var found: [Function] = []
        let start = /(^|\s)(func\s+\S+|init[?]?[(<]|deinit\b|subscript[(<])/
        for (index, line) in code.enumerated() {
            // The expression is slow: most lines are told by a word.
            guard ["func ", "init", "subscript"].contains(where: { line.contains($0) }),
                let match = line.firstMatch(of: start), let length = bodyLength(from: index, match.range.lowerBound)
            else { continue }
            let name = match.output.2.prefix { $0 != "(" && $0 != "<" }
            found.append(Function(name: String(name), line: index + 1, length: length))
        }
        return found
    }

    /// Lines until the brace that closes the first one opened outside of parentheses; nil where none is opened (a
    /// requirement of a protocol, a call of `init`).
    private func bodyLength(from first: Int, _ start: String.Index) -> Int? {
        var (braces, parentheses) = (0, 0)
        var isOpened = false
        for index in first..<code.count {
            let line = index == first ? code[index][start...] : Substring(code[index])
            for byte in line.utf8 {
                switch byte {
                case UInt8(ascii: "("), UInt8(ascii: "["): parentheses += 1
                case UInt8(ascii: ")"), UInt8(ascii: "]"): parentheses -= 1
                case UInt8(ascii: "{"):
                    braces += 1
                    if parentheses == 0 { isOpened = true }
                case UInt8(ascii: "}"):
                    braces -= 1
                    if braces < 0 { return nil }
                default: break
                }
                if isOpened, braces == 0, parentheses == 0 { return index - first + 1 }
            }
            // Without a brace, a declaration ends with its line unless a parenthesis or the next line goes on.
            if !isOpened, braces == 0, parentheses <= 0, !goesOn(after: index) { return nil }
        }
        return nil
    }

    private func goesOn(after index: Int) -> Bool {
        let rest = code[index].split(separator: " ").last.map(String.init) ?? ""
        if ["->", ",", "where", "&"].contains(rest) || rest.hasSuffix(",") { return true }
        guard index + 1 < code.count else { return false }
        let next = code[index + 1].drop { $0 == " " }
        return ["->", "where ", "async", "throws", "{", ")"].contains { next.hasPrefix($0) }
    }
}
