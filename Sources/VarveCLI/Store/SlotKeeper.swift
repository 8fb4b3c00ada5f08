import Foundation
internal import VarveEngine
internal import VarveIO

/// Moves a source's slot along as a follower makes the source's log its own. One thread.
///
/// The slot never stands before what the follower has on disk: it is moved after a sync. A move that fails is told and
/// not repeated at once: the log is kept a little longer, and nothing else happens.
final class SlotKeeper {
    private let name: String
    private let source: String
    private let engine: Engine
    private var moved = LSN.zero
    private var last: ContinuousClock.Instant?
    private var hasComplained = false

    /// Each move is an edit of the source's manifest, so there are few.
    private static let period = Duration.seconds(1)

    init(name: String, source: String, engine: Engine) {
        self.name = name
        self.source = source
        self.engine = engine
    }

    /// To be called while the source is open, as often as one likes.
    func advance() {
        if let last, last.duration(to: .now) < SlotKeeper.period { return }
        move { lsn in try OwnerClient.connect(toStoreAt: source, PosixFileSystem()).moveSlot(name, to: lsn) }
    }

    /// To be called at the end: a source that nobody has open is opened for it.
    func finish() {
        move { lsn in
            if let client = try? OwnerClient.connect(toStoreAt: source, PosixFileSystem()) {
                return try client.moveSlot(name, to: lsn)
            }
            let source = try openSource()
            defer { try? source.close() }
            try source.registerSlot(name, at: lsn)
        }
    }

    private func openSource() throws(VarveError) -> Engine {
        var options = EngineOptions()
        options.createIfMissing = false
        options.promotesCopies = false
        do { return try Engine.open(at: source, options) } catch {
            guard error.code == .readOnly else { throw error }
            return try Engine.openFollower(at: source, options)
        }
    }

    private func move(_ body: (LSN) throws -> Void) {
        let lsn = engine.position.lsn
        guard lsn > moved else { return }
        do {
            try engine.sync()
            try body(lsn)
            moved = lsn
        } catch {
            if !hasComplained { StandardError.print("varve: the slot \(name) of \(source) was not moved: \(error)") }
            hasComplained = true
        }
        last = .now
    }
}
