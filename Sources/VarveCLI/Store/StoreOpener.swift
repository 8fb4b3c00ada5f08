import Foundation
internal import VarveEngine
internal import VarveIO

/// Opens the store that a command works on: itself, or through the process that has it open.
enum StoreOpener {
    /// What the command is going to do.
    enum Access: Sendable {
        /// Reads, and changes nothing on disk: the store must be there.
        case read
        /// Writes: the store is made where there is none.
        case write
        /// Writes nothing new, but must be the one who may: the store must be there.
        case maintain
        /// The same for what a copy allows as well, which stays one.
        case serve
    }

    static func withStore<R>(
        _ directory: String, _ access: Access, promotes: Bool = false, _ body: (any StoreCommands) throws -> R
    ) throws -> R {
        let store = try open(directory, access, promotes)
        let result: R
        do { result = try body(store) } catch {
            // What the command met is what the user must see; closing adds nothing to it.
            try? store.close()
            throw error
        }
        try store.close()
        return result
    }

    /// How long a command waits for one that holds the store only for a moment: a reader takes the lock too, and names
    /// no socket.
    private static let patience = Duration.milliseconds(2000)

    private static func open(
        _ directory: String, _ access: Access, _ promotes: Bool
    ) throws -> any StoreCommands {
        if access == .write { try Place.checkStoreToMake(directory) } else { try Place.checkStore(directory) }
        let clock = ContinuousClock()
        let end = clock.now + patience
        while true {
            do {
                let engine = try openHere(directory, access, promotes)
                remark(on: engine)
                return EngineStore(engine)
            } catch let error as VarveError where error.code == .storeInUse {
                if let client = try? OwnerClient.connect(toStoreAt: directory, PosixFileSystem()) {
                    return OwnedStore(client)
                }
                guard clock.now < end else { throw error }
                usleep(20_000)
            }
        }
    }

    /// What the degraded mark did or does to the store, which nobody would guess from its being empty.
    private static func remark(on engine: Engine) {
        if let cause = engine.degradedMark {
            StandardError.print(
                "varve: the degraded mark of \(engine.directory) is set (\(cause)): its entries may be outdated and are "
                    + "not shown; the next process that writes the store drops them")
        }
        if let cause = engine.droppedAtOpening {
            StandardError.print(
                "varve: the degraded mark of \(engine.directory) was set (\(cause)): all its entries were dropped")
        }
    }

    private static func openHere(_ directory: String, _ access: Access, _ promotes: Bool) throws -> Engine {
        var options = EngineOptions()
        options.createIfMissing = access == .write
        options.promotesCopies = promotes
        let bar = ProgressBar("replaying the log")
        defer { bar.finish() }
        let tell: @Sendable (RecoveryProgress) -> Void = { bar.update($0.bytesDone, of: $0.bytesTotal) }
        switch access {
        case .read: return try Engine.openReadOnly(at: directory, options, progress: tell)
        case .write, .maintain, .serve:
            do { return try Engine.open(at: directory, options, progress: tell) } catch {
                guard error.code == .readOnly else { throw error }
                if access == .serve { return try Engine.openFollower(at: directory, options, progress: tell) }
                throw UsageFailure("\(error.message); --promote wants that")
            }
        }
    }
}
