import Testing

@testable import VarveEngine

@Suite("The owner's messages on the wire")
struct OwnerWireTests {
    private func bytes(_ kind: OwnerMessageKind, request: UInt32, _ body: [UInt8]) -> String {
        var buffer = ByteBuffer()
        unsafe body.withUnsafeBytes {
            unsafe OwnerHeader(kind: kind, request: request, argument: 0, body: $0).append(to: &buffer)
        }
        buffer.append(body)
        return buffer.array().map { String(hexadecimal(UInt64($0)).suffix(2)) }.joined(separator: " ")
    }

    /// The worked example of docs/formats/owner-protocol.md.
    @Test("the documented bytes are the bytes")
    func example() {
        #expect(
            bytes(.statistics, request: 7, [])
                == "28 34 b5 0d 7f d2 51 d1 00 00 00 00 01 01 00 00 07 00 00 00 00 00 00 00 00 00 00 00")
        #expect(
            bytes(.text, request: 7, Array("{}".utf8))
                == "88 de 29 2f da 77 23 6a 02 00 00 00 44 01 00 00 07 00 00 00 00 00 00 00 00 00 00 00 7b 7d")
    }

    @Test("every request reads back as what was written")
    func requests() throws {
        let cursor = ChangeCursor(timeline: TimelineID(ordinal: 2, unique: UniqueID(high: 3, low: 4)), lsn: LSN(5))
        let requests: [OwnerRequest] = [
            .statistics, .verify, .flush, .compact(begin: nil, end: nil), .compact(begin: [], end: [1, 2]),
            .checkpoint(path: "/x", slot: nil), .checkpoint(path: "", slot: "s"), .get(key: []), .get(key: [1]),
            .timedGet(key: [2]),
            .openScan(OwnerScanRequest()),
            .openScan(OwnerScanRequest(begin: [1], end: [], isReverse: true, limit: .max)), .nextPage(scan: 5),
            .closeScan(scan: .max), .log(OwnerLogRequest(from: FakeOwnerService.position)),
            .slot(name: "s", place: nil), .slot(name: "", place: cursor),
        ]
        for request in requests {
            var body = ByteBuffer()
            request.appendBody(to: &body)
            #expect(unsafe try OwnerRequest(request.kind, body: body.bytes) == request)
        }
    }

    @Test("an error of a code that this version does not know still tells its story")
    func unknownCode() throws {
        var body = ByteBuffer()
        body.appendCounted("tooNew")
        body.appendCounted("the moon is full")
        body.appendOptional(nil)
        body.append(0)
        let error = unsafe try OwnerErrorCodec.decode(body.bytes)
        #expect(error.code == .io && error.message == "tooNew: the moon is full")
    }
}
