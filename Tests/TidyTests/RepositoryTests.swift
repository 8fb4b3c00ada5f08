import Foundation
import Testing

/// The shape of the repository.
@Suite struct RepositoryTests {
    @Test(arguments: ["README.md", "LICENSE", "CHANGELOG.md", ".ci/run", ".swift-format"])
    func isThere(_ path: String) { #expect(SourceTree.exists(path)) }

    @Test(arguments: [".ci/run", "tools/demo", "tools/test", "tools/setup"])
    func canBeRun(_ path: String) {
        #expect(FileManager.default.isExecutableFile(atPath: SourceTree.root.appendingPathComponent(path).path))
    }

    /// A file with an extension is a tool's data.
    @Test func everyToolIsExecutable() throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: SourceTree.root.path + "/tools")
        where !name.contains(".") {
            let path = SourceTree.root.path + "/tools/" + name
            #expect(FileManager.default.isExecutableFile(atPath: path), "tools/\(name) has no run bit")
        }
    }

    /// What a tool left behind in the checkout must not be committed with the rest.
    @Test(.enabled(if: SourceTree.exists(".git"), "a tree without its history knows no tracked files"))
    func theTopLevelIsAsAgreed() throws {
        let git = Process()
        git.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // A checkout that another user owns (CI's) is read all the same.
        git.arguments = ["git", "-c", "safe.directory=*", "-C", SourceTree.root.path, "ls-files"]
        let output = Pipe()
        git.standardOutput = output
        try git.run()
        let names = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        git.waitUntilExit()
        try #require(git.terminationStatus == 0)
        let agreed: Set<Substring> = [
            "Package.swift", "Sources", "Tests", "Fuzz", "tools", "docs", "README.md", "LICENSE", "CHANGELOG.md", ".ci",
        ]
        let top = Set(names.split(separator: "\n").map { $0.prefix { $0 != "/" } })
        #expect(top.filter { !$0.hasPrefix(".") || $0 == ".ci" } == agreed)
    }
}
