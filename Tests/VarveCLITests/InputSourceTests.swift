import Foundation
import Testing

@testable import VarveCLI

/// Files and pipes as inputs.
@Suite struct InputSourceTests {
    private static func drain(_ source: any InputSource) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            if case .end = try source.read(into: &bytes) { return bytes }
        }
    }

    @Test func aPipeCanBeSoughtInWhatWasKept() throws {
        let pipe = Pipe()
        let content = Array("0123456789".utf8)
        try pipe.fileHandleForWriting.write(contentsOf: Data(content[..<6]))
        let source = PipeSource(name: "pipe", descriptor: pipe.fileHandleForReading.fileDescriptor)
        var read: [UInt8] = []
        _ = try source.read(into: &read)
        #expect(read == Array(content[..<6]))
        guard case .idle = try source.read(into: &read) else {
            Issue.record("an open pipe without content is idle")
            return
        }
        try source.keep(read)
        try pipe.fileHandleForWriting.write(contentsOf: Data(content[6...]))
        _ = try source.read(into: &read)
        try pipe.fileHandleForWriting.close()
        try source.seek(to: 4)
        #expect(try Self.drain(source) == Array(content[4...]))
    }

    @Test func aFileCanBeSoughtIn() throws {
        let path = NSTemporaryDirectory() + "/varve-input-\(UUID().uuidString)"
        try Data("0123456789".utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let source = try Input.open(path)
        #expect(source.byteCount == 10)
        #expect(try Self.drain(source).count == 10)
        try source.seek(to: 7)
        #expect(try Self.drain(source) == Array("789".utf8))
    }

    @Test(arguments: ["/nonexistent/input", "/tmp"])
    func whatIsNoFileIsRefused(_ path: String) { #expect(throws: InputFailure.self) { try Input.open(path) } }
}
