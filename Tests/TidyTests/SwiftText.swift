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

    init(_ text: String) {
        let characters = Array(text.unicodeScalars)
        var index = 0
        while index < characters.count { index += step(characters, index) }
    }

    private static func starts(_ text: [Unicode.Scalar], _ index: Int, _ word: String) -> Bool {
        text[min(index, text.count)...].starts(with: word.unicodeScalars)
    }

    /// Takes what stands at `index`; how many characters that was.
    private mutating func step(_ text: [Unicode.Scalar], _ index: Int) -> Int {
        if text[index] == "\n" {
            code.append("")
            comments.append("")
            if state == .lineComment { state = .code }
            if case .string(_, false) = state { state = .code }
            return 1
        }
        switch state {
        case .code: return stepInCode(text, index)
        case .lineComment:
            comments[comments.count - 1].unicodeScalars.append(text[index])
            return 1
        case .blockComment(let depth): return stepInBlockComment(text, index, depth)
        case .string(let hashes, let isMultiline): return stepInString(text, index, hashes, isMultiline)
        }
    }

    private mutating func stepInCode(_ text: [Unicode.Scalar], _ index: Int) -> Int {
        if SwiftText.starts(text, index, "//") {
            state = .lineComment
            return 2
        }
        if SwiftText.starts(text, index, "/*") {
            state = .blockComment(depth: 1)
            return 2
        }
        let hashes = text[index...].prefix { $0 == "#" }.count
        if SwiftText.starts(text, index + hashes, "\"") {
            let isMultiline = SwiftText.starts(text, index + hashes, "\"\"\"")
            state = .string(hashes: hashes, isMultiline: isMultiline)
            code[code.count - 1].append("\"")
            return hashes + (isMultiline ? 3 : 1)
        }
        if let open = interpolations.last {
            if text[index] == "(" { interpolations[interpolations.count - 1].parentheses += 1 }
            if text[index] == ")" {
                interpolations[interpolations.count - 1].parentheses -= 1
                if open.parentheses == 0 {
                    state = open.string
                    interpolations.removeLast()
                    return 1
                }
            }
        }
        code[code.count - 1].unicodeScalars.append(text[index])
        return 1
    }

    private mutating func stepInBlockComment(_ text: [Unicode.Scalar], _ index: Int, _ depth: Int) -> Int {
        if SwiftText.starts(text, index, "/*") {
            state = .blockComment(depth: depth + 1)
            return 2
        }
        if SwiftText.starts(text, index, "*/") {
            state = depth == 1 ? .code : .blockComment(depth: depth - 1)
            return 2
        }
        comments[comments.count - 1].unicodeScalars.append(text[index])
        return 1
    }

    private mutating func stepInString(_ text: [Unicode.Scalar], _ index: Int, _ hashes: Int, _ isMultiline: Bool)
        -> Int
    {
        let marks = String(repeating: "#", count: hashes)
        if SwiftText.starts(text, index, "\\" + marks + "(") {
            interpolations.append((.string(hashes: hashes, isMultiline: isMultiline), 0))
            state = .code
            return 2 + hashes
        }
        if hashes == 0, text[index] == "\\" { return index + 1 < text.count && text[index + 1] == "\n" ? 1 : 2 }
        let end = (isMultiline ? "\"\"\"" : "\"") + marks
        guard SwiftText.starts(text, index, end) else { return 1 }
        state = .code
        code[code.count - 1].append("\"")
        return end.count
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
            guard let match = line.firstMatch(of: start), let length = bodyLength(from: index, match.range.lowerBound)
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
            for character in line {
                switch character {
                case "(", "[": parentheses += 1
                case ")", "]": parentheses -= 1
                case "{":
                    braces += 1
                    if parentheses == 0 { isOpened = true }
                case "}":
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
