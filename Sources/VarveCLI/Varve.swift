import ArgumentParser

@main
struct Varve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "varve", abstract: "A durable, ordered, replicated store.")
}
