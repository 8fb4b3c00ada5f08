import Foundation

/// The repository's own files, as the tidy tests read them.
enum SourceTree {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    struct File: Sendable {
        /// Relative to the repository.
        let path: String
        let text: String
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        /// The folder under Sources or Tests.
        var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
        var isSource: Bool { path.hasPrefix("Sources/") }
    }

    static func files(under folders: [String], endingIn suffix: String) -> [File] {
        folders.flatMap { folder -> [File] in
            let base = root.appendingPathComponent(folder).path
            let names = FileManager.default.enumerator(atPath: base)?.compactMap { $0 as? String } ?? []
            return names.filter { $0.hasSuffix(suffix) }.sorted().compactMap { name in
                guard let data = FileManager.default.contents(atPath: base + "/" + name) else { return nil }
                return File(path: folder + "/" + name, text: String(decoding: data, as: UTF8.self))
            }
        }
    }

    static let swift = files(under: ["Sources", "Tests", "Fuzz"], endingIn: ".swift")

    /// The Swift files, read by the lexer once for all rules.
    static let lexed = swift.map { (file: $0, text: SwiftText($0.text)) }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path)
    }
}
