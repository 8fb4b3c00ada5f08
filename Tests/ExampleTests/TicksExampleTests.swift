import Foundation
import Testing

/// The ticks of a day as a live feed: nobody sees a price older than one already seen, and the last one of each name stays.
@Suite struct TicksExampleTests {
    private struct Outcome: Decodable {
        var ticks, writes, refused, reads, violations, complete, names: Int
    }

    /// The real ticks where they are there, else a made-up day of as many names.
    private static func ticks(in folder: String) throws -> String {
        let real = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../shared/data/dowstocks.csv")
            .standardizedFileURL.path
        if FileManager.default.fileExists(atPath: real) { return real }
        var lines: [String] = []
        for name in 0..<30 {
            for minute in 0..<60 {
                lines.append(
                    "\"N\(name)\",\(minute + name).25,\"6/11/2007\",\"\(10 + minute / 60):\(minute % 60 / 10)\(minute % 10)am\""
                )
            }
        }
        let path = folder + "/ticks.csv"
        try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test(arguments: [1, 7])
    func readersNeverGoBackInTime(_ seed: Int) async throws {
        let outcome = try await onThread {
            let scratch = try ExampleProcess.Scratch()
            let example = try ExampleProcess(
                "TicksExample",
                [try Self.ticks(in: scratch.path), "--store", scratch.path + "/cache", "--seed", "\(seed)"])
            let line = try #require(try example.line())
            example.process.waitUntilExit()
            #expect(example.process.terminationStatus == 0, "seed \(seed)")
            return try JSONDecoder().decode(Outcome.self, from: Data(line.utf8))
        }
        #expect(outcome.violations == 0, "seed \(seed)")
        #expect(outcome.complete == outcome.names && outcome.names == 30, "seed \(seed)")
        #expect(outcome.writes + outcome.refused == 3 * outcome.ticks, "seed \(seed)")
        #expect(outcome.refused > 0 && outcome.reads > 0, "seed \(seed)")
    }

    @Test func aFileOfOtherLinesIsRefusedWithItsLine() async throws {
        let status = try await onThread {
            let scratch = try ExampleProcess.Scratch()
            let path = scratch.path + "/ticks.csv"
            try Data("\"AA\",39.48,\"6/11/2007\",\"9:36am\"\nhello\n".utf8).write(to: URL(fileURLWithPath: path))
            let example = try ExampleProcess("TicksExample", [path, "--store", scratch.path + "/cache"])
            example.process.waitUntilExit()
            #expect(!FileManager.default.fileExists(atPath: scratch.path + "/cache"))
            return example.process.terminationStatus
        }
        #expect(status != 0)
    }
}
