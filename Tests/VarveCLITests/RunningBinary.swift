import Foundation

/// A `varve`, or another program of ours, that runs beside the test, fed through its standard input. Killed when it is let go.
final class RunningBinary {
    private let process = Process()
    private let input = Pipe()
    private let outputPath: String
    private let scratch: Binary.Scratch

    init(_ arguments: [String], path: String = Binary.path) throws {
        scratch = try Binary.Scratch()
        outputPath = scratch.path + "/out"
        _ = FileManager.default.createFile(atPath: outputPath, contents: nil)
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
        process.standardInput = input
        process.standardOutput = FileHandle(forWritingAtPath: outputPath)
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    deinit { kill() }

    var isRunning: Bool { process.isRunning }
    var lines: [String] {
        let data = FileManager.default.contents(atPath: outputPath) ?? Data()
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map { String($0) }
    }

    func feed(_ text: String) throws { try input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }
    func endInput() throws { try input.fileHandleForWriting.close() }
    func interrupt() { send(SIGINT) }
    func send(_ signal: Int32) { Foundation.kill(process.processIdentifier, signal) }

    /// SIGKILL, and the process gone when it returns.
    func kill() {
        guard process.isRunning else { return }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Its exit status, or the signal that ended it.
    func waitForEnd() -> Int32 {
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// The largest number that a member had in any line so far.
    func largest(_ member: String) -> Int {
        lines.compactMap { line in
            let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return object?[member] as? Int
        }.max() ?? 0
    }

    /// Returns once the condition holds; false where the process ended, or ten minutes went by, before.
    func wait(until holds: () -> Bool) -> Bool {
        for _ in 0..<60_000 {
            if holds() { return true }
            if !process.isRunning { return holds() }
            usleep(10_000)
        }
        return false
    }
}
