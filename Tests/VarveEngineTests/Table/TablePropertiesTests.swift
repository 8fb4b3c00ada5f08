import Testing

@testable import VarveEngine

@Suite("Table properties")
struct TablePropertiesTests {
    static let sample: TableProperties = {
        var properties = TableProperties()
        properties.fileID = 7
        properties.fileBytes = 123_456
        properties.contentHash = ContentHash(high: 1, low: 2)
        properties.smallestKey = [0, 0, 0, 16, 1]
        properties.largestKey = [0, 0, 0, 16, 200]
        properties.largestKeyIsExclusive = true
        properties.putCount = 10
        properties.deleteCount = 3
        properties.rangeTombstoneCount = 1
        properties.smallestLSN = LSN(5)
        properties.largestLSN = LSN(77)
        properties.smallestCommitTime = -4
        properties.largestCommitTime = 1 << 60
        properties.earliestUsableUntil = 100
        properties.latestUsableUntil = .max
        properties.expiryQuantiles = (1...16).map { Timestamp($0) * 10 }
        properties.sourceVersionCount = 2
        properties.highestSourceVersion = 99
        properties.rawKeyBytes = 65
        properties.rawEntryBytes = 1000
        properties.storedDataBytes = 700
        properties.dataBlockCount = 2
        properties.namespaces = [
            NamespaceShare(namespace: .default, putCount: 4, rawBytes: 300, storedBytes: 200),
            NamespaceShare(namespace: NamespaceID(rawValue: .max), putCount: 6, rawBytes: 765, storedBytes: 500),
        ]
        properties.tagSample = TagSample(
            count: 20,
            entries: [
                TagSample.Entry(namespace: .default, version: LSN(6), tags: [1, .max], weight: 3),
                TagSample.Entry(namespace: NamespaceID(rawValue: .max), version: .max, tags: [0]),
            ])
        return properties
    }()

    static func encoded(_ properties: TableProperties) -> [UInt8] {
        var buffer = ByteBuffer()
        properties.encode(to: &buffer)
        return buffer.array()
    }

    static func decoded(_ bytes: [UInt8]) throws(DecodeError) -> TableProperties {
        let result = unsafe bytes.withUnsafeBytes { raw in
            Result { () throws(DecodeError) -> TableProperties in
                var reader = unsafe ByteReader(raw)
                return try TableProperties.decode(from: &reader)
            }
        }
        return try result.get()
    }

    @Test("come back as they were written", arguments: [TableProperties(), sample])
    func roundTrip(_ properties: TableProperties) throws {
        #expect(try Self.decoded(Self.encoded(properties)) == properties)
    }

    @Test("unknown tags are skipped")
    func unknownTag() throws {
        #expect(try Self.decoded(Self.encoded(Self.sample) + [100, 2, 9, 9]) == Self.sample)
    }

    @Test("a cut anywhere but between two fields is refused, and any flipped byte traps nothing")
    func damage() {
        let bytes = Self.encoded(Self.sample)
        var refused = 0
        for length in 0..<bytes.count where (try? Self.decoded(Array(bytes[..<length]))) == nil { refused += 1 }
        #expect(refused > bytes.count / 2)
        for index in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 << bit
                _ = try? Self.decoded(damaged)
            }
        }
    }

    @Test("values that contradict each other are refused")
    func contradictions() {
        var backwards = Self.sample
        swap(&backwards.smallestKey, &backwards.largestKey)
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(backwards)) }
        var huge = Self.sample
        huge.rawKeyBytes = .max
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(huge)) }
        var twice = Self.sample
        twice.namespaces.append(twice.namespaces[1])
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(twice)) }
        var large = Self.sample
        large.namespaces[0].rawBytes = 1 << 49
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(large)) }
        var more = Self.sample
        more.namespaces[0].putCount += 1
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(more)) }
        more = Self.sample
        more.namespaces[1].storedBytes += 1
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(more)) }
        var samples = Self.sample
        samples.tagSample.count = 3
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(samples)) }
        samples.tagSample.count = 33
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(samples)) }
        samples.tagSample = TagSample(
            count: 1, entries: [TagSample.Entry(namespace: .default, version: LSN(1), tags: [])])
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(samples)) }
        samples.tagSample.entries = [
            TagSample.Entry(namespace: .default, version: LSN(1), tags: Array(0...UInt64(TagSample.tagLimit)))
        ]
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(samples)) }
        var unsorted = Self.sample
        unsorted.expiryQuantiles[3] = 1000
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(unsorted)) }
    }

    @Test("an exclusive end does not overlap a table that begins there")
    func exclusiveEnd() {
        var next = Self.sample
        next.smallestKey = Self.sample.largestKey
        next.largestKey = Self.sample.largestKey + [1]
        #expect(!Self.sample.overlaps(next))
        #expect(!next.overlaps(Self.sample))
        var inclusive = Self.sample
        inclusive.largestKeyIsExclusive = false
        #expect(inclusive.overlaps(next))
        #expect(Self.sample.overlaps([0], nil))
        #expect(!Self.sample.overlaps(Self.sample.largestKey, nil))
        #expect(!Self.sample.overlaps([0], Self.sample.smallestKey))
    }

    @Test("as many namespaces as a table tells of come back; the one namespace of a table needs no telling")
    func namespaces() throws {
        var many = Self.sample
        (many.putCount, many.storedDataBytes) = (1 << 48, 1 << 48)
        many.namespaces = (1...NamespaceShare.limit).map {
            NamespaceShare(
                namespace: NamespaceID(rawValue: .max - UInt32(NamespaceShare.limit - $0)), putCount: 1 << 36,
                rawBytes: 1 << 48, storedBytes: 1 << 36)
        }
        #expect(try Self.decoded(Self.encoded(many)) == many)
        var one = Self.sample
        one.namespaces = []
        #expect(one.namespaceShares?.map(\.namespace) == [.default] && one.namespaceShares?[0].putCount == 10)
        one.largestKey = [0, 0, 0, 17]
        #expect(one.onlyNamespace == .default)
        one.largestKeyIsExclusive = false
        #expect(one.namespaceShares == nil)
    }

    @Test("a table that claims no end of bytes for a namespace is refused, and counted without a trap")
    func hugeShares() {
        var hostile = Self.sample
        (hostile.fileBytes, hostile.storedDataBytes) = (1 << 48, 1)
        for index in hostile.namespaces.indices { hostile.namespaces[index].storedBytes = 1 << 48 }
        #expect(throws: DecodeError.self) { try Self.decoded(Self.encoded(hostile)) }
        let use = NamespaceUse([TableFile(number: 1, properties: hostile)])
        #expect(use[.default].entries == 4 && use[.default].bytes == 1 << 48)
    }

    @Test("the expired share follows the quantiles")
    func expiredShare() {
        #expect(Self.sample.expiredShare(at: 9) == 0)
        #expect(Self.sample.expiredShare(at: 80) == 0.5)
        #expect(Self.sample.expiredShare(at: 1000) == 1)
    }
}
