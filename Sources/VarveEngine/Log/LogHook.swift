internal import Synchronization

/// Whom to tell of something that happens to the log: each sync, or that it has failed for good. Set once, by a part that
/// is made after the log's writer.
final class LogHook<Event: Sendable>: Sendable {
    /// A closure that stands alone in a generic place is wrapped anew each time it is taken out by `inout`, and one thunk
    /// more is called ever after. Within a struct it stays what it is.
    private struct Hook {
        var body: (@Sendable (Event) -> Void)?
    }

    private let hook = Mutex(Hook())

    func set(_ body: @escaping @Sendable (Event) -> Void) { hook.withLock { $0.body = body } }

    /// Runs outside of the lock.
    func call(_ event: Event) {
        let body = hook.withLock { $0.body }
        body?(event)
    }
}
