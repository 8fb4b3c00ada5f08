internal import Synchronization

/// How long loads took lately: each new one moves it by an eighth of the difference, as TCP smooths round trips (RFC 6298).
/// Any thread.
final class LoadTime: Sendable {
    private let smoothed = Atomic<Int64>(0)

    /// In nanoseconds; 0: nothing was loaded yet.
    var nanoseconds: Int64 { smoothed.load(ordering: .relaxed) }

    func note(_ took: Int64) {
        // Of two that end at once one may be lost: it is an estimate.
        let before = nanoseconds
        smoothed.store(max(1, before == 0 ? took : before + (took - before) / 8), ordering: .relaxed)
    }
}
