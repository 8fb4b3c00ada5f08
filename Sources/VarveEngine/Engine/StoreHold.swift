internal import Synchronization
internal import VarveIO

/// The hold that a process has on a store: its lock, and the socket at which it answers for it.
final class StoreHold: Sendable {
    private struct State: @unchecked Sendable {
        // Unchecked: the lock is touched under the mutex only, or by the opening that it was passed on to.
        /// Nil once another engine has it.
        var lock: StoreLock?
        var server: OwnerServer?
    }
    private let state: Mutex<State>

    init(_ lock: StoreLock) { state = Mutex(State(lock: lock, server: nil)) }

    /// What the previous holder left in LOCK, if it did not close.
    var previous: LockRecord? { state.withLock { $0.lock?.previous } }

    /// LOCK says under which boot the store is open, and where `server`, if there is one, answers from now on.
    func announce(_ record: LockRecord, _ server: OwnerServer?) throws(VarveError) {
        try state.withLock { (state) throws(VarveError) in
            state.server = server
            try state.lock?.publish(record)
        }
    }

    /// Not from a thread of the server's own.
    func stopServer() {
        let server = state.withLock { state in
            defer { state.server = nil }
            return state.server
        }
        server?.stop()
    }

    /// See `StoreLock.release`.
    func release(keepsRecord: Bool) { state.withLock { $0.lock?.release(keepsRecord: keepsRecord) } }

    /// The lock, for the opening of an engine that is to take this one's place; nil where it has one already.
    func passOn() -> StoreLock? {
        state.withLock { state in
            state.lock?.passOn()
            return state.lock
        }
    }

    /// The lock is another engine's.
    func letGo() { state.withLock { $0.lock = nil } }
}

/// Ends what an engine has running, without writing anything down: as if the process had died.
struct EngineEnding: Sendable {
    let writing: WritingParts?
    let context: StoreContext
    let hold: StoreHold

    func run() {
        hold.stopServer()
        writing?.stop()
        context.endThreads()
        hold.release(keepsRecord: true)
    }
}
