import ArgumentParser
import Foundation

/// Plays a file of stock ticks as a live feed into a cache; see `LiveFeed`.
@main
struct TicksExample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "TicksExample",
        abstract: "Play stock ticks as a live feed whose readers never see a price older than one already seen.")

    @Argument(help: "Lines such as those of dowstocks.csv: name, price, date, time, and whatever follows.")
    var file: String
    @Option(help: "The cache's folder; one that does not exist yet.")
    var store: String
    @Option(help: "Lines that deliver every tick, each in an order of its own.")
    var lines = 3
    @Option(help: "Readers that look all the time.")
    var readers = 2
    @Option(help: "Seed of the disorder.")
    var seed: UInt64 = 1

    func validate() throws {
        guard lines >= 1, lines <= 64, readers >= 1, readers <= 64 else {
            throw ValidationError("--lines and --readers are numbers from 1 to 64.")
        }
    }

    func run() async throws {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw ValidationError("\(file) cannot be read.")
        }
        guard !FileManager.default.fileExists(atPath: store) else {
            throw ValidationError("\(store) is there already; the feed begins with an empty cache.")
        }
        let ticks = try Tick.read(String(decoding: data, as: UTF8.self))
        guard !ticks.isEmpty else { throw ExampleFailure("\(file) holds no ticks") }
        let feed = LiveFeed(ticks: ticks, lines: lines, readers: readers, seed: seed)
        let outcome = try await feed.play(in: store)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        try FileHandle.standardOutput.write(contentsOf: try encoder.encode(outcome) + Data("\n".utf8))
        if outcome.violations > 0 { throw ExampleFailure("\(outcome.violations) reads went back in time") }
    }
}
