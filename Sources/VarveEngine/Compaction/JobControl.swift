internal import Synchronization

/// How far a flush or compaction is.
struct JobProgress: Hashable, Sendable {
    var entriesRead: UInt64 = 0
    /// Into finished tables and the one being written.
    var bytesWritten: UInt64 = 0
    var tablesFinished = 0
}

/// The reins of one background job: cancel it, hold it back, watch it. Any thread may cancel; the job asks between
/// entries.
final class JobControl: Sendable {
    private let cancelled = Atomic<Bool>(false)
    private let limiter: RateLimiter?
    private let sleep: @Sendable (UInt64) -> Void
    private let observe: (@Sendable (JobProgress) -> Void)?

    /// `sleep`: waits for that many nanoseconds; called in short pieces, so that a cancelled job ends soon. `observe`:
    /// called on the job's thread every few hundred KiB; must be short.
    init(
        limiter: RateLimiter? = nil, sleep: @escaping @Sendable (UInt64) -> Void = { _ in },
        observe: (@Sendable (JobProgress) -> Void)? = nil
    ) {
        self.limiter = limiter
        self.sleep = sleep
        self.observe = observe
    }

    // Relaxed: the flag orders nothing else.
    func cancel() { cancelled.store(true, ordering: .relaxed) }
    var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

    private static let sleepPiece: UInt64 = 20_000_000

    /// Between two entries: reports, waits for the limiter, and throws `.cancelled`.
    func step(_ progress: JobProgress, newBytes: UInt64) throws(VarveError) {
        observe?(progress)
        var wait = newBytes > 0 ? limiter?.take(newBytes) ?? 0 : 0
        while wait > 0, !isCancelled {
            sleep(min(wait, JobControl.sleepPiece))
            wait -= min(wait, JobControl.sleepPiece)
        }
        if isCancelled { throw VarveError(.cancelled, "the background job was cancelled; its output is removed") }
    }
}
