import Foundation

/// The real `varve`, run as a user runs it.
struct Binary {
    struct Outcome {
        let status: Int32
        /// The signal that ended it, if one did.
        let signal: Int32?
        let output: [UInt8]
        let errors: String
        var text: String { String(decoding: output, as: UTF8.self) }
    }

    /// Beside the test bundle, where the build puts it.
    static let path = path(of: "varve")

    static func path(of program: String) -> String {
        let bundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        return bundle.appendingPathComponent(program).path
    }

    /// A folder of this run's own, removed when it is let go.
    final class Scratch {
        let path = NSTemporaryDirectory() + "/varve-cli-\(UUID().uuidString)"
        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// Runs to its end. Files stand in for pipes, so that no amount of output blocks it.
    static func run(_ arguments: [String], input: [UInt8] = [], in folder: String? = nil) throws -> Outcome {
        let scratch = try Scratch()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        for name in ["in", "out", "err"] {
            _ = FileManager.default.createFile(
                atPath: scratch.path + "/" + name, contents: name == "in" ? Data(input) : nil)
        }
        process.standardInput = FileHandle(forReadingAtPath: scratch.path + "/in")
        process.standardOutput = FileHandle(forWritingAtPath: scratch.path + "/out")
        process.standardError = FileHandle(forWritingAtPath: scratch.path + "/err")
        try process.run()
        process.waitUntilExit()
        let isSignal = process.terminationReason == .uncaughtSignal
        return Outcome(
            status: isSignal ? -1 : process.terminationStatus, signal: isSignal ? process.terminationStatus : nil,
            output: Array(FileManager.default.contents(atPath: scratch.path + "/out") ?? Data()),
            errors: String(
                decoding: FileManager.default.contents(atPath: scratch.path + "/err") ?? Data(), as: UTF8.self))
    }
}
