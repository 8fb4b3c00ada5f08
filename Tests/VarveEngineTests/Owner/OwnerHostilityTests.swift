import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

@Suite("The owner outlives hostile and clumsy clients")
struct OwnerHostilityTests {
    private func send(_ bytes: [UInt8], _ connection: UnixConnection) throws(IOError) {
        unsafe try bytes.span.bytes.withUnsafeBytes { (bytes) throws(IOError) in
            unsafe try connection.write(bytes, limit: nil)
        }
    }

    /// A valid message as bytes.
    private func message(_ kind: OwnerMessageKind, _ body: [UInt8] = []) -> [UInt8] {
        var buffer = ByteBuffer()
        unsafe body.withUnsafeBytes {
            unsafe OwnerHeader(kind: kind, request: 5, argument: 0, body: $0).append(to: &buffer)
        }
        buffer.append(body)
        return buffer.array()
    }

    /// What a connection hears after the greeting: the kinds of all messages until it is closed.
    private func hear(_ connection: UnixConnection) -> [OwnerMessageKind] {
        var channel = OwnerChannel(connection)
        var kinds: [OwnerMessageKind] = []
        while let header = try? channel.receive(limit: 1 << 20, idle: nil, stall: nil) { kinds.append(header.kind) }
        return kinds
    }

    @Test("garbage is answered with an error and the end", arguments: 0..<20)
    func garbage(seed: UInt64) throws {
        let harness = try OwnerHarness()
        var random = SplitMix(seed)
        let connection = try harness.connection()
        let bytes = (0..<(OwnerHeader.bytes + Int(random.next() % 200))).map { _ in
            UInt8(truncatingIfNeeded: random.next())
        }
        try send(bytes, connection)
        #expect(hear(connection) == [.hello, .error], "seed \(seed)")
        #expect(try harness.client().statistics() == #"{"entries": 0}"#)
    }

    @Test("a valid request with any one bit turned is refused, never carried out", arguments: 0..<8)
    func turnedBits(bit: Int) throws {
        let harness = try OwnerHarness()
        let whole = message(.checkpoint, [1, 0x61, 0])
        for index in whole.indices {
            var bytes = whole
            bytes[index] ^= 1 << UInt8(bit)
            let connection = try harness.connection()
            try send(bytes, connection)
            connection.finishWriting()
            let heard = hear(connection)
            #expect(heard == [.hello, .error], "byte \(index), bit \(bit): \(heard)")
        }
        #expect(harness.service.state.current.checkpoints.isEmpty)
    }

    @Test("a request cut at any byte is refused, never carried out")
    func cutShort() throws {
        let harness = try OwnerHarness()
        let whole = message(.checkpoint, [1, 0x61, 0])
        for length in 0..<whole.count {
            let connection = try harness.connection()
            try send(Array(whole.prefix(length)), connection)
            connection.finishWriting()
            #expect(hear(connection) == (length == 0 ? [.hello] : [.hello, .error]), "\(length) bytes")
        }
        #expect(harness.service.state.current.checkpoints.isEmpty)
    }

    @Test("kinds that are no requests, fields that are malformed and other versions are refused")
    func wrongMessages() throws {
        let harness = try OwnerHarness()
        var other = message(.flush)
        other[13] = 2
        let long = [UInt8](repeating: 0, count: Limits.fullKeyBytes + 1)
        for bytes in [
            other, message(.hello), message(.frames, [1]), message(.flush, [0]), message(.compact, [2]),
            message(.checkpoint, [0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), message(.log, [1]), message(.nextPage, [1, 2, 3]),
            message(.openScan, [0, 0, 7]), message(.get, long),
            message(.get, [UInt8](repeating: 0, count: Limits.ownerRequestBytes + 1)),
        ] {
            let connection = try harness.connection()
            try? send(bytes, connection)
            #expect(hear(connection) == [.hello, .error])
        }
        #expect(harness.service.state.current.flushes == 0)
    }

    @Test("a client that says nothing is hung up on when its time is over")
    func idle() throws {
        let harness = try OwnerHarness(.init(idle: .milliseconds(10)))
        #expect(hear(try harness.connection()) == [.hello])
        // In the middle of a message, too.
        let strict = try OwnerHarness(.init(stall: .milliseconds(10)))
        let connection = try strict.connection()
        try send([1, 2, 3], connection)
        #expect(hear(connection) == [.hello])
    }

    @Test("beyond the bound callers are told so, and the next is served when one leaves")
    func tooMany() throws {
        let harness = try OwnerHarness(.init(connections: 3))
        var clients: [OwnerClient] = []
        for _ in 0..<3 { clients.append(try harness.client()) }
        let refusal = thrown { () throws(VarveError) in _ = try harness.client() }
        #expect(refusal?.code == .limitExceeded && refusal?.message.contains("3 connections") == true)
        #expect(try clients[0].statistics() == #"{"entries": 0}"#)
        clients.removeLast().close()
        // Its thread ends some time after the close: the refusals until then are right too.
        var last: OwnerClient?
        while last == nil { last = try? harness.client() }
        #expect(harness.server.connectionCount == 3)
    }

    @Test("half-closing after a long request calls it off")
    func halfClosed() throws {
        let harness = try OwnerHarness()
        harness.service.state.update { $0.isOpen = false }
        let connection = try harness.connection()
        try send(message(.flush), connection)
        #expect(harness.service.state.wait { $0.running == 1 })
        connection.finishWriting()
        #expect(hear(connection) == [.hello, .error])
        #expect(harness.service.state.current.cancelled == 1)
    }

    @Test("callers that leave at once leave nothing behind")
    func fleeting() throws {
        let harness = try OwnerHarness()
        for _ in 0..<300 { try harness.connection().close() }
        while harness.server.connectionCount > 0 { _ = try? harness.client().statistics() }
        #expect(harness.server.failure == nil)
    }
}

@Suite("The owner stops")
struct OwnerStopTests {
    @Test("stopping cancels what runs, hangs up on everybody and leaves no socket")
    func underLoad() throws {
        let harness = try OwnerHarness()
        harness.service.state.update { state in
            state.isOpen = false
            state.log = [.frames([UInt8](repeating: 1, count: 4 << 20), LSN(80))]
            for index in 0..<100 {
                state.entries.append(([UInt8(index)], LSN(1), [UInt8](repeating: 1, count: 60_000)))
            }
        }
        let ended = Watched(0)
        var threads: [IOThread] = []
        for index in 0..<12 {
            threads.append(
                try IOThread(name: "load") {
                    let error = thrown { () throws(VarveError) in
                        let client = try harness.client()
                        while true {
                            switch index % 4 {
                            case 0: try client.flush()
                            case 1: try client.streamLog(from: FakeOwnerService.position) { _ in true }
                            case 2: try client.scan(OwnerScanRequest()) { _ in true }
                            default: _ = try client.statistics()
                            }
                        }
                    }
                    #expect(error?.code == .closed || error?.code == .storeInUse, "\(String(describing: error))")
                    ended.update { $0 += 1 }
                })
        }
        // Three flushes wait at the gate and three streams wait for more.
        #expect(harness.service.state.wait { $0.running == 6 && $0.chunksTaken == 3 })
        harness.server.stop()
        #expect(harness.server.connectionCount == 0)
        let state = harness.service.state.current
        #expect(state.running == 0 && state.openScans == 0 && state.flushes == 0)
        for thread in threads { thread.join() }
        #expect(ended.current == 12)
        harness.server.stop()
        #expect(throws: IOError.self) { try harness.connection() }
        #expect(harness.server.failure == nil)
    }

    @Test("stopping waits for nobody who only connected")
    func silentClients() throws {
        let harness = try OwnerHarness()
        let connections = try (0..<8).map { _ in try harness.connection() }
        harness.server.stop()
        #expect(connections.count == 8)
    }
}
