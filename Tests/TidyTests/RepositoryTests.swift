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
}
