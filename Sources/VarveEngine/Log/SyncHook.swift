internal import Synchronization

/// Whom to tell of each sync. Set once, by the pipeline that is made after the log's writer.
final class SyncHook: Sendable {
    /// A closure that stands alone in a generic place is wrapped anew each time it is taken out by `inout`, and one thunk
    /// more is called ever after. Within a struct it stays what it is.
    private struct Hook {
        var body: (@Sendable (LSN) -> Void)?
    }

    private let hook = Mutex(Hook())

    func set(_ body: @escaping @Sendable (LSN) -> Void) { hook.withLock { $0.body = body } }

    /// Runs outside of the lock.
    func call(_ lsn: LSN) {
        let body = hook.withLock { $0.body }
        body?(lsn)
    }
}
