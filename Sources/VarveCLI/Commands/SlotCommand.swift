import ArgumentParser
internal import VarveEngine

/// `varve slot`.
struct SlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slot", abstract: "Let go of log that is kept for a reader.",
        discussion: """
            `checkpoint --slot` makes slots, and `stats` lists them. Exits with 1 where there is none of that name. The \
            store must not be open elsewhere.
            """)

    @OptionGroup var store: StoreOptions
    @Option(help: ArgumentHelp("Forget this reader.", valueName: "name"))
    var remove: String

    func run() throws {
        var options = EngineOptions()
        options.createIfMissing = false
        let engine = try Engine.open(at: store.dir, options)
        let isThere = engine.statistics.slots.contains { $0.name == remove }
        do {
            try engine.removeSlot(remove)
        } catch {
            // What the command met is what the user must see; closing adds nothing to it.
            try? engine.close()
            throw error
        }
        try engine.close()
        guard isThere else { throw NegativeResult("there is no slot \(remove)") }
        if store.json { try StandardOutput.print(JSONValue.object([.init("removed", .string(remove))]).text) }
    }
}
