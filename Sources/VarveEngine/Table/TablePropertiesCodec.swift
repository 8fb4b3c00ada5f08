/// Properties as bytes: a run of (varint tag, varint length, bytes). Numbers are 8 bytes little-endian. A tag that this
/// version does not know is skipped; what a reader must know is a required feature of the footer. Absent fields keep
/// their defaults. Format: docs/formats/table.md.
extension TableProperties {
    private enum Tag: UInt64 {
        case fileID = 1, fileBytes, contentHash
        case smallestKey, largestKey, largestKeyIsExclusive
        case putCount, deleteCount, rangeTombstoneCount
        case smallestLSN, largestLSN, smallestCommitTime, largestCommitTime
        case earliestUsableUntil, latestUsableUntil, expiryQuantiles
        case sourceVersionCount, highestSourceVersion
        case rawKeyBytes, rawEntryBytes, storedDataBytes, dataBlockCount
        case namespaces
        case tagSample
    }

    /// The bytes that an encoded table's properties may take.
    static let encodedLimit = 2 * Limits.fullKeyBytes + 4096 + NamespaceShare.limit * 32 + TagSample.encodedLimit

    func encode(to buffer: inout ByteBuffer) {
        func number(_ tag: Tag, _ value: UInt64, unless usual: UInt64 = 0) {
            guard value != usual else { return }
            buffer.appendVarint(tag.rawValue)
            buffer.append(8)
            buffer.appendFixed(value)
        }
        func time(_ tag: Tag, _ value: Timestamp, unless usual: Timestamp) {
            number(tag, UInt64(bitPattern: value), unless: UInt64(bitPattern: usual))
        }
        func bytes(_ tag: Tag, _ value: [UInt8]) {
            buffer.appendVarint(tag.rawValue)
            buffer.appendVarint(UInt64(value.count))
            buffer.append(value)
        }
        number(.fileID, fileID)
        number(.fileBytes, fileBytes)
        if let contentHash {
            buffer.appendVarint(Tag.contentHash.rawValue)
            buffer.append(16)
            buffer.appendFixed(contentHash.high)
            buffer.appendFixed(contentHash.low)
        }
        bytes(.smallestKey, smallestKey)
        bytes(.largestKey, largestKey)
        number(.largestKeyIsExclusive, largestKeyIsExclusive ? 1 : 0)
        number(.putCount, putCount)
        number(.deleteCount, deleteCount)
        number(.rangeTombstoneCount, rangeTombstoneCount)
        number(.smallestLSN, smallestLSN.rawValue, unless: LSN.max.rawValue)
        number(.largestLSN, largestLSN.rawValue)
        time(.smallestCommitTime, smallestCommitTime, unless: .max)
        time(.largestCommitTime, largestCommitTime, unless: .min)
        time(.earliestUsableUntil, earliestUsableUntil, unless: .max)
        time(.latestUsableUntil, latestUsableUntil, unless: .min)
        if !expiryQuantiles.isEmpty {
            buffer.appendVarint(Tag.expiryQuantiles.rawValue)
            buffer.appendVarint(UInt64(expiryQuantiles.count * 8))
            for quantile in expiryQuantiles { buffer.appendFixed(quantile) }
        }
        number(.sourceVersionCount, sourceVersionCount)
        number(.highestSourceVersion, highestSourceVersion)
        number(.rawKeyBytes, rawKeyBytes)
        number(.rawEntryBytes, rawEntryBytes)
        number(.storedDataBytes, storedDataBytes)
        number(.dataBlockCount, dataBlockCount)
        if !namespaces.isEmpty { bytes(.namespaces, encodedNamespaces()) }
        if !tagSample.isEmpty {
            var sample = ByteBuffer(capacity: 64)
            tagSample.encode(to: &sample)
            bytes(.tagSample, sample.array())
        }
    }

    private func encodedNamespaces() -> [UInt8] {
        var buffer = ByteBuffer(capacity: 64)
        for share in namespaces {
            buffer.appendVarint(UInt64(share.namespace.rawValue))
            buffer.appendVarint(share.putCount)
            buffer.appendVarint(share.rawBytes)
            buffer.appendVarint(share.storedBytes)
        }
        return buffer.array()
    }

    private mutating func decodeNamespaces(from field: inout ByteReader) throws(DecodeError) {
        namespaces = []
        while !field.isAtEnd {
            let id = UInt32(exactly: try field.varint())
            guard let id, namespaces.last.map({ $0.namespace.rawValue < id }) ?? true else {
                throw .malformed("namespaces out of order")
            }
            let share = NamespaceShare(
                namespace: NamespaceID(rawValue: id), putCount: try field.varint(), rawBytes: try field.varint(),
                storedBytes: try field.varint())
            guard max(share.putCount, share.rawBytes, share.storedBytes) <= Self.sizeLimit else {
                throw .outOfRange("a namespace's count or size")
            }
            guard namespaces.count < NamespaceShare.limit else { throw .outOfRange("the number of namespaces") }
            namespaces.append(share)
        }
    }

    /// Reads all that is left of `reader`.
    static func decode(from reader: inout ByteReader) throws(DecodeError) -> TableProperties {
        var properties = TableProperties()
        while !reader.isAtEnd {
            let tag = try reader.varint()
            let length = try reader.length(atMost: encodedLimit, "a property's length")
            var field = unsafe ByteReader(try reader.bytes(length))
            guard let known = Tag(rawValue: tag) else { continue }
            try properties.decode(known, from: &field)
            guard field.isAtEnd else { throw .malformed("property \(tag) is longer than its type") }
        }
        try properties.check()
        return properties
    }

    private mutating func decode(_ tag: Tag, from field: inout ByteReader) throws(DecodeError) {
        switch tag {
        case .fileID: fileID = try field.fixed()
        case .fileBytes: fileBytes = try field.fixed()
        case .contentHash: contentHash = ContentHash(high: try field.fixed(), low: try field.fixed())
        case .smallestKey: smallestKey = unsafe Array(field.rest())
        case .largestKey: largestKey = unsafe Array(field.rest())
        case .largestKeyIsExclusive: largestKeyIsExclusive = try field.fixed(UInt64.self) != 0
        case .putCount: putCount = try field.fixed()
        case .deleteCount: deleteCount = try field.fixed()
        case .rangeTombstoneCount: rangeTombstoneCount = try field.fixed()
        case .smallestLSN: smallestLSN = LSN(try field.fixed())
        case .largestLSN: largestLSN = LSN(try field.fixed())
        case .smallestCommitTime: smallestCommitTime = try field.fixed()
        case .largestCommitTime: largestCommitTime = try field.fixed()
        case .earliestUsableUntil: earliestUsableUntil = try field.fixed()
        case .latestUsableUntil: latestUsableUntil = try field.fixed()
        case .expiryQuantiles:
            guard field.remaining == Self.quantileCount * 8 else { throw .malformed("sixteen expiry quantiles") }
            expiryQuantiles = []
            while !field.isAtEnd { expiryQuantiles.append(try field.fixed()) }
        case .sourceVersionCount: sourceVersionCount = try field.fixed()
        case .highestSourceVersion: highestSourceVersion = try field.fixed()
        case .rawKeyBytes: rawKeyBytes = try field.fixed()
        case .rawEntryBytes: rawEntryBytes = try field.fixed()
        case .storedDataBytes: storedDataBytes = try field.fixed()
        case .dataBlockCount: dataBlockCount = try field.fixed()
        case .namespaces: try decodeNamespaces(from: &field)
        case .tagSample: tagSample = try TagSample.decode(from: &field)
        }
    }

    /// Sums of counts and sizes must fit a machine word wherever they are added up.
    private static let sizeLimit = UInt64(1) << 48

    /// What namespaces have is part of what the table has.
    private func checkNamespaces() throws(DecodeError) {
        // Each is within `sizeLimit`, and so is what is left: no sum of theirs goes beyond a machine word.
        var (puts, stored) = (putCount, storedDataBytes)
        for share in namespaces {
            guard share.putCount <= puts, share.storedBytes <= stored else {
                throw .malformed("namespaces with more than the table has")
            }
            puts -= share.putCount
            stored -= share.storedBytes
        }
    }

    /// What must hold of the fields together, so that users of decoded properties need not ask again.
    private func check() throws(DecodeError) {
        guard smallestKey.count <= Limits.fullKeyBytes, largestKey.count <= Limits.fullKeyBytes else {
            throw .outOfRange("a key above \(Limits.fullKeyBytes) bytes")
        }
        guard smallestLSN <= .max, largestLSN <= .max else { throw .outOfRange("an LSN above 56 bits") }
        for value in [
            putCount, deleteCount, rangeTombstoneCount, rawKeyBytes, rawEntryBytes, storedDataBytes, dataBlockCount,
            fileBytes, sourceVersionCount,
        ] where value > Self.sizeLimit {
            throw .outOfRange("a count or size of \(value)")
        }
        try checkNamespaces()
        guard isEmpty || (!largestKey.lexicographicallyPrecedes(smallestKey) && smallestLSN <= largestLSN) else {
            throw .malformed("a range whose end lies before its begin")
        }
        for (earlier, later) in zip(expiryQuantiles, expiryQuantiles.dropFirst()) where earlier > later {
            throw .malformed("expiry quantiles out of order")
        }
    }
}
