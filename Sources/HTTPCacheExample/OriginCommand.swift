import ArgumentParser
import Hummingbird
import Synchronization

/// The slow service: every item takes a while, and it counts how often it was asked.
struct OriginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "origin", abstract: "The slow service: GET, PUT and DELETE /items/ID, GET /asked.")

    @OptionGroup var listening: Listening
    @Option(help: "Milliseconds that an answer takes.")
    var delay = 20

    private final class Items: Sendable {
        let asked = Atomic<Int>(0)
        /// Nil: deleted. Of the others the service makes something up.
        let texts = Mutex<[String: String?]>([:])
    }

    func run() async throws {
        let items = Items()
        let delay = max(0, delay)
        let router = Router()
        router.get("items/:id") { _, context -> String in
            let id = try context.parameters.require("id")
            items.asked.add(1, ordering: .relaxed)
            try await Task.sleep(for: .milliseconds(delay))
            guard let text = items.texts.withLock({ $0[id] ?? "item \(id)" }) else { throw HTTPError(.notFound) }
            return text
        }
        router.put("items/:id") { request, context -> HTTPResponse.Status in
            let id = try context.parameters.require("id")
            let body = try await request.body.collect(upTo: 1 << 20)
            items.texts.withLock { $0[id] = String(buffer: body) }
            return .noContent
        }
        router.delete("items/:id") { _, context -> HTTPResponse.Status in
            let id = try context.parameters.require("id")
            items.texts.withLock { $0[id] = .some(nil) }
            return .noContent
        }
        router.get("asked") { _, _ -> String in String(items.asked.load(ordering: .relaxed)) }
        try await Service.run(router, on: listening.port)
    }
}
