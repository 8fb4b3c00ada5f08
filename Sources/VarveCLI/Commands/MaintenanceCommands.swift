import ArgumentParser
import Foundation
internal import VarveEngine

/// `varve stats`.
struct StatsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "stats", abstract: "Print the store's statistics.")

    @OptionGroup var store: StoreOptions

    func run() throws {
        let json = try StoreOpener.withStore(store.dir, .read) { try $0.statistics() }
        try StandardOutput.print(store.json ? json : JSONReport.text(json))
    }
}

/// `varve verify`.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read every byte of the store and check it.",
        discussion: "Exits with 65 and names the file and the place where something is damaged.")

    @OptionGroup var store: StoreOptions

    func run() throws {
        let bar = ProgressBar("verify")
        let json = try StoreOpener.withStore(store.dir, .read) { opened in
            defer { bar.finish() }
            return try opened.verify { bar.update($1, of: $2, $0 == "verify" ? "" : $0) }
        }
        try StandardOutput.print(store.json ? json : "fine\n" + JSONReport.text(json))
    }
}

/// `varve compact`.
struct CompactCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact", abstract: "Flush and merge everything, and drop what is deleted or expired.")

    @OptionGroup var store: StoreOptions
    @OptionGroup var promotion: PromotionOptions

    func run() throws {
        let bar = ProgressBar("compact")
        try StoreOpener.withStore(store.dir, .maintain, promotes: promotion.promote) { opened in
            try bar.whileWorking { try opened.compact { _, _, _ in } }
        }
        if store.json { try StandardOutput.print("{\"compacted\": true}") }
    }
}

/// `varve checkpoint`.
struct CheckpointCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint", abstract: "Make a copy of the store as it is now, by hard links.",
        discussion: "The folder must not be there yet. Prints the position at which the copy stands.")

    @OptionGroup var store: StoreOptions
    @Option(help: ArgumentHelp("Keep the log from there on for a reader of this name.", valueName: "name"))
    var slot: String?
    @Argument(help: "The new folder.")
    var folder: String

    func run() throws {
        try Place.checkParent(of: folder)
        let bar = ProgressBar("checkpoint")
        // The process that holds the store may work in another folder.
        let absolute = URL(fileURLWithPath: folder).standardizedFileURL.path
        let position = try StoreOpener.withStore(store.dir, .serve) { opened in
            defer { bar.finish() }
            return try opened.checkpoint(to: absolute, slot: slot) {
                bar.update($1, of: $2, $0 == "checkpoint" ? "" : $0)
            }
        }
        let line = JSONValue.object([
            .init("lsn", .unsigned(position.lsn.rawValue)), .init("position", .string(position.description)),
        ])
        try StandardOutput.print(store.json ? line.text : "checkpoint at \(position)")
    }
}

/// A JSON object as lines of `name  value` for people.
enum JSONReport {
    static func text(_ json: String) -> String {
        guard let object = try? JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any] else {
            return json
        }
        // Foundation forgets the order of members: that of the text is taken.
        let names = object.keys.sorted { place($0, json) < place($1, json) }
        let width = names.map(\.count).max() ?? 0
        return names.map { name in
            let padding = String(repeating: " ", count: width - name.count + 2)
            return name + padding + value(object[name] ?? NSNull())
        }.joined(separator: "\n")
    }

    private static func place(_ name: String, _ json: String) -> String.Index {
        json.range(of: "\"\(name)\":")?.lowerBound ?? json.endIndex
    }

    private static func value(_ value: Any) -> String {
        switch value {
        case let array as [Any]: array.isEmpty ? "none" : array.map(self.value).joined(separator: "; ")
        case let object as [String: Any]:
            object.isEmpty
                ? "none" : object.keys.sorted().map { "\($0) \(self.value(object[$0] ?? ""))" }.joined(separator: ", ")
        case is NSNull: "none"
        // How Foundation marks what the text calls true or false.
        case let number as NSNumber where unsafe number.objCType.pointee == CChar(UInt8(ascii: "c")):
            number.boolValue ? "yes" : "no"
        default: "\(value)"
        }
    }
}
