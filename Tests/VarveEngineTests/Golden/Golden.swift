import CLZ4
import Foundation
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The files in Fixtures/format-1, which were written once and must be read for ever.
enum Golden {
    /// Where tests put them in memory, so that messages name the same path everywhere.
    static let directory = "/golden"

    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures")
    private static let root = fixtures.appendingPathComponent("format-1")

    static func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: root.appendingPathComponent(name)))
    }

    /// The files of a closed store of format version 0, which is refused.
    static func oldStore() throws -> [String: [UInt8]] {
        let folder = fixtures.appendingPathComponent("format-0/store")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        return Dictionary(
            uniqueKeysWithValues: try names.map { ($0, Array(try Data(contentsOf: folder.appendingPathComponent($0)))) }
        )
    }

    /// The names in a folder, sorted.
    static func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent(folder).path).sorted()
    }

    /// The bytes that a test makes are those of the golden file; with `VARVE_REWRITE=1` they become it.
    static func check(_ made: [UInt8], is name: String, _ place: SourceLocation = #_sourceLocation) throws {
        if ScriptTest.isRewriting { return try write(made, name) }
        let golden = try bytes(name)
        if made == golden { return }
        let first = zip(made, golden).enumerated().first { $1.0 != $1.1 }?.offset ?? min(made.count, golden.count)
        Issue.record(
            "\(name) is written otherwise today: \(made.count) bytes, not \(golden.count); first at \(first)",
            sourceLocation: place)
    }

    static func check(_ made: String, is name: String, _ place: SourceLocation = #_sourceLocation) throws {
        if ScriptTest.isRewriting { return try write(Array(made.utf8), name) }
        let golden = String(decoding: try bytes(name), as: UTF8.self)
        if made == golden { return }
        let lines = (made.split(separator: "\n"), golden.split(separator: "\n"))
        let first = zip(lines.0, lines.1).first { $0 != $1 }
        Issue.record(
            "\(name) says otherwise: \(first.map { "\($0)\n-- and not\n\($1)" } ?? "it ends elsewhere")",
            sourceLocation: place)
    }

    static func write(_ bytes: [UInt8], _ name: String) throws {
        let url = root.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
    }

    static func remove(_ name: String) throws {
        let url = root.appendingPathComponent(name)
        if FileManager.default.fileExists(atPath: url.path) { try FileManager.default.removeItem(at: url) }
    }

    /// What LZ4 makes of the same bytes is its own affair: files with compressed bytes are compared byte for byte only
    /// under the library version that made them.
    static let isLZ4OfTheFixtures = LZ4_versionNumber() == 1_09_04

    /// A folder in memory with these files in it.
    static func folder(_ files: [String: [UInt8]] = [:]) throws -> SimulatedFileSystem {
        let system = SimulatedFileSystem()
        try system.createDirectory(directory)
        for (name, bytes) in files { try put(bytes, directory + "/" + name, system) }
        return system
    }

    static func put(_ bytes: [UInt8], _ path: String, _ system: any FileSystem) throws {
        if try system.exists(path) { try system.remove(path) }
        let file = try system.open(path, .createNew)
        defer { file.close() }
        try file.write(bytes, at: 0)
    }

    static func take(_ name: FileName, from system: any FileSystem) throws -> [UInt8] {
        let file = try system.open(name.path(in: directory), .read)
        defer { file.close() }
        return try file.readAll(atMost: 1 << 30)
    }

    /// What the inspector says of a file.
    static func inspect(_ path: String, _ system: any FileSystem) throws -> String {
        var text = ""
        try FileInspector(system, path: path).run { text += $0 + "\n" }
        return text
    }
}
