internal import Synchronization

/// Whom to tell that the log has failed for good. Set by the store, which is made after the log's writer.
final class FailureHook: Sendable {
    private let body = Mutex<(@Sendable (VarveError) -> Void)?>(nil)

    func set(_ body: @escaping @Sendable (VarveError) -> Void) { self.body.withLock { $0 = body } }

    /// Runs outside of the lock.
    func call(_ error: VarveError) {
        let body = body.withLock { $0 }
        body?(error)
    }
}
