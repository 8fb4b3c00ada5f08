import Foundation
import Testing
import VarveTestSupport

// README's example: what stands between the two marks is the README's code block, line for line.
// begin example
import VarveEngine

func rememberPrices(in directory: String) async throws {
    let engine = try await Engine.open(at: directory)

    // Durable before it returns, and gone by itself after a minute.
    let soon = engine.storeTime + 60_000_000_000
    try await engine.put(
        Array("price/AA".utf8), Array("39.63".utf8), EntryFields(usableUntil: soon), durability: .synced)

    // All of a batch or nothing of it, and only if nobody was faster.
    let seen = try await engine.get(Array("price/AA".utf8))
    var batch = WriteBatch()
    try batch.require(Array("price/AA".utf8), version: seen?.version)
    try batch.put(Array("price/AA".utf8), Array("39.70".utf8))
    try batch.put(Array("price/DIS".utf8), Array("34.20".utf8))
    try await engine.write(batch)

    let page = try await engine.scan(prefix: Array("price/".utf8), limit: 100)
    for (key, value) in page.entries {
        print(String(decoding: key, as: UTF8.self), String(decoding: value.bytes, as: UTF8.self))
    }
    try await engine.close()
}
// end example

@Suite struct EmbeddingExampleTests {
    @Test func theExampleRuns() async throws {
        let folder = try TemporaryDirectory()
        try await rememberPrices(in: folder.path + "/store")
        let engine = try await Engine.openReadOnly(at: folder.path + "/store")
        let value = try await engine.get(Array("price/AA".utf8))
        #expect(value?.bytes == Array("39.70".utf8))
        try await engine.close()
    }

    @Test func theReadmeShowsWhatIsCompiledHere() throws {
        let own = try String(contentsOfFile: #filePath, encoding: .utf8)
        let root = #filePath.components(separatedBy: "/Tests/")[0]
        let readme = try String(contentsOfFile: root + "/README.md", encoding: .utf8)
        let code = own.components(separatedBy: "// begin example\n")[1].components(separatedBy: "// end example")[0]
        #expect(readme.contains("```swift\n" + code + "```\n"))
    }
}
