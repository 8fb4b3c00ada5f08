internal import Synchronization
internal import VarveIO

/// Files that nothing needs any more, waiting to be deleted. Filled from any thread (the last release of a table may
/// happen in a reader), emptied by a background thread: `add` only takes a short lock and never touches the disk.
final class ObsoleteFiles: Sendable {
    private struct State {
        var waiting: [FileName] = []
        var bytes: UInt64 = 0
        var wake: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())

    /// What to call when there is something to delete; called outside the lock, possibly from a reader's thread, so it
    /// may only signal.
    func onArrival(_ wake: @escaping @Sendable () -> Void) { state.withLock { $0.wake = wake } }

    func add(_ name: FileName, bytes: UInt64 = 0) {
        let wake = state.withLock { state in
            state.waiting.append(name)
            state.bytes &+= bytes
            return state.wake
        }
        wake?()
    }

    /// Bytes of tables that wait to be deleted. They still take space.
    var waitingBytes: UInt64 { state.withLock { $0.bytes } }
    var isEmpty: Bool { state.withLock { $0.waiting.isEmpty } }

    /// Deletes what waits and returns the names that are gone. A file that is gone already is fine. The folder is not
    /// synced: a name that comes back after a power cut is found at open as a file that no version names.
    ///
    /// What cannot be deleted stays waiting and the first error is thrown, so that the caller reports it.
    @discardableResult
    func deleteAll(in directory: String, of fileSystem: any FileSystem) throws(VarveError) -> [FileName] {
        let (names, bytes) = state.withLock { state in
            defer {
                state.waiting = []
                state.bytes = 0
            }
            return (state.waiting, state.bytes)
        }
        var gone: [FileName] = []
        var failure: IOError?
        for name in names {
            do throws(IOError) {
                try fileSystem.remove(name.path(in: directory))
                gone.append(name)
            } catch {
                if error.isNotFound {
                    gone.append(name)
                } else {
                    failure = failure ?? error
                    state.withLock { $0.waiting.append(name) }
                }
            }
        }
        if let failure {
            // Which share of the bytes is still there is not tracked by file; count all until the next attempt.
            state.withLock { $0.bytes &+= bytes }
            throw VarveError(failure)
        }
        return gone
    }
}
