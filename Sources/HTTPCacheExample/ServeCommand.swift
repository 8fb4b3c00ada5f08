import ArgumentParser
import Foundation
import FoundationNetworking
import Hummingbird
internal import Varve

/// The service that applications would write: every item comes from the cache, or once from upstream.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "The cached service: GET /items/ID, DELETE /items/ID, GET /statistics.")

    @OptionGroup var listening: Listening
    @Option(help: "The service to cache, such as http://127.0.0.1:8081.")
    var upstream: String
    @Option(help: "The cache's folder.")
    var store: String
    @Option(help: "Seconds for which an item counts as fresh.")
    var fresh = 60

    func validate() throws {
        guard (1...3600).contains(fresh) else { throw ValidationError("--fresh is a number from 1 to 3600.") }
    }

    func run() async throws {
        guard let upstream = URL(string: upstream), upstream.scheme?.hasPrefix("http") == true else {
            throw ValidationError("--upstream is the address of an HTTP service.")
        }
        // Fresh for a minute or so, and for an hour good enough while upstream is slow or down.
        var options = CacheOptions(
            memory: .megabytes(64), disk: .gigabytes(1),
            expiry: Expiry(usable: .seconds(3600), fresh: .seconds(fresh), jitter: 0.1))
        options.loading.hardTimeout = .seconds(5)
        options.loading.backOff = .init()
        // That upstream has no such item is known for as long as an item is fresh.
        options.loading.absence = .seconds(fresh)
        let items = try await Cache<String, String>.open(at: store, options)
        await items.ready(atMost: .seconds(5))

        let router = Router()
        router.get("items/:id") { _, context -> String in
            let id = try context.parameters.require("id")
            let item: String?
            do {
                item = try await items.value(for: id, loading: { id in try await Self.fetch(id, from: upstream) })
            } catch {
                throw HTTPError(.badGateway, message: "\(error)")
            }
            guard let item else { throw HTTPError(.notFound) }
            return item
        }
        router.delete("items/:id") { _, context -> HTTPResponse.Status in
            try await items.remove(try context.parameters.require("id"))
            return .noContent
        }
        router.get("statistics") { _, _ -> String in
            let statistics = items.statistics
            return """
                {"requests": \(statistics.requests), "memoryHits": \(statistics.memoryHits), \
                "diskHits": \(statistics.diskHits), "loads": \(statistics.loads), \
                "loadsShared": \(statistics.loadsShared)}
                """
        }
        try await Service.run(router, on: listening.port)
        try await items.close()
    }

    /// What upstream has; that it has none is an answer, and no failure: nobody backs off from it, and it takes the place of
    /// what was there before.
    private static func fetch(_ id: String, from upstream: URL) async throws -> Loaded<String> {
        let address = upstream.appendingPathComponent("items").appendingPathComponent(id)
        let (data, response) = try await URLSession.shared.data(from: address)
        switch (response as? HTTPURLResponse)?.statusCode {
        case 200: return Loaded(String(decoding: data, as: UTF8.self))
        case 404: return Loaded(nil)
        case let status: throw URLError(.badServerResponse, userInfo: ["status": status ?? 0])
        }
    }
}
