import Foundation
import Testing

/// What the articles show compiles: every block of Swift in them stands, line for line, in a file that is built with the tests.
@Suite struct ArticleTests {
    /// A block of an article.
    struct Block {
        let line: Int
        let code: String
    }

    /// The blocks that are marked as Swift.
    static func blocks(in text: String) -> [Block] {
        var found: [Block] = []
        var begin: Int?
        let lines = text.components(separatedBy: "\n")
        for (index, line) in lines.enumerated() {
            if line == "```swift" { begin = index + 1 }
            guard line == "```", let first = begin else { continue }
            found.append(Block(line: first + 1, code: lines[first..<index].joined(separator: "\n")))
            begin = nil
        }
        return found
    }

    /// A text as blocks are found in it: indentation and the space before a comment at a line's end are not told apart.
    static func plain(_ text: String) -> String {
        let lines = text.components(separatedBy: "\n").map { line in
            line.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        }
        return "\n" + lines.joined(separator: "\n") + "\n"
    }

    /// A package's manifest is no code of a target.
    static func isManifest(_ block: Block) -> Bool { block.code.hasPrefix("// in Package.swift\n") }

    private static let compiled = SourceTree.swift.filter {
        $0.path.hasPrefix("Tests/VarveTests/Articles/") || $0.path == "Tests/VarveTests/TutorialTests.swift"
    }.map { plain($0.text) }

    @Test func whatArticlesShowIsCompiled() {
        var count = 0
        for article in SourceTree.files(under: ["Sources/Varve/Varve.docc"], endingIn: ".md") {
            for block in Self.blocks(in: article.text) where !Self.isManifest(block) {
                count += 1
                let code = Self.plain(block.code)
                let isCompiled = Self.compiled.contains { $0.contains(code) }
                #expect(
                    isCompiled, "\(article.path):\(block.line): Tests/VarveTests/Articles has no block:\n\(block.code)")
            }
        }
        #expect(count > 25)
    }

    @Test func blocksAreFound() {
        let text =
            "a\n```swift\nlet a = 1\n\n  b()    // so\n```\n```\nno\n```\n```swift\n// in Package.swift\nx\n```\n"
        let blocks = Self.blocks(in: text)
        #expect(blocks.map(\.code) == ["let a = 1\n\n  b()    // so", "// in Package.swift\nx"])
        #expect(blocks.map(\.line) == [3, 11] && blocks.map(Self.isManifest) == [false, true])
        let code = Self.plain(blocks[0].code)
        #expect(Self.plain("func f() {\n    let a = 1\n\n    b()  // so\n}").contains(code))
        #expect(!Self.plain("    let a = 1\n    b()  // so").contains(code))
        #expect(!Self.plain("    let a = 12\n\n    b()  // so").contains(code))
        #expect(!Self.plain("    let a = 1\n\n    b()  // so on").contains(code))
    }
}
