import ArgumentParser
import Foundation

/// `varve put`.
struct PutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Store a value under a key.",
        discussion: "Makes the store where there is none. The value '-' is read from standard input.")

    @OptionGroup var store: StoreOptions
    @OptionGroup var namespace: NamespaceOptions
    @OptionGroup var text: TextOptions
    @Option(help: ArgumentHelp("Expire after this time, such as 90s, 5m or 1h30m.", valueName: "duration"))
    var ttl: DurationArgument?
    @Option(help: "What the write survives when this returns: synced (a power cut) or interval (the default).")
    var durability: DurabilityChoice?
    @OptionGroup var promotion: PromotionOptions
    @Argument var key: String
    @Argument var value: String

    func run() throws {
        let bytes = value == "-" ? Array(try FileHandle.standardInput.readToEnd() ?? Data()) : try text.bytes(value)
        let record = Record(key: try text.bytes(key), value: bytes)
        try StoreOpener.withStore(store.dir, .write, promotes: promotion.promote) { opened in
            try opened.put(
                record,
                WriteOptions(namespace: namespace.name, durability: durability, timeToLive: ttl?.nanoseconds))
        }
        if store.json { try StandardOutput.print(JSONValue.object([.init("acknowledged", .unsigned(1))]).text) }
    }
}

/// `varve get`.
struct GetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print the value of a key.",
        discussion: "The value's bytes as they are, and a newline. Exits with 1 where the key is not there.")

    @OptionGroup var store: StoreOptions
    @OptionGroup var namespace: NamespaceOptions
    @OptionGroup var text: TextOptions
    @Flag(help: "Print no newline behind the value.")
    var raw = false
    @Argument var key: String

    func run() throws {
        let key = try text.bytes(key)
        let found = try StoreOpener.withStore(store.dir, .read) { try $0.get(key, in: namespace.name) }
        guard let found else { throw NegativeResult("the key \(self.key) is not there") }
        var output = StandardOutput()
        if store.json {
            try output.append { RecordFormat.jsonl.append(found, to: &$0) }
        } else {
            try output.write(found.value)
            if !raw { try output.write([0x0A]) }
        }
        try output.flush()
    }
}

/// `varve delete`.
struct DeleteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Make keys absent.", discussion: "Exits with 0 also where a key was not there."
    )

    @OptionGroup var store: StoreOptions
    @OptionGroup var namespace: NamespaceOptions
    @OptionGroup var text: TextOptions
    @Option(help: "What the deletes survive when this returns: synced (a power cut) or interval (the default).")
    var durability: DurabilityChoice?
    @OptionGroup var promotion: PromotionOptions
    @Argument(help: "One or more keys; they go in one atomic batch.")
    var keys: [String]

    func validate() throws {
        if keys.isEmpty { throw ValidationError("Name at least one key.") }
    }

    func run() throws {
        let keys = try keys.map(text.bytes)
        try StoreOpener.withStore(store.dir, .maintain, promotes: promotion.promote) {
            try $0.delete(keys, WriteOptions(namespace: namespace.name, durability: durability))
        }
        if store.json {
            try StandardOutput.print(JSONValue.object([.init("acknowledged", .unsigned(UInt64(keys.count)))]).text)
        }
    }
}

/// `varve scan`.
struct ScanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scan", abstract: "Print entries in key order.",
        discussion: """
            Lines of key, tab, value. A tab, newline, carriage return or backslash is written as \\t, \\n, \\r or \\\\, \
            and every other byte that does not print as \\xHH; --escaped reads such keys back. With --json: one object \
            a line.
            """)

    @OptionGroup var store: StoreOptions
    @OptionGroup var namespace: NamespaceOptions
    @OptionGroup var text: TextOptions
    @Option(help: ArgumentHelp("Only keys that begin so.", valueName: "prefix"))
    var prefix: String?
    @Option(help: ArgumentHelp("The first key to print.", valueName: "key"))
    var from: String?
    @Option(help: ArgumentHelp("The key before which to stop.", valueName: "key"))
    var to: String?
    @Option(help: ArgumentHelp("Print at most so many entries.", valueName: "n"))
    var limit: UInt64?
    @Flag(help: "From the last key down to the first.")
    var reverse = false

    func run() throws {
        var range = ScanRange()
        range.namespace = namespace.name
        range.prefix = try prefix.map(text.bytes)
        range.from = try from.map(text.bytes)
        range.to = try to.map(text.bytes)
        range.isReverse = reverse
        range.limit = limit ?? .max
        let format = store.json ? RecordFormat.jsonl : .tsv
        var output = StandardOutput()
        try StoreOpener.withStore(store.dir, .read) { opened in
            try opened.scan(range) { record in
                try output.append { format.append(record, to: &$0) }
                return true
            }
        }
        try output.flush()
    }
}
