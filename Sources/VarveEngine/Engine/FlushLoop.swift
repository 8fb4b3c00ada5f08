internal import Synchronization
internal import VarveIO

/// Writes sealed memtables into tables of level 0, oldest first, on a thread of its own.
///
/// A full disk does not end it: it tries again every second, so freed space lets writes resume without a restart.
final class FlushLoop: Sendable {
    struct Counts: Sendable {
        var flushes: UInt64 = 0
        var bytes: UInt64 = 0
    }

    private let store: StoreParts
    private let wake = Signal()
    /// Raised after each flush and each failure.
    let progress = Signal()
    private let isStopping = Atomic<Bool>(false)
    private let counts = Mutex(Counts())
    /// Whether the tables may take one more. Whoever makes room wakes this loop up.
    private let hasRoom: @Sendable () -> Bool
    /// Called after each flush: compaction may have work now, and log may go.
    private let didFlush: @Sendable () -> Void

    init(_ store: StoreParts, hasRoom: @escaping @Sendable () -> Bool, didFlush: @escaping @Sendable () -> Void) {
        self.store = store
        self.hasRoom = hasRoom
        self.didFlush = didFlush
    }

    var statistics: Counts { counts.withLock { $0 } }

    /// Something was sealed, or there may be room now.
    func wakeUp() { wake.raise() }

    func stop() {
        isStopping.store(true, ordering: .relaxed)
        wake.raise()
        progress.raise()
    }

    /// The thread's body.
    func run() {
        while case .flush(let sealed) = next() {
            let seen = wake.generation
            do throws(VarveError) {
                try flush(sealed)
                store.health.setPassing(nil)
                progress.raise()
                didFlush()
            } catch {
                store.health.note(error)
                progress.raise()
                if store.health.failure != nil { return }
                wake.wait(after: seen, atMost: .seconds(1))
            }
        }
    }

    private enum Next {
        case flush(ReadStateKeeper.Sealed)
        case end
    }

    /// Waits until there is something to do.
    private func next() -> Next {
        wake.wait { () -> Next? in
            if isStopping.load(ordering: .relaxed) { return .end }
            guard let sealed = store.keeper.sealed.first, hasRoom() else { return nil }
            return .flush(sealed)
        }
    }

    /// Flushes all that is sealed on the calling thread: where the store has no threads of its own.
    func runHere() throws(VarveError) {
        while let sealed = store.keeper.sealed.first {
            do throws(VarveError) {
                try flush(sealed)
            } catch {
                store.health.note(error)
                throw error
            }
            store.health.setPassing(nil)
            progress.raise()
            didFlush()
        }
    }

    private func flush(_ sealed: ReadStateKeeper.Sealed) throws(VarveError) {
        // A table must not know more than the log: else the log after a power cut would be short of what is flushed.
        try store.log.groupSync.wait(upTo: sealed.end.lsn)
        let horizon = store.visibleLSN()
        let snapshots = store.snapshots.live { horizon }
        let job = FlushJob(
            memtables: [sealed.memtable], snapshots: snapshots.filter { $0 <= horizon }, horizon: horizon,
            now: store.clock.now(), control: JobControl())
        let result = try job.run(into: store.outputs(commitTimes: sealed.times))
        var edit = VersionEdit()
        result.apply(to: &edit, level: 0)
        edit.flushed = sealed.end
        edit.lastCommitTime = sealed.times.upperBound
        edit.clock = store.clockState()
        edit.timelines = sealed.timelines
        try store.install(edit, made: result)
        store.keeper.dropSealed(1)
        store.accounts.count(result, isFlush: true)
        store.options.eviction.noteWritten(
            entries: result.tables.reduce(0) { $0 + Int(clamping: $1.properties.putCount) })
        counts.withLock { counts in
            counts.flushes += 1
            counts.bytes += result.bytesWritten
        }
    }
}
