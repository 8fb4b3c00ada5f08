import Foundation
import Testing

/// Every promise of an article names the tests that show it, in docs/testing.md; those tests are there, and one of them
/// draws its course from a seed.
@Suite struct PromiseTests {
    struct Row {
        let article: String
        /// How the promise begins.
        let beginning: String
        let tests: [String]
    }

    /// The points under "What is promised", each in one line.
    static func promises(in article: String) -> [String] {
        let sections = article.components(separatedBy: "\n## ")
        guard let section = sections.first(where: { $0.hasPrefix("What is promised") }) else { return [] }
        let points = section.components(separatedBy: "\n- ").dropFirst()
        return points.map { plain($0.split(whereSeparator: \.isWhitespace).joined(separator: " ")) }
    }

    /// A text without what marks code.
    private static func plain(_ text: String) -> String { text.replacing("`", with: "") }

    /// The rows of tables with the columns article, promise, tests.
    static func rows(in text: String) -> [Row] {
        text.matches(of: /(?m)^\| <doc:([\w-]+)> \| (.+?) \| (.+?) \|$/).map { match in
            Row(
                article: String(match.output.1), beginning: plain(String(match.output.2)),
                tests: match.output.3.matches(of: /`([^`]+)`/).map { String($0.output.1) })
        }
    }

    /// The tests of this repository as Suite.function, and whether each takes a seed.
    static let tests: [String: Bool] = {
        var names: [String: Bool] = [:]
        for (file, text) in SourceTree.lexed where file.path.hasPrefix("Tests/") {
            let code = text.code.joined(separator: "\n")
            let suites = code.matches(of: /(?:struct|class|extension) (\w+Tests)\b/).map { $0.output.1 }
            for function in code.matches(of: /@Test[^@]*?\bfunc (\w+)\(([^)]*)\)/) {
                let isSeeded = function.output.2.contains(/\bseed:/)
                for suite in suites { names["\(suite).\(function.output.1)"] = isSeeded }
            }
        }
        return names
    }()

    private static let documented: [Row] = {
        SourceTree.files(under: ["docs"], endingIn: "testing.md").flatMap { rows(in: $0.text) }
    }()

    @Test func everyPromiseNamesItsTests() {
        for article in SourceTree.files(under: ["Sources/Varve/Varve.docc"], endingIn: ".md") {
            let name = ((article.path as NSString).lastPathComponent as NSString).deletingPathExtension
            let rows = Self.documented.filter { $0.article == name }
            let promises = Self.promises(in: article.text)
            for promise in promises {
                let count = rows.filter { promise.hasPrefix($0.beginning) }.count
                #expect(count == 1, "\(article.path): \(count) rows of docs/testing.md begin as: \(promise)")
            }
            for row in rows {
                let isThere = promises.contains { $0.hasPrefix(row.beginning) }
                #expect(isThere, "docs/testing.md: \(name) promises nothing that begins: \(row.beginning)")
            }
        }
    }

    @Test func everyArticleSaysWhatItPromisesAndWhatNot() {
        for article in SourceTree.files(under: ["Sources/Varve/Varve.docc"], endingIn: ".md") {
            #expect(!Self.promises(in: article.text).isEmpty, "\(article.path) promises nothing")
            #expect(
                article.text.contains("\n## What is not\n\n- "), "\(article.path) says nothing that it does not promise"
            )
        }
    }

    @Test func theTestsThatPromisesNameAreThere() {
        #expect(Self.documented.count > 30)
        for row in Self.documented {
            #expect(!row.tests.isEmpty, "docs/testing.md: nothing shows: \(row.article), \(row.beginning)")
            for test in row.tests {
                #expect(Self.tests[test] != nil, "docs/testing.md names \(test), which is not there")
            }
        }
    }

    @Test func everyPromiseIsShownFromASeed() {
        for row in Self.documented {
            let isSeeded = row.tests.contains { Self.tests[$0] == true }
            #expect(isSeeded, "docs/testing.md: no test that takes a seed shows: \(row.article), \(row.beginning)")
        }
    }

    @Test func promisesAndRowsAreFound() {
        let article =
            "# A\n\n## What is promised\n\n- It is ``Cache/so``\n  and so.\n- Not thus.\n\n## What is not\n\n- No.\n"
        #expect(Self.promises(in: article) == ["It is Cache/so and so.", "Not thus."])
        let rows = Self.rows(in: "| article | a | b |\n|---|---|---|\n| <doc:A-b> | It is `so` | `X.y`, `Z.w` |\n")
        #expect(rows.map(\.article) == ["A-b"] && rows.map(\.beginning) == ["It is so"])
        #expect(rows.first?.tests == ["X.y", "Z.w"])
        #expect(Self.tests["PromiseTests.promisesAndRowsAreFound"] == false)
        #expect(Self.tests["TimeModelTests.disk"] == true)
        #expect(Self.tests["PromiseTests.rows"] == nil)
    }
}
