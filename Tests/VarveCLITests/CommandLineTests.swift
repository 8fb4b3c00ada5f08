import Foundation
import Testing

@testable import VarveCLI

/// The command line as scripts and people meet it: the real binary, its exit codes and its words.
@Suite struct CommandLineTests {
    @Test(arguments: [
        ["nonsense"], ["get"], ["get", "--nonsense", "k"], ["put", "k"], ["put", "--ttl", "5x", "k", "v"],
        ["put", "--durability", "sometimes", "k", "v"], ["load", "file"], ["load", "--format", "xml", "file"],
        ["delete"],
        ["scan", "--limit", "-1"], ["bench"], ["bench", "nonsense"], ["bench", "scan", "--threads", "0"],
        ["load", "--format", "tsv", "/nonexistent/file"],
    ])
    func wrongUsageExitsWith64(_ arguments: [String]) throws {
        let outcome = try Binary.run(arguments, in: NSTemporaryDirectory())
        #expect(outcome.status == 64, "\(arguments): \(outcome.errors)")
        #expect(!outcome.errors.isEmpty)
        #expect(outcome.output.isEmpty)
    }

    @Test(arguments: [["--help"], ["--version"], ["help", "load"], ["--generate-completion-script", "bash"]])
    func whatIsAskedForIsPrinted(_ arguments: [String]) throws {
        let outcome = try Binary.run(arguments)
        #expect(outcome.status == 0)
        #expect(outcome.text.contains("varve"))
        #expect(outcome.errors.isEmpty)
    }

    @Test func theBenchMeasuresItsDriver() throws {
        let scratch = try Binary.Scratch()
        let outcome = try Binary.run(
            [
                "bench", "fillseq", "readrandom", "--null", "--json", "--n", "1000", "--ops", "1000", "--dir",
                scratch.path,
            ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let lines = outcome.text.split(separator: "\n")
        #expect(lines.count == 2)
        for line in lines { #expect(try JSONSerialization.jsonObject(with: Data(line.utf8)) is [String: Any]) }
    }

    @Test func theBenchRefusesAFolderThatIsNotItsOwn() throws {
        let scratch = try Binary.Scratch()
        try Data().write(to: URL(fileURLWithPath: scratch.path + "/mine"))
        let outcome = try Binary.run(["bench", "scan", "--null", "--dir", scratch.path])
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains(scratch.path))
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["mine"])
    }
}
