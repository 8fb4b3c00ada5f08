import Testing

/// Size budgets: a file is one idea, a function fits on a page.
@Suite struct SizeTests {
    static let fileLines = 700
    static let functionLines = 70

    @Test func filesAreShort() {
        for file in SourceTree.swift {
            let count = file.lines.count - 1
            #expect(count <= Self.fileLines, "\(file.path) has \(count) lines: split it by idea")
        }
    }

    @Test func functionsAreShort() {
        for (file, text) in SourceTree.lexed {
            for function in text.functions() {
                #expect(
                    function.length <= Self.functionLines,
                    "\(file.path):\(function.line): \(function.name) has \(function.length) lines")
            }
        }
    }
}
