import ArgumentParser

/// The options that every command on a store has.
struct StoreOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The store's folder.", valueName: "folder"))
    var dir = "./varve-data"

    @Flag(name: .long, help: "Print JSON instead of text.")
    var json = false
}

/// Which of a store's key spaces a command works on.
struct NamespaceOptions: ParsableArguments {
    @Option(
        name: .customLong("namespace"),
        help: ArgumentHelp("The namespace, or the cache of that name.", valueName: "name"))
    var name = "default"
}

/// Whether a command may turn a copy into a store of its own.
struct PromotionOptions: ParsableArguments {
    @Flag(help: "Write a checkpoint or a follower; it then has a history of its own and can follow no longer.")
    var promote = false
}

/// What a write must survive when it is acknowledged.
enum DurabilityChoice: String, ExpressibleByArgument, CaseIterable, Sendable {
    case synced, interval
}

extension RecordFormat: ExpressibleByArgument {}

/// A length of time such as `90s`, in nanoseconds.
struct DurationArgument: ExpressibleByArgument, Sendable, Equatable {
    let nanoseconds: Int64

    init?(argument: String) {
        guard let nanoseconds = DurationText.parse(argument) else { return nil }
        self.nanoseconds = nanoseconds
    }
}

/// A size such as `64MiB`, in bytes.
struct SizeArgument: ExpressibleByArgument, Sendable, Equatable {
    let bytes: UInt64

    init(bytes: UInt64) { self.bytes = bytes }

    init?(argument: String) {
        guard let bytes = SizeText.parse(argument) else { return nil }
        self.bytes = bytes
    }

    var defaultValueDescription: String { SizeText.describe(bytes) }
}

/// How keys and values on the command line are to be read.
struct TextOptions: ParsableArguments {
    @Flag(name: .long, help: "Read keys and values with the escapes that scan writes (\\t \\n \\r \\\\ \\xHH).")
    var escaped = false

    func bytes(_ text: String) throws -> [UInt8] {
        guard escaped else { return Array(text.utf8) }
        guard let bytes = Escaping.unescape(Array(text.utf8)) else {
            throw UsageFailure("\"\(text)\" holds a backslash that begins no escape; known are \\t \\n \\r \\\\ \\xHH")
        }
        return bytes
    }
}
