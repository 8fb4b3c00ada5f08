import ArgumentParser
import Foundation
internal import VarveEngine

/// `varve apply`.
struct ApplyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Bring a checkpoint forward with the log of the store it came from.",
        discussion: """
            --dir is a checkpoint, a store that took a log so before, or a copied folder; what takes a log is a copy of \
            its source from then on. Frames come over byte for byte and are checked against its position and running \
            hash; a log that does not continue it is refused (exit 1) with nothing changed. Without a bound everything \
            that the source holds is applied. Works on a source that another process has open, over that process's \
            socket.
            """)

    @OptionGroup var store: StoreOptions
    @Option(name: .customLong("from"), help: ArgumentHelp("The store whose log to apply.", valueName: "folder"))
    var source: String
    @Option(help: ArgumentHelp("Apply up to this LSN; a batch that goes beyond it is left out.", valueName: "n"))
    var lsn: UInt64?
    @Option(
        help: ArgumentHelp(
            "Apply what was committed up to this moment: nanoseconds since 1970, or as 2026-11-21T10:30:00Z.",
            valueName: "time"))
    var time: MomentArgument?
    @Flag(help: "Keep up as the source is written, until interrupted or until the source is closed.")
    var follow = false
    @Option(
        help: ArgumentHelp(
            "Move the slot of this name along, which checkpoint --slot made, so that the source lets the log go that "
                + "was applied.", valueName: "name"))
    var slot: String?

    func validate() throws {
        if lsn != nil, time != nil { throw ValidationError("Give --lsn or --time, not both.") }
        if let lsn, LSN(lsn) > LSN.max { throw ValidationError("--lsn is at most \(LSN.max).") }
    }

    func run() throws {
        let target = ApplyTarget(lsn: lsn.map { LSN($0) }, time: time?.nanoseconds)
        try Place.checkStore(store.dir)
        guard !Place.areSame(source, store.dir) else {
            throw UsageFailure("\(store.dir) is \(source) itself; --dir is a copy of it")
        }
        let engine = try Engine.openFollower(at: store.dir)
        let outcome: LogApplication.Outcome
        do {
            try checkNotBeyond(target, engine)
            let application = LogApplication(
                engine: engine, source: source, target: target, follows: follow, slot: slot
            ) { lag in
                guard follow, store.json else { return }
                try? StandardOutput.print(ApplyCommand.line(lag))
            }
            if let slot, try !application.sourceSlots().contains(slot) {
                throw UsageFailure("\(source) has no slot \(slot); `checkpoint --slot` makes one")
            }
            outcome = try application.run()
        } catch {
            // What the command met is what the user must see; closing adds nothing to it.
            try? engine.close()
            throw error
        }
        try engine.close()
        try StandardOutput.print(store.json ? outcome.json : outcome.text)
        if let lsn, outcome.report.to.lsn < LSN(lsn), outcome.sourceEnded {
            throw NegativeResult("the source's log ends at LSN \(outcome.report.to.lsn), before \(lsn)")
        }
    }

    /// A store cannot go back.
    private func checkNotBeyond(_ target: ApplyTarget, _ engine: Engine) throws {
        if let lsn = target.lsn, engine.position.lsn > lsn {
            throw NegativeResult(
                "\(store.dir) is at LSN \(engine.position.lsn) already, beyond \(lsn); begin from an earlier checkpoint"
            )
        }
        let last = engine.statistics.lastCommitTime
        if let time = target.time, last > time {
            throw NegativeResult(
                "\(store.dir) holds what was committed at \(last) already, after \(time); begin from an earlier checkpoint"
            )
        }
    }

    private static func line(_ lag: LogApplication.Lag) -> String {
        JSONValue.object([
            .init("lsn", .unsigned(lag.lsn.rawValue)), .init("source_lsn", .unsigned(lag.source.rawValue)),
            .init("lag", .unsigned(lag.source.rawValue - min(lag.lsn, lag.source).rawValue)),
        ]).text
    }
}

/// A moment: nanoseconds since 1970, or date and time as ISO 8601 writes them, with a zone.
struct MomentArgument: ExpressibleByArgument, Sendable, Equatable {
    let nanoseconds: Int64

    init?(argument: String) {
        if let nanoseconds = Int64(argument) {
            self.nanoseconds = nanoseconds
            return
        }
        // The formatter rounds fractions to milliseconds, so they are read apart.
        var whole = argument
        var fraction: Int64 = 0
        if let point = argument.firstIndex(of: ".") {
            let digits = argument[argument.index(after: point)...].prefix { $0.isASCII && $0.isNumber }
            guard (1...9).contains(digits.count),
                let number = Int64(digits + String(repeating: "0", count: 9 - digits.count))
            else { return nil }
            fraction = number
            whole.removeSubrange(point..<digits.endIndex)
        }
        guard let date = ISO8601DateFormatter().date(from: whole) else { return nil }
        let (scaled, tooLarge) = Int64(date.timeIntervalSince1970).multipliedReportingOverflow(by: 1_000_000_000)
        guard !tooLarge else { return nil }
        nanoseconds = scaled &+ fraction
    }
}
