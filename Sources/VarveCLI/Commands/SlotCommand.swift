import ArgumentParser
internal import VarveEngine

/// `varve slot`.
struct SlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slot", abstract: "Let go of log that is kept for a reader.",
        discussion: """
            `checkpoint --slot` makes slots, `apply --slot` moves them, and `stats` lists them. Exits with 1 where there is \
            none of that name.
            """)

    @OptionGroup var store: StoreOptions
    @Option(help: ArgumentHelp("Forget this reader.", valueName: "name"))
    var remove: String

    func run() throws {
        let isThere = try StoreOpener.withStore(store.dir, .serve) { try $0.removeSlot(remove) }
        guard isThere else { throw NegativeResult("there is no slot \(remove)") }
        if store.json { try StandardOutput.print(JSONValue.object([.init("removed", .string(remove))]).text) }
    }
}
