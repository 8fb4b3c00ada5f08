import ArgumentParser
import Foundation

@main
struct Varve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "varve", abstract: "A durable, ordered store of keys and values.",
        discussion: """
            Exit codes: 0 fine; 1 not found, or a check failed; 64 usage; 65 damaged data; 74 I/O error or full disk; \
            75 the store is in use.
            """,
        version: "varve 0.1.0 (format 1)",
        subcommands: [
            PutCommand.self, GetCommand.self, DeleteCommand.self, ScanCommand.self, LoadCommand.self, DumpCommand.self,
            StatsCommand.self, VerifyCommand.self, CompactCommand.self, CheckpointCommand.self, SlotCommand.self,
            ApplyCommand.self, ChangesCommand.self, InspectCommand.self, RepairCommand.self, ReplayCommand.self,
            BenchCommand.self,
        ])

    /// Parses and runs; every failure becomes its exit code in one place.
    static func main() async {
        do {
            var command = try await asyncParseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            Failure.exit(error)
        }
    }
}
