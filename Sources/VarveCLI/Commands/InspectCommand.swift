import ArgumentParser
import Foundation
internal import VarveEngine
internal import VarveIO

/// `varve inspect`.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Print a file of a store as text.",
        discussion: """
            A log segment, manifest, table, CURRENT, CLOSED, DEGRADED or LOCK. It is shown as far as it can be read; \
            damage ends it and is named (exit 65). The store may be open meanwhile.
            """)

    @OptionGroup var text: TextOptions
    @Option(help: ArgumentHelp("Only what was written at or after this LSN.", valueName: "lsn"))
    var since: UInt64?
    @Option(help: ArgumentHelp("Only what touches this key.", valueName: "key"))
    var key: String?
    @Argument var file: String

    func run() throws {
        guard FileManager.default.fileExists(atPath: file) else { throw UsageFailure("there is no file \(file)") }
        guard !Place.isFolder(file) else { throw UsageFailure("\(file) is a folder; name one of its files") }
        var inspector = FileInspector(PosixFileSystem(), path: file)
        if let since { inspector.since = LSN(since) }
        inspector.key = try key.map(text.bytes)
        var lines: [UInt8] = []
        var failure: (any Error)?
        do {
            try inspector.run { line in
                lines.append(contentsOf: line.utf8)
                lines.append(0x0A)
                guard lines.count >= 64 << 10, failure == nil else { return }
                do { try StandardOutput.write(lines) } catch { failure = error }
                lines.removeAll(keepingCapacity: true)
            }
        } catch {
            try StandardOutput.write(lines)
            throw error
        }
        if let failure { throw failure }
        try StandardOutput.write(lines)
    }
}
