@testable import VarveEngine
import VarveTestSupport

/// An open store in memory: entries in a sorted array, a log that the test appends to, and a gate in front of the long
/// requests.
final class FakeOwnerService: OwnerService {
    struct State {
        var entries: [(key: [UInt8], lsn: LSN, bytes: [UInt8])] = []
        var log: [Piece] = []
        var failure: VarveError?
        /// Long requests wait for it.
        var isOpen = true
        var running = 0
        var cancelled = 0
        var flushes = 0
        var compactions: [String] = []
        var checkpoints: [String] = []
        var slots: [String: ChangeCursor] = [:]
        var openScans = 0
        var chunksTaken = 0
        var changes: [ChangeChunk] = []
    }
    enum Piece {
        case segment([UInt8])
        case frames([UInt8], LSN)
    }

    let state = Watched(State())
    static let position = LogPosition(
        timeline: TimelineID(ordinal: 3, unique: UniqueID(high: 1, low: 2)), lsn: LSN(77), runningHash: 99)

    private func checkFailure() throws(VarveError) {
        if let failure = state.current.failure { throw failure }
    }

    /// What a long request does: shows that it runs, waits at the gate, leaves when called off.
    private func pass(_ call: OwnerCall) throws(VarveError) {
        call.onCancel { [state] in state.update { $0.cancelled += 1 } }
        state.update { $0.running += 1 }
        defer { state.update { $0.running -= 1 } }
        state.wait { $0.isOpen || call.isCancelled }
        try call.checkCancelled()
        try checkFailure()
    }

    func statistics() throws(VarveError) -> String {
        try checkFailure()
        return #"{"entries": \#(state.current.entries.count)}"#
    }

    func verify(_ call: OwnerCall, progress: OwnerProgressHandler) throws(VarveError) -> String {
        try progress(OwnerProgress(stage: "tables", done: 1, total: 10))
        try pass(call)
        for step in 2...10 { try progress(OwnerProgress(stage: "tables", done: UInt64(step), total: 10)) }
        return #"{"ok": true}"#
    }

    func flush(_ call: OwnerCall) throws(VarveError) {
        try pass(call)
        state.update { $0.flushes += 1 }
    }

    func compact(
        from begin: [UInt8]?, to end: [UInt8]?, _ call: OwnerCall, progress: OwnerProgressHandler
    ) throws(VarveError) {
        try pass(call)
        state.update { $0.compactions.append("\(begin ?? []) \(end ?? [])") }
    }

    func checkpoint(
        to path: String, slot: String?, _ call: OwnerCall, progress: OwnerProgressHandler
    ) throws(VarveError) -> LogPosition {
        try pass(call)
        state.update { $0.checkpoints.append("\(path) \(slot ?? "-")") }
        return FakeOwnerService.position
    }

    func slot(_ name: String, at place: ChangeCursor?) throws(VarveError) -> Bool {
        try checkFailure()
        return state.update { state in
            guard state.slots[name] != nil else { return false }
            state.slots[name] = place
            return true
        }
    }

    func get(fullKey: [UInt8]) throws(VarveError) -> OwnerEntry? {
        try checkFailure()
        return state.current.entries.first { $0.key == fullKey }.map { OwnerEntry(lsn: $0.lsn, bytes: $0.bytes) }
    }

    func storeTime() throws(VarveError) -> Timestamp { 4711 }

    func openScan(_ request: OwnerScanRequest) throws(VarveError) -> any OwnerScan {
        try checkFailure()
        var range = state.current.entries.filter { entry in
            if let begin = request.begin, entry.key.lexicographicallyPrecedes(begin) { return false }
            if let end = request.end, !entry.key.lexicographicallyPrecedes(end) { return false }
            return true
        }
        if request.isReverse { range.reverse() }
        if let limit = request.limit { range = Array(range.prefix(Int(clamping: limit))) }
        return FakeScan(range, state)
    }

    func streamLog(
        _ request: OwnerLogRequest, _ call: OwnerCall, onChunk: (LogChunk) throws(VarveError) -> Void
    ) throws(VarveError) {
        try checkFailure()
        let position = request.from
        guard position.timeline == FakeOwnerService.position.timeline else {
            throw VarveError(.notContinuing, "that position is of another history")
        }
        call.onCancel { [state] in state.update { $0.cancelled += 1 } }
        state.update { $0.running += 1 }
        defer { state.update { $0.running -= 1 } }
        var next = 0
        var synced = position.lsn
        while true {
            state.wait { $0.log.count > next || call.isCancelled }
            try call.checkCancelled()
            while let piece = state.update({ next < $0.log.count ? $0.log[next] : nil }) {
                next += 1
                switch piece {
                case .segment(let header):
                    unsafe try header.span.bytes.withUnsafeBytes { (bytes) throws(VarveError) in
                        unsafe try onChunk(.segment(header: bytes))
                    }
                case .frames(let frames, let end):
                    synced = end
                    unsafe try frames.span.bytes.withUnsafeBytes { (bytes) throws(VarveError) in
                        unsafe try onChunk(.frames(bytes, endLSN: end))
                    }
                }
                state.update { $0.chunksTaken += 1 }
            }
            try onChunk(.heartbeat(syncedLSN: synced))
        }
    }

    func streamChanges(
        _ request: OwnerChangesRequest, _ call: OwnerCall, onChunk: (ChangeChunk) throws(VarveError) -> Void
    ) throws(VarveError) {
        try checkFailure()
        call.onCancel { [state] in state.update { $0.cancelled += 1 } }
        state.update { $0.running += 1 }
        defer { state.update { $0.running -= 1 } }
        var next = 0
        while true {
            state.wait { $0.changes.count > next || call.isCancelled }
            try call.checkCancelled()
            while let chunk = state.update({ next < $0.changes.count ? $0.changes[next] : nil }) {
                next += 1
                try onChunk(chunk)
                state.update { $0.chunksTaken += 1 }
            }
            if !request.follows { return }
        }
    }
}

private final class FakeScan: OwnerScan {
    private var rest: ArraySlice<(key: [UInt8], lsn: LSN, bytes: [UInt8])>
    private let state: Watched<FakeOwnerService.State>

    init(_ range: [(key: [UInt8], lsn: LSN, bytes: [UInt8])], _ state: Watched<FakeOwnerService.State>) {
        rest = range[...]
        self.state = state
        state.update { $0.openScans += 1 }
    }

    deinit { state.update { $0.openScans -= 1 } }

    func fill(_ page: inout OwnerPageBuilder) throws(VarveError) -> Bool {
        while !page.isFull, let entry = rest.popFirst() {
            unsafe entry.key.withUnsafeBytes { key in
                unsafe entry.bytes.withUnsafeBytes { unsafe page.append(key: key, lsn: entry.lsn, entry: $0) }
            }
        }
        return !rest.isEmpty
    }
}
