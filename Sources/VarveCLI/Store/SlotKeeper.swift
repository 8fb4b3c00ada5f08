import Foundation
internal import VarveEngine
internal import VarveIO

/// Moves a source's slot along as a follower makes the source's log its own: at most once a second, on a thread of its own,
/// so that neither the stream nor the end of one waits for the source's disk.
///
/// The slot never stands beyond what the follower has on disk: it is moved after a sync. Where nobody answers for the
/// source a move waits for a later one, the last of which opens the source itself. A move that fails is told once; the log
/// is then kept a little longer, and nothing else happens. A slot that was removed meanwhile is told, and not made again.
///
/// A place goes with its history: a source that was restored to an earlier moment has other changes at the same LSNs, and
/// refuses.
final class SlotKeeper: Sendable {
    private struct State: Sendable {
        var reached: ChangeCursor?
        var isOver = false
    }

    private let name: String
    private let source: String
    private let engine: Engine
    private let state = Monitor(State())
    private let thread: Monitor<IOThread?> = Monitor(nil)

    /// Each move is an edit of the source's manifest, so there are few.
    private static let period = Duration.seconds(1)

    init(name: String, source: String, engine: Engine) {
        self.name = name
        self.source = source
        self.engine = engine
    }

    func start() throws {
        let started = try IOThread(name: "varve-slot") { [self] in run() }
        thread.withLock { $0 = started }
    }

    /// The follower has reached its present position. Costs next to nothing.
    func advance() {
        let place = ChangeCursor(engine.position)
        state.withLock { $0.reached = place }
        state.notifyAll()
    }

    /// The last move, and the end of the thread. A source that nobody has open is opened for it.
    func finish() {
        advance()
        state.withLock { $0.isOver = true }
        state.notifyAll()
        thread.withLock { $0 }?.join()
    }

    private enum Outcome { case moved, isSilent, isRemoved }

    private func run() {
        var moved: ChangeCursor?
        var hasComplained = false
        while true {
            let now = state.wait { $0.isOver || $0.reached != moved ? $0 : nil }
            if let reached = now.reached, reached != moved {
                do {
                    try engine.sync()
                    switch try move(to: reached, isLast: now.isOver) {
                    case .moved: moved = reached
                    case .isSilent: break
                    case .isRemoved:
                        return StandardError.print(
                            "varve: the slot \(name) of \(source) was removed: no log is kept for this copy any more")
                    }
                } catch {
                    if !hasComplained {
                        StandardError.print("varve: the slot \(name) of \(source) was not moved: \(error)")
                    }
                    hasComplained = true
                }
            }
            if now.isOver { return }
            _ = state.wait(atMost: SlotKeeper.period) { $0.isOver ? true : nil }
        }
    }

    private func move(to place: ChangeCursor, isLast: Bool) throws(VarveError) -> Outcome {
        if let outcome = try askOwner(to: place, isLast: isLast) { return outcome }
        guard isLast else { return .isSilent }
        var options = EngineOptions()
        options.createIfMissing = false
        options.promotesCopies = false
        let source: Engine
        do { source = try Engine.open(at: self.source, options) } catch {
            guard error.code == .readOnly else { throw error }
            source = try Engine.openFollower(at: self.source, options)
        }
        let isThere: Bool
        do { isThere = try source.moveSlot(name, to: place) } catch {
            try? source.close()
            throw error
        }
        try source.close()
        return isThere ? .moved : .isRemoved
    }

    /// Nil where its owner is gone, or on its way.
    private func askOwner(to place: ChangeCursor, isLast: Bool) throws(VarveError) -> Outcome? {
        let client: OwnerClient
        do { client = try OwnerClient.connect(toStoreAt: source, PosixFileSystem()) } catch {
            // Whatever keeps it from being asked, the last move opens the source.
            guard isLast || SlotKeeper.isSilence(error.code) else { throw error }
            return nil
        }
        defer { client.close() }
        do { return try client.moveSlot(name, to: place) ? .moved : .isRemoved } catch {
            guard SlotKeeper.isSilence(error.code) else { throw error }
            return nil
        }
    }

    private static func isSilence(_ code: VarveError.Code) -> Bool {
        code == .io || code == .closed || code == .storeInUse || code == .timedOut
    }
}
