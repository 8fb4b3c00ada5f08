internal import VarveIO

/// The server's half of one connection: requests in, answers out, the client's open scans. One thread.
///
/// Sending lifts a broken connection into a `VarveError`, so that it passes through the service like any other failure,
/// and remembers it in `broken`: after that nothing more can be said.
struct OwnerConversation: ~Copyable {
    private var channel: OwnerChannel
    private let stall: Duration
    private var scans: [UInt32: any OwnerScan] = [:]
    private var lastProgress: ContinuousClock.Instant?
    private(set) var broken: IOError?

    /// At most one progress message in this time.
    private static let progressInterval = Duration.milliseconds(50)

    init(_ connection: UnixConnection, stall: Duration) {
        channel = OwnerChannel(connection)
        self.stall = stall
    }

    mutating func greet() throws(VarveError) {
        let hello = OwnerHello(processID: ProcessIdentity.id, program: ProcessIdentity.program)
        try sending { channel, stall throws(IOError) in
            try channel.send(.hello, request: 0, limit: stall) { hello.append(to: &$0) }
        }
    }

    /// The next request; nil when the client closed, or said what cannot be understood and was told so. What follows
    /// bad bytes has no meaning, so the conversation ends with them.
    mutating func nextRequest(idle: Duration) throws(VarveError) -> (OwnerHeader, OwnerRequest)? {
        var number: UInt32 = 0
        do throws(OwnerChannel.Failure) {
            guard
                let header = try channel.receive(limit: Limits.ownerRequestBytes, idle: idle, stall: stall)
            else { return nil }
            number = header.request
            lastProgress = nil
            do throws(DecodeError) { return (header, unsafe try OwnerRequest(header.kind, body: channel.body)) } catch {
                throw .decode(error)
            }
        } catch {
            switch error {
            case .io(let failure): throw VarveError(failure)
            case .decode(let failure):
                let refusal = VarveError(.invalidArgument, "the request could not be understood: \(failure)")
                try sending { channel, stall throws(IOError) in
                    try channel.send(.error, request: number, limit: stall) { OwnerErrorCodec.append(refusal, to: &$0) }
                }
                return nil
            }
        }
    }

    mutating func send(_ error: VarveError, for header: OwnerHeader) throws(IOError) {
        try channel.send(.error, request: header.request, limit: stall) { OwnerErrorCodec.append(error, to: &$0) }
    }

    mutating func sendText(_ text: String, for header: OwnerHeader) throws(VarveError) {
        let body = Array(text.utf8)
        guard body.count <= Limits.ownerTextBytes else {
            throw VarveError(.limitExceeded, "an answer of \(body.count) bytes is above \(Limits.ownerTextBytes)")
        }
        try sending { channel, stall throws(IOError) in
            unsafe try body.span.bytes.withUnsafeBytes { (bytes) throws(IOError) in
                unsafe try channel.send(
                    .text, request: header.request, body: bytes, limit: stall)
            }
        }
    }

    mutating func sendDone(for header: OwnerHeader) throws(VarveError) {
        try sending { channel, stall throws(IOError) in try channel.send(.done, request: header.request, limit: stall) }
    }

    /// `done`, or `absent`.
    mutating func send(wasThere: Bool, for header: OwnerHeader) throws(VarveError) {
        try sending { channel, stall throws(IOError) in
            try channel.send(wasThere ? .done : .absent, request: header.request, limit: stall)
        }
    }

    mutating func send(_ position: LogPosition, for header: OwnerHeader) throws(VarveError) {
        try sending { channel, stall throws(IOError) in
            try channel.send(.position, request: header.request, limit: stall) { $0.append(position) }
        }
    }

    mutating func send(entry: OwnerEntry?, for header: OwnerHeader) throws(VarveError) {
        guard let entry else {
            try sending { channel, stall throws(IOError) in
                try channel.send(.absent, request: header.request, limit: stall)
            }
            return
        }
        try sending { channel, stall throws(IOError) in
            unsafe try entry.bytes.span.bytes.withUnsafeBytes { (bytes) throws(IOError) in
                unsafe try channel.send(
                    .entry, request: header.request, argument: entry.lsn.rawValue,
                    body: bytes, limit: stall)
            }
        }
    }

    /// The same with the clock's reading.
    mutating func send(entry: OwnerEntry?, at time: Timestamp, for header: OwnerHeader) throws(VarveError) {
        guard let entry else { return try send(entry: nil, for: header) }
        try sending { channel, stall throws(IOError) in
            try channel.send(
                .timedEntry, request: header.request, argument: entry.lsn.rawValue, limit: stall
            ) { body in
                body.appendFixed(time)
                body.append(entry.bytes)
            }
        }
    }

    /// Tells the client how far its request is; drops what comes faster than anybody looks.
    mutating func send(_ progress: OwnerProgress, for header: OwnerHeader, _ call: OwnerCall) throws(VarveError) {
        try call.checkCancelled()
        let now = ContinuousClock.now
        if let last = lastProgress, last.duration(to: now) < OwnerConversation.progressInterval { return }
        lastProgress = now
        try sending { channel, stall throws(IOError) in
            try channel.send(.progress, request: header.request, limit: stall) { progress.append(to: &$0) }
        }
    }

    mutating func send(_ chunk: LogChunk, for header: OwnerHeader, _ call: OwnerCall) throws(VarveError) {
        try call.checkCancelled()
        let request = header.request
        try sending { channel, stall throws(IOError) in
            switch chunk {
            case .segment(let bytes):
                unsafe try channel.send(.segment, request: request, body: bytes, limit: stall)
            case .frames(let bytes, let end):
                unsafe try channel.send(
                    .frames, request: request, argument: end.rawValue, body: bytes, limit: stall)
            case .heartbeat(let synced):
                try channel.send(.heartbeat, request: request, argument: synced.rawValue, limit: stall)
            }
        }
    }

    mutating func send(_ chunk: ChangeChunk, for header: OwnerHeader, _ call: OwnerCall) throws(VarveError) {
        try call.checkCancelled()
        try sending { channel, stall throws(IOError) in
            unsafe try channel.send(.changeChunk, request: header.request, body: chunk.bytes, limit: stall)
        }
    }

    /// Registers a scan under its request's number and sends its first page.
    mutating func open(_ scan: any OwnerScan, for header: OwnerHeader) throws(VarveError) {
        guard scans.count < Limits.ownerScansPerConnection, scans[header.request] == nil else {
            let text = "\(scans.count) scans are open on this connection; close one first"
            throw VarveError(.limitExceeded, text)
        }
        scans[header.request] = scan
        try sendPage(of: header.request, for: header)
    }

    /// Sends the next page of a scan; the scan is closed with its last page, and by an error.
    mutating func sendPage(of number: UInt32, for header: OwnerHeader) throws(VarveError) {
        guard let scan = scans.removeValue(forKey: number) else {
            throw VarveError(.invalidArgument, "no scan \(number) is open on this connection")
        }
        var page = OwnerPageBuilder(targetBytes: Limits.ownerPageBytes)
        let hasMore = try scan.fill(&page)
        try sending { channel, stall throws(IOError) in
            unsafe try channel.send(
                .page, request: header.request, argument: hasMore ? 1 : 0, body: page.bytes, limit: stall)
        }
        if hasMore { scans[number] = scan }
    }

    mutating func close(_ scan: UInt32) { scans[scan] = nil }

    private mutating func sending(
        _ body: (inout OwnerChannel, Duration) throws(IOError) -> Void
    ) throws(VarveError) {
        do { try body(&channel, stall) } catch {
            broken = error
            throw VarveError(error)
        }
    }
}
