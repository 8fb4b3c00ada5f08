internal import Synchronization

/// Makes read states, one at a time: the only place where memtables and versions are put together.
///
/// Lock order: commit lock, then this one. Inside it nothing waits and nothing touches a file.
final class ReadStateKeeper: Sendable {
    /// A memtable that takes no more writes and waits for its flush.
    struct Sealed: Sendable {
        let memtable: Memtable
        /// Commit times of its first and last batch.
        let times: ClosedRange<Timestamp>
        /// The place after its last batch: what its flush reaches.
        let end: LogPosition
        /// Timelines that began within: its flush writes them down, since replay will not meet them again.
        var timelines: [TimelineOrigin] = []
    }

    private struct State {
        var active: Memtable
        /// Oldest first: the order of flushing.
        var sealed: [Sealed]
    }

    private let state: Mutex<State>
    private let versions: VersionSet
    let cell: ReadStateCell

    init(active: Memtable, sealed: [Sealed], versions: VersionSet) {
        self.versions = versions
        state = Mutex(State(active: active, sealed: sealed))
        cell = ReadStateCell(
            ReadState(active: active, sealed: sealed.reversed().map(\.memtable), version: versions.version))
    }

    /// Publishes what the fields say together with the newest version. Under the lock, so that no older version can
    /// follow a newer one.
    private func publish(_ state: State) {
        cell.publish(
            ReadState(
                active: state.active, sealed: state.sealed.reversed().map(\.memtable), version: versions.version))
    }

    /// Seals the active memtable and puts `fresh` in its place. Called under the commit lock.
    func rotate(
        to fresh: Memtable, times: ClosedRange<Timestamp>, end: LogPosition, timelines: [TimelineOrigin]
    ) {
        state.withLock { state in
            state.sealed.append(Sealed(memtable: state.active, times: times, end: end, timelines: timelines))
            state.active = fresh
            publish(state)
        }
    }

    /// The sealed memtables, oldest first.
    var sealed: [Sealed] { state.withLock { $0.sealed } }
    var sealedCount: Int { state.withLock { $0.sealed.count } }

    /// The first `count` sealed memtables are in tables now: readers find them in the newest version.
    func dropSealed(_ count: Int) {
        state.withLock { state in
            state.sealed.removeFirst(count)
            publish(state)
        }
    }

    /// A new version was installed.
    func versionChanged() { state.withLock { publish($0) } }
}
