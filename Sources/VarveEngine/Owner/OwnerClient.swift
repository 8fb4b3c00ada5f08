internal import Synchronization
internal import VarveIO

/// Speaks to the process that has a store open, through the socket that the store's LOCK file names.
///
/// Calls block the calling thread and take turns; a callback must not call the same client. `close` comes from any
/// thread at any time and ends a call that waits. Errors of the other process arrive as they were thrown there.
package final class OwnerClient: Sendable {
    private struct State: ~Copyable {
        var channel: OwnerChannel
        var lastRequest: UInt32 = 0
    }

    /// The process at the other end.
    package let processID: Int32
    package let program: String
    private let connection: UnixConnection
    /// Whose turn it is. Guards `state`, which a mutex of its own could not hold: callbacks look into its buffers.
    private let turn = Mutex(())
    private nonisolated(unsafe) var state: State

    /// Connects to the owner that a LOCK file names.
    /// - Parameter limit: how long to wait for its greeting.
    convenience init(_ record: LockRecord, limit: Duration = .seconds(10)) throws(VarveError) {
        guard let path = record.socketPath else {
            throw VarveError(.storeInUse, "\(record.holder) has the store open and answers no commands")
        }
        let connection: UnixConnection
        do { connection = try UnixConnection.connect(to: path, limit: limit) } catch {
            if error.isTimeout { throw OwnerClient.timeout(record.holder, path, error) }
            let text = "\(record.holder) has the store open, but its socket cannot be reached: \(error)"
            throw VarveError(.storeInUse, text, path: path, underlying: error)
        }
        try self.init(connection, limit: limit)
    }

    /// Greets over a connection that is there.
    init(_ connection: UnixConnection, limit: Duration = .seconds(10)) throws(VarveError) {
        // The name in LOCK is only as good as the folder that it stands in: another user's socket is not asked.
        guard connection.peer.isTrusted || ProcessIdentity.isRoot else {
            throw VarveError(.io, "the socket belongs to user \(connection.peer.user)", path: connection.path)
        }
        self.connection = connection
        var channel = OwnerChannel(connection)
        let header = try OwnerClient.receive(&channel, limit: limit)
        let hello: OwnerHello
        do throws(DecodeError) {
            guard header.kind == .hello else { throw .malformed("it does not greet") }
            hello = unsafe try OwnerHello(channel.body)
        } catch {
            throw OwnerClient.misunderstood(error, connection)
        }
        processID = hello.processID
        program = hello.program
        unsafe state = State(channel: channel)
    }

    deinit { connection.close() }

    /// Hangs up: the request that runs is cancelled at the other end, and waiting calls here throw `.closed`.
    package func close() { connection.close() }

    /// The other process's statistics as JSON text.
    package func statistics() throws(VarveError) -> String { try text(.statistics, progress: { _ in true }) }

    /// Lets the owner check every file; its report as JSON text. `progress` returns false to call it off.
    package func verify(progress: (OwnerProgress) -> Bool) throws(VarveError) -> String {
        try text(.verify, progress: progress)
    }

    package func flush() throws(VarveError) { try done(.flush, progress: { _ in true }) }

    package func compact(
        from begin: [UInt8]?, to end: [UInt8]?, progress: (OwnerProgress) -> Bool
    ) throws(VarveError) {
        try done(.compact(begin: begin, end: end), progress: progress)
    }

    /// Lets the owner write a checkpoint into the folder `path`, which must be absolute.
    package func checkpoint(
        to path: String, slot: String?, progress: (OwnerProgress) -> Bool
    ) throws(VarveError) -> LogPosition {
        unsafe try exchange(.checkpoint(path: path, slot: slot), progress: progress) {
            header, body throws(DecodeError) in
            guard header.kind == .position else { throw .unknown("answer \(header.kind)") }
            var reader = unsafe ByteReader(body)
            return try reader.logPosition()
        }
    }

    /// Lets the owner keep its log after a place for the reader of that name, and no longer what lies before. False where it
    /// knows none of that name.
    /// - Throws: `.notContinuing` for a place that is not in the owner's history, or beyond its end.
    package func moveSlot(_ name: String, to place: ChangeCursor) throws(VarveError) -> Bool { try slot(name, place) }

    /// Lets the owner forget a reader of its log. False where it knows none of that name.
    package func removeSlot(_ name: String) throws(VarveError) -> Bool { try slot(name, nil) }

    private func slot(_ name: String, _ place: ChangeCursor?) throws(VarveError) -> Bool {
        unsafe try exchange(.slot(name: name, place: place)) { header, _ throws(DecodeError) in
            switch header.kind {
            case .done: return true
            case .absent: return false
            default: throw .unknown("answer \(header.kind)")
            }
        }
    }

    /// The newest version of a full key and its entry's bytes.
    func get(fullKey: [UInt8]) throws(VarveError) -> OwnerEntry? {
        unsafe try exchange(.get(key: fullKey)) { header, body throws(DecodeError) in
            switch header.kind {
            case .absent: return nil
            case .entry: return OwnerEntry(lsn: LSN(header.argument), bytes: unsafe Array(body))
            default: throw .unknown("answer \(header.kind)")
            }
        }
    }

    /// The newest version of a full key, its entry's bytes, and what the store's clock said once it was found.
    /// - Throws: `.timedOut` where the owner says nothing for `limit`; the connection is then of no use any more.
    func timedGet(
        fullKey: [UInt8], limit: Duration?
    ) throws(VarveError) -> (entry: OwnerEntry, now: Timestamp)? {
        unsafe try exchange(.timedGet(key: fullKey), limit: limit) { header, body throws(DecodeError) in
            switch header.kind {
            case .absent: return nil
            case .timedEntry:
                var reader = unsafe ByteReader(body)
                let now: Timestamp = try reader.fixed()
                return (OwnerEntry(lsn: LSN(header.argument), bytes: unsafe Array(reader.rest())), now)
            default: throw .unknown("answer \(header.kind)")
            }
        }
    }

    /// Every entry of a range, in order, from one snapshot, in place. `onEntry` returns false to stop.
    func scan(
        _ request: OwnerScanRequest, onEntry: (OwnerPageReader.Entry) throws(VarveError) -> Bool
    ) throws(VarveError) {
        try inTurn { (state) throws(VarveError) in
            let number = try send(.openScan(request), &state)
            var answer = number
            while true {
                let header = try answered(answer, &state)
                guard header.kind == .page else { throw misunderstood(.unknown("answer \(header.kind)")) }
                let hasMore = header.argument == 1
                guard unsafe try read(state.channel.body, onEntry) else {
                    if hasMore { _ = try answered(try send(.closeScan(scan: number), &state), &state) }
                    return
                }
                if !hasMore { return }
                answer = try send(.nextPage(scan: number), &state)
            }
        }
    }

    /// The owner's log after `position`, until the target is reached, `onChunk` returns false, `close` is called, or the
    /// owner ends; without `follows` also where what was acknowledged at the call has come. The connection serves nothing
    /// else after it: it is closed.
    package func streamLog(
        from position: LogPosition, upTo target: ApplyTarget = .end, follows: Bool = true,
        onChunk: (LogChunk) throws(VarveError) -> Bool
    ) throws(VarveError) {
        let request = OwnerLogRequest(
            from: position, lsn: target.bound.lsn, time: target.bound.time, follows: follows)
        try inTurn { (state) throws(VarveError) in
            defer { connection.close() }
            let number = try send(.log(request), &state)
            while true {
                let header = try answered(number, &state)
                let goesOn: Bool
                switch header.kind {
                case .segment: goesOn = unsafe try onChunk(.segment(header: state.channel.body))
                case .frames: goesOn = unsafe try onChunk(.frames(state.channel.body, endLSN: LSN(header.argument)))
                case .heartbeat: goesOn = try onChunk(.heartbeat(syncedLSN: LSN(header.argument)))
                case .done: return
                default: throw misunderstood(.unknown("answer \(header.kind)"))
                }
                if !goesOn { return }
            }
        }
    }

    /// Asks for changes; `nextChanges` then takes them, a chunk at a time, and nothing else may be asked.
    func beginChanges(_ request: OwnerChangesRequest) throws(VarveError) -> UInt32 {
        try inTurn { (state) throws(VarveError) in try send(.changes(request), &state) }
    }

    /// The next chunk, for which it waits; nil: that was all.
    func nextChanges(_ number: UInt32) throws(VarveError) -> ChangeChunk? {
        try inTurn { (state) throws(VarveError) in
            let header = try answered(number, &state)
            switch header.kind {
            case .changeChunk: return unsafe ChangeChunk(copying: state.channel.body)
            case .done: return nil
            default: throw misunderstood(.unknown("answer \(header.kind)"))
            }
        }
    }

    private func text(_ request: OwnerRequest, progress: (OwnerProgress) -> Bool) throws(VarveError) -> String {
        unsafe try exchange(request, progress: progress) { header, body throws(DecodeError) in
            guard header.kind == .text else { throw .unknown("answer \(header.kind)") }
            return unsafe String(decoding: body, as: UTF8.self)
        }
    }

    private func done(_ request: OwnerRequest, progress: (OwnerProgress) -> Bool) throws(VarveError) {
        unsafe try exchange(request, progress: progress) { header, _ throws(DecodeError) in
            guard header.kind == .done else { throw .unknown("answer \(header.kind)") }
        }
    }

    private func inTurn<T: Sendable>(_ body: (inout State) throws(VarveError) -> T) throws(VarveError) -> T {
        try turn.withLock { (_) throws(VarveError) in unsafe try body(&state) }
    }

    /// One request, its progress, and its answer.
    private func exchange<T: Sendable>(
        _ request: OwnerRequest, limit: Duration? = nil, progress: (OwnerProgress) -> Bool = { _ in true },
        _ decode: (OwnerHeader, UnsafeRawBufferPointer) throws(DecodeError) -> T
    ) throws(VarveError) -> T {
        try inTurn { (state) throws(VarveError) in
            let number = try send(request, &state, limit: limit ?? .seconds(60))
            while true {
                let header = try answered(number, &state, limit: limit)
                do throws(DecodeError) {
                    guard header.kind == .progress else { return unsafe try decode(header, state.channel.body) }
                    if progress(unsafe try OwnerProgress(state.channel.body)) { continue }
                } catch {
                    throw misunderstood(error)
                }
                // Hanging up is how a request is called off.
                connection.close()
                throw VarveError(.cancelled, "the request was called off")
            }
        }
    }

    private func send(
        _ request: OwnerRequest, _ state: inout State, limit: Duration = .seconds(60)
    ) throws(VarveError) -> UInt32 {
        var body = ByteBuffer()
        request.appendBody(to: &body)
        guard body.count <= Limits.ownerRequestBytes else {
            throw VarveError(.limitExceeded, "a request of \(body.count) bytes is above \(Limits.ownerRequestBytes)")
        }
        state.lastRequest &+= 1
        do {
            unsafe try state.channel.send(
                request.kind, request: state.lastRequest, body: body.bytes, limit: limit)
        } catch {
            if error.isTimeout { throw OwnerClient.timeout("process \(processID)", connection.path, error) }
            throw VarveError(.closed, "the store's process no longer answers: \(error)", underlying: error)
        }
        return state.lastRequest
    }

    /// The next message for a request; an error that it carries is thrown.
    private func answered(
        _ number: UInt32, _ state: inout State, limit: Duration? = nil
    ) throws(VarveError) -> OwnerHeader {
        let header = try OwnerClient.receive(&state.channel, limit: limit)
        guard header.request == number else { throw misunderstood(.malformed("answer to request \(header.request)")) }
        return header
    }

    /// The next message, whichever it answers.
    private static func receive(_ channel: inout OwnerChannel, limit: Duration?) throws(VarveError) -> OwnerHeader {
        let header: OwnerHeader?
        do { header = try channel.receive(limit: Limits.ownerReplyBytes, idle: limit, stall: limit) } catch {
            switch error {
            case .io(let failure) where failure.isTimeout:
                throw timeout("the store's process", channel.connection.path, failure)
            case .io(let failure):
                throw VarveError(.closed, "the store's process no longer answers: \(failure)", underlying: failure)
            case .decode(.truncated):
                let text = "the store's process closed the connection in the middle of an answer"
                throw VarveError(.closed, text, path: channel.connection.path)
            case .decode(let failure): throw misunderstood(failure, channel.connection)
            }
        }
        guard let header else {
            throw VarveError(.closed, "the store's process closed the connection", path: channel.connection.path)
        }
        guard header.kind == .error else { return header }
        let error: VarveError
        do { error = unsafe try OwnerErrorCodec.decode(channel.body) } catch let failure {
            throw misunderstood(failure, channel.connection)
        }
        throw error
    }

    /// Hands a page's entries over; false once `onEntry` wants no more.
    private func read(
        _ body: UnsafeRawBufferPointer, _ onEntry: (OwnerPageReader.Entry) throws(VarveError) -> Bool
    ) throws(VarveError) -> Bool {
        var page = unsafe OwnerPageReader(body)
        while true {
            let entry: OwnerPageReader.Entry?
            do { entry = try page.next() } catch { throw misunderstood(error) }
            guard let entry else { return true }
            guard try onEntry(entry) else { return false }
        }
    }

    private static func timeout(_ who: String, _ path: String, _ error: IOError) -> VarveError {
        VarveError(.timedOut, "\(who) does not answer in time; is it stopped?", path: path, underlying: error)
    }

    private func misunderstood(_ error: DecodeError) -> VarveError { OwnerClient.misunderstood(error, connection) }

    /// What follows is meaningless, so the connection ends.
    private static func misunderstood(_ error: DecodeError, _ connection: UnixConnection) -> VarveError {
        connection.close()
        let what: String
        switch error {
        case .truncated: what = "it ends too soon"
        case .badVarint: what = "it holds a malformed integer"
        case .outOfRange(let detail), .unknown(let detail), .malformed(let detail): what = detail
        }
        let text =
            "the answer of the store's process could not be understood (\(what)); is it another version of Varve?"
        return VarveError(.io, text, path: connection.path)
    }
}
