import Synchronization

/// The history of a running workload, as the observer of its file system may read it in the middle of a call.
final class Ledger: Sendable {
    /// A checkpoint that was begun, and the batch it shows.
    struct Checkpoint: Sendable {
        let path: String
        let index: Int
        /// It was acknowledged, so it survives everything.
        let isMade: Bool
    }

    private let state: Mutex<(history: StoreHistory, checkpoint: Checkpoint?)>

    init(_ history: StoreHistory) { state = Mutex((history, nil)) }

    var now: StoreHistory { state.withLock { $0.history } }
    /// The last one begun.
    var checkpoint: Checkpoint? { state.withLock { $0.checkpoint } }

    func update(_ change: (inout StoreHistory) -> Void) { state.withLock { change(&$0.history) } }
    func begin(_ checkpoint: Checkpoint) { state.withLock { $0.checkpoint = checkpoint } }
}
