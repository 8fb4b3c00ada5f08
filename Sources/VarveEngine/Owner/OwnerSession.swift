internal import Synchronization
internal import VarveIO

/// One client's connection on the server's side: reads a request, carries it out, answers, and so on until either end
/// closes. `run` is the connection's thread; the other members come from the server's threads.
final class OwnerSession: Sendable {
    private struct Watch {
        var call: OwnerCall?
        var isStopped = false
    }

    let connection: UnixConnection
    private let service: any OwnerService
    private let bounds: OwnerServer.Bounds
    /// Tells the accepting thread that there is a new call to watch.
    private let announce: @Sendable () -> Void
    private let watch = Mutex(Watch())

    init(
        _ connection: UnixConnection, service: any OwnerService, bounds: OwnerServer.Bounds,
        announce: @escaping @Sendable () -> Void
    ) {
        self.connection = connection
        self.service = service
        self.bounds = bounds
        self.announce = announce
    }

    /// A request runs that hanging up should cancel, and has not yet.
    var isWatched: Bool { watch.withLock { $0.call.map { !$0.isCancelled } ?? false } }

    func peerHungUp() { watch.withLock { $0.call }?.cancel() }

    /// Ends the connection; a running call is cancelled.
    func stop() {
        let call = watch.withLock { watch in
            watch.isStopped = true
            return watch.call
        }
        connection.close()
        call?.cancel()
    }

    /// Serves until either side closes. Every way out closes the connection and drops the client's scans.
    func run() {
        var conversation = OwnerConversation(connection, stall: bounds.stall)
        defer { connection.close() }
        do {
            try conversation.greet()
            while let (header, request) = try conversation.nextRequest(idle: bounds.idle) {
                try answer(request, header, &conversation)
            }
        } catch {
            // The client is gone, or said what nobody can understand (and was told so): nobody is left to tell.
        }
    }

    /// Carries out one request. What the service throws goes to the client; only a broken connection ends the session.
    private func answer(
        _ request: OwnerRequest, _ header: OwnerHeader, _ conversation: inout OwnerConversation
    ) throws(IOError) {
        do {
            switch request {
            case .statistics:
                try conversation.sendText(try service.statistics(), for: header)
            case .get(let key):
                try conversation.send(entry: try service.get(fullKey: key), for: header)
            case .timedGet(let key):
                let entry = try service.get(fullKey: key)
                // After the look: an entry is never given more time than it has.
                try conversation.send(entry: entry, at: try service.storeTime(), for: header)
            case .slot(let name, let place):
                try conversation.send(wasThere: try service.slot(name, at: place), for: header)
            case .openScan(let scan):
                try conversation.open(try service.openScan(scan), for: header)
            case .nextPage(let scan):
                try conversation.sendPage(of: scan, for: header)
            case .closeScan(let scan):
                conversation.close(scan)
                try conversation.sendDone(for: header)
            case .verify, .flush, .compact, .checkpoint, .log, .changes:
                try watched { call throws(VarveError) in
                    try run(request, header, call, &conversation)
                }
            }
        } catch {
            if let broken = conversation.broken { throw broken }
            try conversation.send(error, for: header)
        }
    }

    /// A request that may take long, under the accepting thread's eye.
    private func run(
        _ request: OwnerRequest, _ header: OwnerHeader, _ call: OwnerCall, _ conversation: inout OwnerConversation
    ) throws(VarveError) {
        switch request {
        case .verify:
            let report = try service.verify(call) { progress throws(VarveError) in
                try conversation.send(progress, for: header, call)
            }
            try conversation.sendText(report, for: header)
        case .flush:
            try service.flush(call)
            try conversation.sendDone(for: header)
        case .compact(let begin, let end):
            try service.compact(from: begin, to: end, call) { progress throws(VarveError) in
                try conversation.send(progress, for: header, call)
            }
            try conversation.sendDone(for: header)
        case .checkpoint(let path, let slot):
            let position = try service.checkpoint(to: path, slot: slot, call) { progress throws(VarveError) in
                try conversation.send(progress, for: header, call)
            }
            try conversation.send(position, for: header)
        case .log(let log):
            try service.streamLog(log, call) { chunk throws(VarveError) in
                try conversation.send(chunk, for: header, call)
            }
            try conversation.sendDone(for: header)
        case .changes(let changes):
            try service.streamChanges(changes, call) { chunk throws(VarveError) in
                try conversation.send(chunk, for: header, call)
            }
            try conversation.sendDone(for: header)
        default:
            preconditionFailure("only long requests are watched")
        }
    }

    private func watched(_ body: (OwnerCall) throws(VarveError) -> Void) throws(VarveError) {
        let call = OwnerCall()
        let isStopped = watch.withLock { watch in
            watch.call = call
            return watch.isStopped
        }
        if isStopped { call.cancel() }
        announce()
        defer {
            watch.withLock { $0.call = nil }
            call.finish()
        }
        try body(call)
    }
}
