import Foundation
import FoundationNetworking
import Testing

/// The HTTP service caches a slow one, and has everything again after it was killed.
@Suite struct HTTPCacheExampleTests {
    private func start(_ arguments: [String]) async throws -> (ExampleProcess, URL) {
        try await onThread { () throws -> Started in
            let example = try ExampleProcess("HTTPCacheExample", arguments)
            let line = try #require(try example.line(), "the service did not begin to listen")
            let address = try #require(line.split(separator: " ").last)
            return Started(example: example, url: try #require(URL(string: "http://\(address)")))
        }.parts
    }

    /// Unchecked: handed from the thread that made it to the test, which alone uses it from then on.
    private struct Started: @unchecked Sendable {
        let example: ExampleProcess
        let url: URL
        var parts: (ExampleProcess, URL) { (example, url) }
    }

    private func send(_ method: String, _ url: URL, _ body: String? = nil) async throws -> (Int, String) {
        var request = URLRequest(url: url)
        request.httpMethod = method
        request.httpBody = body.map { Data($0.utf8) }
        let (data, response) = try await URLSession.shared.data(for: request)
        return ((response as? HTTPURLResponse)?.statusCode ?? 0, String(decoding: data, as: UTF8.self))
    }

    private func get(_ url: URL) async throws -> String {
        let (status, text) = try await send("GET", url)
        #expect(status == 200, "\(text)")
        return text
    }

    @Test func aKilledServiceAsksForNothingThatItHad() async throws {
        let scratch = try ExampleProcess.Scratch()
        let (origin, originURL) = try await start(["origin", "--delay", "5"])
        // Fresh for so long that no load of the machine makes a refresh due.
        let serve = [
            "serve", "--upstream", originURL.absoluteString, "--store", scratch.path + "/cache", "--fresh", "3600",
        ]
        func asked() async throws -> String { try await get(originURL.appendingPathComponent("asked")) }
        func item(_ number: Int, _ service: URL) -> URL { service.appendingPathComponent("items/\(number)") }

        let (first, firstURL) = try await start(serve)
        // Twenty callers of each of ten items at once: ten questions to the origin.
        try await withThrowingTaskGroup(of: String.self) { group in
            for caller in 0..<200 { group.addTask { try await get(item(caller % 10, firstURL)) } }
            for try await text in group { #expect(text.hasPrefix("item ")) }
        }
        #expect(try await asked() == "10")
        #expect(try await send("PUT", item(3, originURL), "changed").0 == 204)
        #expect(try await get(item(3, firstURL)) == "item 3")
        #expect(try await send("DELETE", item(3, firstURL)).0 == 204)
        #expect(try await get(item(3, firstURL)) == "changed")
        #expect(try await asked() == "11")

        try await onThread { [first = Started(example: first, url: firstURL)] in first.example.crash() }
        let (second, secondURL) = try await start(serve)
        for number in 0..<10 {
            #expect(try await get(item(number, secondURL)) == (number == 3 ? "changed" : "item \(number)"))
        }
        #expect(try await asked() == "11")

        // Without its origin it goes on with what it has, and says so for what it has not.
        try await onThread { [origin = Started(example: origin, url: originURL)] in origin.example.crash() }
        #expect(try await get(item(7, secondURL)) == "item 7")
        #expect(try await send("GET", item(77, secondURL)).0 == 502)
        try await onThread { [second = Started(example: second, url: secondURL)] in second.example.crash() }
    }

    @Test func whatTheOriginHasNotIsNotFoundHoweverOftenItIsAskedFor() async throws {
        let scratch = try ExampleProcess.Scratch()
        let (origin, originURL) = try await start(["origin", "--delay", "5"])
        let serve = ["serve", "--upstream", originURL.absoluteString, "--store", scratch.path + "/cache"]
        let (service, serviceURL) = try await start(serve + ["--fresh", "1"])
        func item(_ name: String, _ service: URL) -> URL { service.appendingPathComponent("items/\(name)") }

        #expect(try await send("DELETE", item("none", originURL)).0 == 204)
        for _ in 0..<3 { #expect(try await send("GET", item("none", serviceURL)).0 == 404) }
        // One that it deletes is served until it is due, and then no more.
        #expect(try await get(item("some", serviceURL)) == "item some")
        #expect(try await send("DELETE", item("some", originURL)).0 == 204)
        while try await send("GET", item("some", serviceURL)).0 == 200 { try await Task.sleep(for: .milliseconds(50)) }
        #expect(try await send("GET", item("some", serviceURL)).0 == 404)
        // And one that comes back is found again.
        #expect(try await send("PUT", item("some", originURL), "again").0 == 204)
        while try await send("GET", item("some", serviceURL)).0 == 404 { try await Task.sleep(for: .milliseconds(50)) }
        #expect(try await get(item("some", serviceURL)) == "again")
        try await onThread {
            [both = [Started(example: service, url: serviceURL), Started(example: origin, url: originURL)]] in
            for started in both { started.example.crash() }
        }
    }
}
