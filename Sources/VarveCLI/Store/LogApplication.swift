import Foundation
import Synchronization
internal import VarveEngine
internal import VarveIO

/// Applies the log of a source to a follower, whoever has the source open, and keeps on where that is asked for.
final class LogApplication {
    /// How far a follower is behind.
    struct Lag {
        let lsn: LSN
        /// What the source has synced.
        let source: LSN
    }

    struct Outcome {
        var report: ApplyReport
        /// The source held nothing more, as far as it was looked at.
        var sourceEnded: Bool
        var seconds: Double
    }

    private let engine: Engine
    private let source: String
    private let target: ApplyTarget
    private let follows: Bool
    private let slot: SlotKeeper?
    private let tell: (Lag) -> Void
    private let interruption = Interruption()

    init(
        engine: Engine, source: String, target: ApplyTarget, follows: Bool, slot: String?, tell: @escaping (Lag) -> Void
    ) {
        self.engine = engine
        self.source = source
        self.target = target
        self.follows = follows
        self.slot = slot.map { SlotKeeper(name: $0, source: source, engine: engine) }
        self.tell = tell
    }

    /// The names of those for whom the source keeps log.
    func sourceSlots() throws -> [String] {
        switch try reach() {
        case .closed(let closed):
            defer { try? closed.close() }
            return closed.statistics.slots.map(\.name)
        case .open(let owner):
            defer { owner.close() }
            struct Statistics: Decodable {
                struct Slot: Decodable { let name: String }
                let slots: [Slot]
            }
            return try JSONDecoder().decode(Statistics.self, from: Data(owner.statistics().utf8)).slots.map(\.name)
        }
    }

    /// Returns when the target is reached, the source has no more, or, where it follows, the process is interrupted.
    func run() throws -> Outcome {
        if follows { interruption.listen() }
        try slot?.start()
        defer { slot?.finish() }
        let began = BenchClock.now()
        let from = engine.position
        var bytes: UInt64 = 0
        var ended = false
        var isOver = false
        while !isOver {
            switch try reach() {
            case .closed(let closed):
                defer { try? closed.close() }
                let report = try engine.apply(from: closed, upTo: target)
                bytes += report.bytes
                ended = report.stoppedBefore == nil
                isOver = true
            case .open(let owner):
                (isOver, ended) = try follow(owner, &bytes)
            }
        }
        let to = engine.position
        tell(Lag(lsn: to.lsn, source: to.lsn))
        return Outcome(
            report: ApplyReport(from: from, to: to, bytes: bytes, stoppedBefore: ended ? nil : to.lsn.next),
            sourceEnded: ended, seconds: Double(BenchClock.now() &- began) * 1e-9)
    }

    /// Takes what the owner streams. Whether that was all, and whether the source held no more (as far as was looked, where
    /// the process is interrupted).
    private func follow(_ owner: OwnerClient, _ bytes: inout UInt64) throws -> (isOver: Bool, ended: Bool) {
        let before = engine.statistics.logBytesAppended
        defer { bytes += engine.statistics.logBytesAppended &- before }
        interruption.set(owner)
        defer { interruption.set(nil) }
        var synced = LSN.zero
        do {
            try engine.apply(from: owner, upTo: target, follows: follows) { now in
                synced = now
                tell(Lag(lsn: engine.position.lsn, source: now))
                slot?.advance()
                return !interruption.isRaised
            }
            return (true, synced <= engine.position.lsn)
        } catch {
            let hasEnded = error.code == .closed || error.code == .cancelled
            // The source was closed, or its process died: what it left is taken from its folder.
            guard hasEnded, follows || interruption.isRaised else { throw error }
            try engine.sync()
            return (interruption.isRaised, interruption.isRaised)
        }
    }

    private enum Source {
        case closed(Engine)
        case open(OwnerClient)
    }

    /// How long a source may be held by somebody who answers nothing: one that is being opened or closed.
    private static let patience = Duration.seconds(10)

    private func reach() throws -> Source {
        let clock = ContinuousClock()
        let end = clock.now + LogApplication.patience
        while true {
            do {
                return .closed(try Engine.openReadOnly(at: source))
            } catch {
                guard error.code == .storeInUse else { throw error }
                if let owner = try? OwnerClient.connect(toStoreAt: source, PosixFileSystem()) { return .open(owner) }
                guard clock.now < end, !interruption.isRaised else { throw error }
                usleep(20_000)
            }
        }
    }
}

extension LogApplication.Outcome {
    var json: String {
        JSONValue.object([
            .init("from", LogApplication.Outcome.json(report.from)),
            .init("to", LogApplication.Outcome.json(report.to)),
            .init("bytes", .unsigned(report.bytes)),
            .init("stopped_before", report.stoppedBefore.map { .unsigned($0.rawValue) } ?? .null),
            .init("seconds", .number(seconds)),
        ]).text
    }

    var text: String {
        let count = report.to.lsn.rawValue - report.from.lsn.rawValue
        let rest = report.stoppedBefore.map { ", stopped before LSN \($0)" } ?? ""
        return """
            applied \(count) LSNs, \(SizeText.describe(report.bytes)) of log\(rest)
            from  \(report.from)
            to    \(report.to)
            """
    }

    private static func json(_ position: LogPosition) -> JSONValue {
        let hash = String(position.runningHash, radix: 16)
        return .object([
            .init("lsn", .unsigned(position.lsn.rawValue)), .init("timeline", .string(position.timeline.description)),
            .init("running_hash", .string(String(repeating: "0", count: 16 - hash.count) + hash)),
        ])
    }
}

/// SIGINT and SIGTERM as a wish to stop: the stream that runs is ended, and the command goes on to its orderly end.
private final class Interruption: Sendable {
    private struct State {
        var isRaised = false
        var client: OwnerClient?
    }

    private let state = Mutex(State())
    private let signals = StopSignals()

    var isRaised: Bool { state.withLock { $0.isRaised } }

    /// From now on the signals are taken.
    func listen() { signals.listen { [self] _ in raise() } }

    /// The stream to end.
    func set(_ client: OwnerClient?) {
        let isLate = state.withLock { state in
            state.client = client
            return state.isRaised
        }
        if isLate { client?.close() }
    }

    private func raise() {
        let client = state.withLock { state in
            state.isRaised = true
            return state.client
        }
        client?.close()
    }
}
