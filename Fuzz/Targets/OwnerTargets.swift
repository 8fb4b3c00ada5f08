@testable import VarveEngine

/// Messages of the owner's socket, header and body.
extension FuzzTarget {
    static let ownerRequest = FuzzTarget(
        name: "owner-request",
        decode: { bytes in
            accepts {
                let (header, body) = try split(bytes, limit: Limits.ownerRequestBytes)
                let request = try OwnerRequest(header.kind, body: body)
                let again = ByteBuffer.made { request.appendBody(to: &$0) }
                let second = try again.withBytes { body throws(DecodeError) in
                    try OwnerRequest(header.kind, body: body)
                }
                precondition(second == request, "a request changed as it was encoded again")
            }
        },
        repair: { repairMessage(&$0) },
        seeds: {
            let scan = OwnerScanRequest(begin: [1, 2], end: [3], isReverse: true, limit: 1000)
            let log = OwnerLogRequest(from: ManifestSeeds.position, lsn: LSN(50), time: 77, follows: false)
            let cursor = ChangeCursor(timeline: ManifestSeeds.position.timeline, lsn: LSN(7))
            let changes = OwnerChangesRequest(
                namespaces: ["default", "users"], prefix: [1], start: .after(cursor), follows: true)
            let requests: [(String, OwnerRequest)] = [
                ("statistics", .statistics), ("compact", .compact(begin: [1], end: nil)),
                ("checkpoint", .checkpoint(path: "/tmp/c", slot: "archive")), ("get", .get(key: [0, 0, 0, 16, 1])),
                ("timed-get", .timedGet(key: [0, 0, 0, 16, 1])),
                ("scan", .openScan(scan)), ("page", .nextPage(scan: 3)), ("log", .log(log)),
                ("slot", .slot(name: "archive", place: cursor)), ("slot-removal", .slot(name: "archive", place: nil)),
                ("changes", .changes(changes)),
            ]
            return requests.map { name, request in
                (name, message(request.kind, ByteBuffer.made { request.appendBody(to: &$0) }))
            }
        })

    static let ownerReply = FuzzTarget(
        name: "owner-reply",
        decode: { bytes in
            accepts {
                let (header, body) = try split(bytes, limit: Limits.ownerReplyBytes)
                try readReply(header.kind, body)
            }
        },
        repair: { repairMessage(&$0) },
        seeds: {
            let progress = OwnerProgress(stage: "tables", done: 5, total: 10)
            let error = VarveError(.corruption, "a block's checksum", path: "/s/000003.sst", offset: 17)
            var page = OwnerPageBuilder(targetBytes: 100)
            LogSeeds.entry.withUnsafeBytes { entry in
                for number in 1...2 { page.append(key: entry, lsn: LSN(UInt64(number)), entry: entry) }
            }
            let position = ManifestSeeds.position
            return [
                (
                    "hello",
                    message(.hello, ByteBuffer.made { OwnerHello(processID: 9, program: "varve").append(to: &$0) })
                ),
                ("progress", message(.progress, ByteBuffer.made { progress.append(to: &$0) })),
                ("error", message(.error, ByteBuffer.made { OwnerErrorCodec.append(error, to: &$0) })),
                ("position", message(.position, ByteBuffer.made { $0.append(position) })),
                ("page", message(.page, Array(page.bytes))),
                ("segment", message(.segment, LogSeeds.header.encoded())),
                ("changes", message(.changeChunk, changeChunk)),
                ("frames", message(.frames, LogSeeds.frames(compresses: true))),
            ]
        })

    private static func split(
        _ bytes: UnsafeRawBufferPointer, limit: Int
    ) throws(DecodeError) -> (OwnerHeader, UnsafeRawBufferPointer) {
        let header = try OwnerHeader(bytes, limit: limit)
        let body = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(OwnerHeader.bytes))
        try header.verify(body: body)
        return (header, body)
    }

    private static func readReply(_ kind: OwnerMessageKind, _ body: UnsafeRawBufferPointer) throws(DecodeError) {
        switch kind {
        case .hello: _ = try OwnerHello(body)
        case .progress: _ = try OwnerProgress(body)
        case .error: _ = try OwnerErrorCodec.decode(body)
        case .position:
            var reader = ByteReader(body)
            _ = try reader.logPosition()
            try reader.expectEnd()
        case .page:
            var page = OwnerPageReader(body)
            while let entry = try page.next() { _ = try? EntryView(entry.bytes).fields() }
        case .changeChunk:
            let namespaces = [Namespace.default, .tagDrops]
            var changes = try ChangeChunkReader(ChangeChunk(copying: body), namespaces: namespaces)
            while let change = try changes.next() {
                precondition(ChangeCursor(change.cursor.description) == change.cursor, "a cursor's text is not it")
            }
        case .timedEntry:
            var reader = ByteReader(body)
            let _: Timestamp = try reader.fixed()
            _ = try? EntryView(reader.rest()).fields()
        case .segment: _ = try SegmentHeader(decoding: body)
        case .frames:
            guard RawFrameHeader.contents(of: body) != nil else { throw .malformed("frames") }
        default: throw .unknown("a reply without a body")
        }
    }

    private static var changeChunk: [UInt8] {
        var chunk = ChangeChunkBuilder(ManifestSeeds.position.timeline)
        chunk.begin(before: LSN(4), after: LSN(9), commitTime: 77)
        LogSeeds.entry.withUnsafeBytes { entry in
            chunk.append(.put, namespace: 0, lsn: LSN(5), key: entry, entry: entry)
            chunk.append(.delete, namespace: 1, lsn: LSN(6), key: entry, entry: entry)
            chunk.append(.rangeDelete, namespace: 0, lsn: LSN(7), key: entry, entry: entry)
        }
        let tag = [UInt8](repeating: 3, count: 8)
        tag.withUnsafeBytes { tag in
            chunk.append(
                .tagDrop, namespace: 1, lsn: LSN(9), key: tag, entry: UnsafeRawBufferPointer(rebasing: tag[..<0]))
        }
        chunk.end(endsBatch: true)
        chunk.begin(before: LSN(12), after: LSN(12), commitTime: 78)
        chunk.end(endsBatch: true)
        let made = chunk.finish()
        return withExtendedLifetime(made) { Array(made.bytes) }
    }

    private static func message(_ kind: OwnerMessageKind, _ body: [UInt8]) -> [UInt8] {
        let head = body.withBytes { body in
            OwnerHeader(kind: kind, request: 1, argument: 2, body: body)
        }
        return ByteBuffer.made { head.append(to: &$0) } + body
    }

    /// The length and checksum that the rest of the message asks for.
    private static func repairMessage(_ bytes: inout [UInt8]) {
        guard bytes.count >= OwnerHeader.bytes, let kind = OwnerMessageKind(rawValue: bytes[12]) else { return }
        let (request, argument): (UInt32, UInt64) = (bytes.number(at: 16), bytes.number(at: 20))
        let body = Array(bytes[OwnerHeader.bytes...])
        let head = body.withBytes { OwnerHeader(kind: kind, request: request, argument: argument, body: $0) }
        bytes = ByteBuffer.made { head.append(to: &$0) } + body
    }
}
