internal import VarveIO

/// Whole messages over one connection. One thread at a time reads and writes; the buffers are reused.
struct OwnerChannel: ~Copyable {
    let connection: UnixConnection
    private var incoming = ByteBuffer(capacity: 4096)
    private var outgoing = ByteBuffer(capacity: 4096)

    /// A body up to this size is sent together with its header; a larger one from where it lies.
    private static let copiedBytes = 16 << 10
    /// Buffers that one large message has grown are given back after it.
    private static let keptBytes = 4 << 20
    /// A body is read in steps of this, so that a false length costs no more memory than bytes came.
    private static let stepBytes = 1 << 20

    init(_ connection: UnixConnection) { self.connection = connection }

    /// What a message could not be received for.
    enum Failure: Error {
        case io(IOError)
        case decode(DecodeError)
    }

    /// The next message's header; its body is in `body` until the next call. Nil: the peer closed between messages.
    /// `idle` bounds the wait for its first byte, `stall` every wait after that.
    mutating func receive(limit: Int, idle: Duration?, stall: Duration?) throws(Failure) -> OwnerHeader? {
        if incoming.capacity > OwnerChannel.keptBytes { incoming = ByteBuffer(capacity: 4096) }
        incoming.removeAll()
        guard try read(upTo: 1, limit: idle) == 1 else { return nil }
        guard try read(upTo: OwnerHeader.bytes - 1, limit: stall) == OwnerHeader.bytes - 1 else {
            throw .decode(.truncated)
        }
        let header: OwnerHeader
        do { header = unsafe try OwnerHeader(incoming.bytes, limit: limit) } catch { throw .decode(error) }
        incoming.removeAll()
        var rest = header.length
        while rest > 0 {
            let step = min(rest, OwnerChannel.stepBytes)
            guard try read(upTo: step, limit: stall) == step else { throw .decode(.truncated) }
            rest -= step
        }
        do { unsafe try header.verify(body: incoming.bytes) } catch { throw .decode(error) }
        return header
    }

    /// The body of the message last received.
    var body: UnsafeRawBufferPointer { unsafe incoming.bytes }

    /// Sends a message whose body lies in memory already.
    mutating func send(
        _ kind: OwnerMessageKind, request: UInt32, argument: UInt64 = 0, body: UnsafeRawBufferPointer,
        limit: Duration?
    ) throws(IOError) {
        precondition(body.count <= Limits.ownerReplyBytes, "a message stays within the protocol's limit")
        outgoing.removeAll()
        unsafe OwnerHeader(kind: kind, request: request, argument: argument, body: body).append(to: &outgoing)
        if body.count <= OwnerChannel.copiedBytes {
            unsafe outgoing.append(body)
            unsafe try connection.write(outgoing.bytes, limit: limit)
        } else {
            unsafe try connection.write(outgoing.bytes, limit: limit)
            unsafe try connection.write(body, limit: limit)
        }
    }

    /// Sends a message whose body `fill` writes.
    mutating func send(
        _ kind: OwnerMessageKind, request: UInt32, argument: UInt64 = 0, limit: Duration?,
        _ fill: (inout ByteBuffer) -> Void = { _ in }
    ) throws(IOError) {
        var body = ByteBuffer()
        fill(&body)
        unsafe try send(kind, request: request, argument: argument, body: body.bytes, limit: limit)
    }

    private mutating func read(upTo count: Int, limit: Duration?) throws(Failure) -> Int {
        let before = incoming.count
        do {
            unsafe try incoming.append(maximum: count) { (room) throws(IOError) in
                unsafe try connection.readFully(into: room, limit: limit)
            }
        } catch {
            throw .io(error)
        }
        return incoming.count - before
    }
}
