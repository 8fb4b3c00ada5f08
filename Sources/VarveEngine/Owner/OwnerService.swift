internal import Synchronization

/// What the owner's socket can ask of an open store. The engine implements it; the server calls it.
///
/// Every member is called on a connection's own thread and may block it. Members with a call run long: they look at
/// `isCancelled` or register a handler, and throw `.cancelled` soon after it. `progress` and `onChunk` block while the
/// client is slow and throw once it is gone, so no lock of the engine may be held around them; they may only be called
/// on the thread that the member was called on.
protocol OwnerService: AnyObject, Sendable {
    /// JSON text.
    func statistics() throws(VarveError) -> String
    /// Reads and checks every file. JSON text of what was checked; damage is thrown.
    func verify(_ call: OwnerCall, progress: OwnerProgressHandler) throws(VarveError) -> String
    func flush(_ call: OwnerCall) throws(VarveError)
    func compact(
        from begin: [UInt8]?, to end: [UInt8]?, _ call: OwnerCall, progress: OwnerProgressHandler
    ) throws(VarveError)
    func checkpoint(
        to path: String, slot: String?, _ call: OwnerCall, progress: OwnerProgressHandler
    ) throws(VarveError) -> LogPosition
    /// Moves the slot of that name; without a place forgets it. Whether there was one.
    func slot(_ name: String, at place: ChangeCursor?) throws(VarveError) -> Bool
    /// The newest version of a full key that a reader may see now; nil where there is none.
    func get(fullKey: [UInt8]) throws(VarveError) -> OwnerEntry?
    /// What the store's clock says.
    func storeTime() throws(VarveError) -> Timestamp
    /// A scan of one snapshot.
    func openScan(_ request: OwnerScanRequest) throws(VarveError) -> any OwnerScan
    /// The log after a position, in order: a segment, its frames, a heartbeat each time nothing more is synced; then it
    /// waits for more, until the call is cancelled or the request's bound is reached. Nothing beyond the synced LSN is
    /// handed over. Throws `.notContinuing` where the position is not in this log's history, `.logGap` where the log no
    /// longer reaches back.
    func streamLog(
        _ request: OwnerLogRequest, _ call: OwnerCall, onChunk: (LogChunk) throws(VarveError) -> Void
    ) throws(VarveError)
    /// The changes after a place, in the log's order and durable. The first chunk says at once where the feed begins; then
    /// it waits for more, until the call is cancelled, or ends with what was acknowledged when it began. Throws as
    /// `streamLog` does, and `.invalidArgument` for a namespace that is not there.
    func streamChanges(
        _ request: OwnerChangesRequest, _ call: OwnerCall, onChunk: (ChangeChunk) throws(VarveError) -> Void
    ) throws(VarveError)
}

typealias OwnerProgressHandler = (OwnerProgress) throws(VarveError) -> Void

/// An entry as it lies in the store, and its version.
struct OwnerEntry: Equatable, Sendable {
    var lsn: LSN
    /// As `EntryView` reads them.
    var bytes: [UInt8]
}

/// A scan that is open on behalf of a client. One thread at a time; released when it is dropped.
protocol OwnerScan: AnyObject {
    /// Adds entries until the page is full or the range ends. True if more may follow.
    func fill(_ page: inout OwnerPageBuilder) throws(VarveError) -> Bool
}

/// One long request and the way to call it off: by the client's hanging up, or by the server's stop.
///
/// Any thread may call any member.
final class OwnerCall: Sendable {
    private struct State {
        var isCancelled = false
        var handlers: [@Sendable () -> Void] = []
    }
    private let state = Mutex(State())

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    func checkCancelled() throws(VarveError) {
        if isCancelled { throw VarveError(.cancelled, "the client of this request has gone") }
    }

    /// Runs `handler` once when the call is cancelled, at once if it already is. On the cancelling thread: quick, and
    /// without blocking.
    func onCancel(_ handler: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            if !state.isCancelled { state.handlers.append(handler) }
            return state.isCancelled
        }
        if isLate { handler() }
    }

    func cancel() {
        let handlers = state.withLock { state in
            state.isCancelled = true
            defer { state.handlers = [] }
            return state.handlers
        }
        for handler in handlers { handler() }
    }

    /// The request is answered: its handlers are dropped and will not run.
    func finish() { state.withLock { $0.handlers = [] } }
}
