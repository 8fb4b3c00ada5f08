import Foundation
import Testing
import VarveTestSupport

// README's example: what stands between the two marks is the README's code block, line for line.
// begin example
import Varve

struct Quote: Codable, Sendable {
    var symbol: String
    var price: Double
}

func followQuotes(in directory: String, from api: @escaping @Sendable (String) async throws -> Quote) async throws {
    let quotes = try await Cache<String, Quote>.open(
        at: directory, .init(memory: .megabytes(256), disk: .gigabytes(10), expiry: .minutes(5)))

    // From memory, from disk, or loaded once for everybody who asks meanwhile.
    let quote = try await quotes.value(for: "AA") { symbol in try await api(symbol) }

    // Written through to disk; gone with everything else of its tag when the exchange closes.
    try await quotes.set(Quote(symbol: "AA", price: quote.price + 1), for: "AA", .init(tags: ["NYSE"]))
    try await quotes.remove(taggedWith: "NYSE")
    try await quotes.close()
}
// end example

struct ReadmeExampleTests {
    @Test func theExampleRuns() async throws {
        let folder = try TemporaryDirectory()
        try await followQuotes(in: folder.path + "/quotes") { Quote(symbol: $0, price: 39.63) }
        let again = try await Cache<String, Quote>.open(at: folder.path + "/quotes")
        #expect(try await again.value(for: "AA") == nil)
        try await again.close()
    }

    @Test func theReadmeShowsWhatIsCompiledHere() throws {
        let own = try String(contentsOfFile: #filePath, encoding: .utf8)
        let root = #filePath.components(separatedBy: "/Tests/")[0]
        let readme = try String(contentsOfFile: root + "/README.md", encoding: .utf8)
        let code = own.components(separatedBy: "// begin example\n")[1].components(separatedBy: "// end example")[0]
        #expect(readme.contains("```swift\n" + code + "```\n"))
    }
}
