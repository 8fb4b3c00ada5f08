internal import Synchronization

/// Whom to tell of each sync. Set once, by the pipeline that is made after the log's writer.
final class SyncHook: Sendable {
    private let body = Mutex<(@Sendable (LSN) -> Void)?>(nil)

    func set(_ body: @escaping @Sendable (LSN) -> Void) { self.body.withLock { $0 = body } }

    /// Runs outside of the lock.
    func call(_ lsn: LSN) {
        let body = body.withLock { $0 }
        body?(lsn)
    }
}
