import Foundation
import Testing

/// Documents name files that are there.
@Suite struct DocumentTests {
    /// Paths of the repository that a text names.
    static func paths(in text: String) -> [String] {
        text.matches(of: /(?:^|[\s`(\[])((?:Sources|Tests|Fuzz|tools|docs|\.ci)\/[\w.\/+-]*[\w\/])/).map {
            String($0.output.1)
        }
    }

    @Test func pathsInDocumentsExist() {
        let files = SourceTree.files(under: ["docs"], endingIn: ".md")
        let top = ["README.md", "CHANGELOG.md"].compactMap { name -> SourceTree.File? in
            let path = SourceTree.root.appendingPathComponent(name).path
            guard let data = FileManager.default.contents(atPath: path) else { return nil }
            return SourceTree.File(path: name, text: String(decoding: data, as: UTF8.self))
        }
        #expect(top.count == 2, "README.md and CHANGELOG.md belong to the repository")
        for file in files + top {
            for path in Self.paths(in: file.text) {
                #expect(SourceTree.exists(path), "\(file.path) names \(path), which is not there")
            }
        }
    }

    @Test func linksInDocumentsLeadSomewhere() {
        for file in SourceTree.files(under: ["docs"], endingIn: ".md") {
            let folder = (file.path as NSString).deletingLastPathComponent
            for match in file.text.matches(of: /\]\(([^)#:]+)(?:#[^)]*)?\)/) {
                let path = folder + "/" + match.output.1
                #expect(SourceTree.exists(path), "\(file.path) links to \(match.output.1), which is not there")
            }
        }
    }

    @Test func pathsAreFound() {
        #expect(
            Self.paths(in: "see `docs/x.md`, tools/test and Sources/A/B.swift.")
                == ["docs/x.md", "tools/test", "Sources/A/B.swift"])
    }
}
