import ArgumentParser
internal import Varve
internal import VarveEngine

/// `varve changes`.
struct ChangesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "changes", abstract: "Print the changes of a store in the order of its log.",
        discussion: """
            Lines of cursor, kind, key and value or range's end, with tabs between and escaped as scan prints them; with \
            --json one object a line. Kinds: put, absent (a cache learnt that there is no value), delete, \
            delete-range, tag-drop, source-floors (what is older than a source version was removed), and for the store as a whole namespace, clock, mark. Only what a power cut could not \
            take back is printed. The cursor says where to go on (--since); changes that were written together carry it \
            with the last of them. Where the log no longer reaches back so far, or the cursor is of another history, the \
            command exits with 1. Works on a store that another process has open, over that process's socket.
            """)

    @OptionGroup var store: StoreOptions
    @OptionGroup var text: TextOptions
    @Option(
        help: ArgumentHelp(
            "A cursor from an earlier run: print what came after it; or oldest (the default), or now.",
            valueName: "cursor"))
    var since: FeedStartArgument = .init(.oldest)
    @Option(help: ArgumentHelp("Only keys that begin so.", valueName: "prefix"))
    var prefix: String?
    @OptionGroup var namespace: NamespaceOptions
    @Flag(help: "Go on as the store is written by the process that has it open, until that closes it.")
    var follow = false

    func run() throws {
        let request = OwnerChangesRequest(
            namespaces: [namespace.name], prefix: try prefix.map(text.bytes) ?? [], start: since.start, follows: follow,
            includesStoreRecords: true)
        var output = StandardOutput()
        let isJSON = store.json
        try StoreOpener.withStore(store.dir, .read) { opened in
            try opened.changes(request) { change in
                try output.append { ChangeLine.append(change, isJSON: isJSON, to: &$0) }
                // Who follows wants to see it now.
                if follow, change.endsBatch { try output.flush() }
            }
        }
        try output.flush()
    }
}

/// Where a feed begins, as the command line says it.
struct FeedStartArgument: ExpressibleByArgument, Sendable, Equatable {
    let start: ChangeStart

    init(_ start: ChangeStart) { self.start = start }

    init?(argument: String) {
        switch argument {
        case "oldest": start = .oldest
        case "now": start = .now
        default:
            guard let cursor = ChangeCursor(argument) else { return nil }
            start = .after(cursor)
        }
    }

    var defaultValueDescription: String { "oldest" }
}

/// One change as a line.
enum ChangeLine {
    static func append(_ change: Change, isJSON: Bool, to out: inout [UInt8]) {
        if isJSON {
            out.append(contentsOf: json(change).text.utf8)
        } else {
            out.append(contentsOf: change.endsBatch ? Array(change.cursor.description.utf8) : [UInt8(ascii: "-")])
            out.append(0x09)
            out.append(contentsOf: kind(change).utf8)
            out.append(0x09)
            Escaping.append(change.key, to: &out)
            out.append(0x09)
            switch change.kind {
            case .put(let value, _): Escaping.append(value, to: &out)
            case .deleteRange(let end?): Escaping.append(end, to: &out)
            case .tagDrop(let number): out.append(contentsOf: "\(number)".utf8)
            default: break
            }
        }
        out.append(0x0A)
    }

    private static func kind(_ change: Change) -> String {
        switch change.kind {
        case .put(_, let fields): StoredAbsence.isMarked(by: fields.valueType) ? "absent" : "put"
        case .delete: "delete"
        case .deleteRange: "delete-range"
        case .tagDrop: "tag-drop"
        case .sourceFloors: "source-floors"
        case .namespaceMade: "namespace"
        case .clock: "clock"
        case .mark: "mark"
        case .progress: "progress"
        }
    }

    private static func json(_ change: Change) -> JSONValue {
        var members: [JSONValue.Member] = [
            .init("lsn", .unsigned(change.lsn.rawValue)), .init("cursor", .string(change.cursor.description)),
            .init("ends_batch", .bool(change.endsBatch)), .init("time", .integer(change.commitTime)),
            .init("kind", .string(kind(change))),
        ]
        switch change.kind {
        case .put(let value, let fields):
            members += [JSONValue.bytes("key", change.key), JSONValue.bytes("value", value)]
            if let until = fields.usableUntil { members.append(.init("expires_at", .integer(until))) }
        case .delete, .namespaceMade, .mark: members.append(JSONValue.bytes("key", change.key))
        case .deleteRange(let end):
            members.append(JSONValue.bytes("from", change.key))
            if let end { members.append(JSONValue.bytes("to", end)) }
        case .tagDrop(let number): members.append(.init("tag", .unsigned(number)))
        case .clock(let reading, let offset, let isFrozen):
            members += [
                .init("reading", .integer(reading)), .init("offset", .integer(offset)),
                .init("frozen", .bool(isFrozen)),
            ]
        case .sourceFloors, .progress: break
        }
        return .object(members)
    }
}
