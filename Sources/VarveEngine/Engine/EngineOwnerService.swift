internal import VarveIO

/// Answers the owner's socket for an engine. It does not keep the engine alive: an engine that is let go closes its
/// socket, and who still asks is told so.
final class EngineOwnerService: OwnerService {
    // Set once, before the server starts; weak loads are atomic.
    private let engine: WeakEngine

    private final class WeakEngine: @unchecked Sendable {
        // Unchecked: written at init only, and the runtime serialises weak loads.
        weak var engine: Engine?
        init(_ engine: Engine) { self.engine = engine }
    }

    init(_ engine: Engine) { self.engine = WeakEngine(engine) }

    private func open() throws(VarveError) -> Engine {
        guard let engine = engine.engine, !engine.isClosed else {
            throw VarveError(.closed, "the store is being closed")
        }
        return engine
    }

    func statistics() throws(VarveError) -> String { try open().statisticsByNamespace().json }

    func verify(_ call: OwnerCall, progress: OwnerProgressHandler) throws(VarveError) -> String {
        var gone: VarveError?
        let report = try open().verify { done, total in
            do throws(VarveError) {
                try progress(OwnerProgress(stage: "verify", done: done, total: total))
            } catch {
                gone = error
            }
            return gone == nil && !call.isCancelled
        }
        if let gone { throw gone }
        if let first = report.damage.first { throw first }
        return report.json
    }

    func flush(_ call: OwnerCall) throws(VarveError) { try open().flush() }

    func compact(
        from begin: [UInt8]?, to end: [UInt8]?, _ call: OwnerCall, progress: OwnerProgressHandler
    ) throws(VarveError) {
        let engine = try open()
        try engine.flush()
        guard begin != nil || end != nil else { return try engine.compact(nil) }
        let last = [UInt8](repeating: 0xFF, count: Limits.fullKeyBytes + 1)
        try engine.compact(KeyRange(smallest: begin ?? [], largest: end ?? last, isExclusive: true))
    }

    func checkpoint(
        to path: String, slot: String?, _ call: OwnerCall, progress: OwnerProgressHandler
    ) throws(VarveError) -> LogPosition {
        try open().checkpoint(to: path, slot: slot) { done, total in
            try? progress(OwnerProgress(stage: "checkpoint", done: done, total: total))
        }
    }

    func slot(_ name: String, at place: ChangeCursor?) throws(VarveError) -> Bool {
        let engine = try open()
        guard let place else { return try engine.removeSlot(name) }
        return try engine.moveSlot(name, to: place)
    }

    func get(fullKey: [UInt8]) throws(VarveError) -> OwnerEntry? {
        let engine = try open()
        try engine.checkUnmarked("shown")
        let pin = engine.keeper.cell.pin()
        let lsn = engine.visibleLSN
        return unsafe try fullKey.withBytes { (key) throws(VarveError) in
            unsafe try Lookup.withLive(
                key, hash: XXH3.hash64(key), in: pin.state, at: lsn, now: engine.clock.now, .mayBlock, engine.tables
            ) { (entry, version) in
                OwnerEntry(lsn: version, bytes: unsafe Array(entry.bytes))
            }.value
        }
    }

    func storeTime() throws(VarveError) -> Timestamp { try open().clock.now() }

    func openScan(_ request: OwnerScanRequest) throws(VarveError) -> any OwnerScan {
        let engine = try open()
        try engine.checkUnmarked("shown")
        return try EngineOwnerScan(engine, request)
    }

    /// Hands the log over segment by segment, in pieces of whole frames, and follows its end.
    func streamLog(
        _ request: OwnerLogRequest, _ call: OwnerCall, onChunk: (LogChunk) throws(VarveError) -> Void
    ) throws(VarveError) {
        let engine = try open()
        guard let log = engine.writing?.log else { throw VarveError(.readOnly, "the store is open to read only") }
        try engine.checkHistory(of: request.from)
        // What was acknowledged is handed over, and only what is durable may be.
        if !request.follows { try log.sync() }
        let stream = try LogStream(
            LogReader(log, after: request.from.lsn, alignment: .restartFrame),
            upTo: LogStream.Bound(lsn: request.lsn, time: request.time))
        call.onCancel { stream.cancel() }
        log.groupSync.beginUrgency()
        defer { log.groupSync.endUrgency() }
        while true {
            try call.checkCancelled()
            while let piece = try stream.next() {
                switch piece {
                case .segment(let header):
                    unsafe try header.encoded().withBytes { (bytes) throws(VarveError) in
                        unsafe try onChunk(.segment(header: bytes))
                    }
                case .frames(let bytes, _, _):
                    let end = stream.lastLSN
                    unsafe try bytes.withBytes { (bytes) throws(VarveError) in
                        unsafe try onChunk(.frames(bytes, endLSN: end))
                    }
                }
            }
            try onChunk(.heartbeat(syncedLSN: log.syncedLSN))
            if !request.follows || stream.beyond != nil || stream.lastLSN >= request.lsn { return }
            try stream.waitForMore()
        }
    }

    /// Hands the changes over chunk by chunk. While its client is slow it pins no log and does not keep the engine.
    func streamChanges(
        _ request: OwnerChangesRequest, _ call: OwnerCall, onChunk: (ChangeChunk) throws(VarveError) -> Void
    ) throws(VarveError) {
        let reader = try changeReader(request)
        call.onCancel { reader.cancel() }
        try onChunk(reader.beginning)
        while true {
            switch try reader.fill() {
            case .chunk(let chunk): try onChunk(chunk)
            case .ended: return
            case .nothingYet: try reader.waitForMore()
            }
        }
    }

    private func changeReader(_ request: OwnerChangesRequest) throws(VarveError) -> ChangeReader {
        let engine = try open()
        var scope = ChangeScope(namespaces: [], prefix: request.prefix, follows: request.follows)
        scope.hasValues = request.hasValues
        scope.includesStoreRecords = request.includesStoreRecords
        for name in request.namespaces {
            guard let namespace = try engine.existingNamespace(named: name) else {
                throw VarveError(.invalidArgument, "the store has no namespace named \"\(name)\"")
            }
            scope.namespaces.append(namespace)
        }
        return try engine.makeChangeReader(scope, from: request.start)
    }
}

/// A scan on behalf of a client: an iterator over full keys as of one moment.
private final class EngineOwnerScan: OwnerScan {
    private let cursor: VisibleCursor
    private let snapshot: Snapshot
    private let pin: ReadStateCell.Pin
    private let isReverse: Bool
    private var left: UInt64
    private var hasBegun = false

    init(_ engine: Engine, _ request: OwnerScanRequest) throws(VarveError) {
        snapshot = engine.makeSnapshot()
        pin = engine.keeper.cell.pin()
        isReverse = request.isReverse
        left = request.limit ?? .max
        cursor = try SourceAssembly.visibleCursor(
            over: pin.state, bounds: KeyBounds(lower: request.begin ?? [], upper: request.end), at: snapshot.lsn,
            now: engine.clock.now(), engine.tables)
    }

    func fill(_ page: inout OwnerPageBuilder) throws(VarveError) -> Bool {
        if !hasBegun {
            hasBegun = true
            if isReverse { try cursor.seekToLast() } else { try cursor.seekToFirst() }
        }
        while cursor.isValid, left > 0 {
            if page.isFull { return true }
            unsafe page.append(key: cursor.key, lsn: cursor.version, entry: cursor.entry)
            left -= 1
            if isReverse { try cursor.previous() } else { try cursor.next() }
        }
        return false
    }
}
