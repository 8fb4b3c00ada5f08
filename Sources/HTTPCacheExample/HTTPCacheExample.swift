import ArgumentParser

/// A small HTTP service in front of a slow one: what a cache of one's own looks like in a Hummingbird application.
///
///     HTTPCacheExample origin --port 8081
///     HTTPCacheExample serve --upstream http://127.0.0.1:8081 --store /tmp/items --port 8080
///     curl -i http://127.0.0.1:8080/items/42
///
/// Kill `serve` as you like: started again, it asks the origin for nothing that it had.
@main
struct HTTPCacheExample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "HTTPCacheExample", abstract: "An HTTP service that caches a slow one and restarts warm.",
        subcommands: [ServeCommand.self, OriginCommand.self])
}

/// Where a service listens.
struct Listening: ParsableArguments {
    @Option(help: "The port on 127.0.0.1; 0: one that is free.")
    var port = 0

    func validate() throws {
        guard (0...65_535).contains(port) else { throw ValidationError("--port is a number from 0 to 65535.") }
    }
}
