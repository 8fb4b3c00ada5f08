import ArgumentParser
import Foundation
internal import VarveEngine

/// `varve repair`.
struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Salvage what is readable of a damaged store into a new one.",
        discussion: """
            The damaged store is not changed. Of each key the newest readable version is taken; deletes count where they \
            can be read. Prints what was brought over and each place that was lost. Look for a replica or a backup first.
            """)

    @OptionGroup var store: StoreOptions
    @Option(help: ArgumentHelp("The new store's folder, which must not be there yet.", valueName: "folder"))
    var into: String

    func run() throws {
        try Place.checkStore(store.dir)
        try Place.checkParent(of: into)
        let bar = ProgressBar("repair")
        let report = try Engine.repair(storeAt: store.dir, into: into) { bar.update($0, of: $1) }
        bar.finish()
        try StandardOutput.print(store.json ? report.json : text(report))
    }

    private func text(_ report: RepairReport) -> String {
        var lines = [
            "salvaged \(report.entries) entries into \(into)",
            "read \(report.tables) tables (\(report.blocks) blocks), \(report.logSegments) log segments "
                + "(\(report.logFrames) frames)",
        ]
        if !report.hasManifest {
            lines.append("no manifest could be read: every table was taken, so what was deleted may be back")
        }
        for loss in report.losses {
            let place = loss.offset.map { ", offset \($0)" } ?? ""
            let size = loss.bytes.map { ", \($0) bytes" } ?? ""
            lines.append("lost: \(loss.path)\(place)\(size): \(loss.reason)")
        }
        if report.losses.isEmpty { lines.append("nothing was lost") }
        return lines.joined(separator: "\n")
    }
}
