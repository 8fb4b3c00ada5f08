import Testing
import VarveTestSupport

@testable import VarveEngine

/// The search of an index against the plainest one: the first separator, one after the other, that is not before the key.
@Suite("Indexes whose separators share their first bytes, or not")
struct IndexSearchTests {
    enum Shape: CaseIterable {
        /// One namespace, digits: chunks that differ.
        case digits
        /// Several namespaces, digits: runs of equal chunks.
        case namespaces
        /// Zeros, so that what fills a chunk up looks like a key; many lengths.
        case zeros
        /// Many lengths and no zero: each chunk tells its own length.
        case texts
        /// Runs of equal chunks whose tails are equal for eight bytes more.
        case deep
    }

    private static func key(_ shape: Shape, _ random: inout SplitMix) -> [UInt8] {
        switch shape {
        case .digits: [0, 0, 0, 7] + digits(Int(random.next() % 5000), 16)
        case .namespaces: [0, 0, 0, UInt8(Int(random.next() % 3))] + digits(Int(random.next() % 5000), 16)
        case .zeros: (0..<Int(random.next() % 24)).map { _ in Int(random.next() % 20) == 0 ? 1 : 0 }
        case .texts: (0..<Int(random.next() % 12)).map { _ in UInt8(Int(random.next() % 2)) + 1 }
        case .deep:
            [0, 0, UInt8(Int(random.next() % 2)), 7] + [UInt8](repeating: 9, count: 20)
                + digits(Int(random.next() % 5000), 12)
        }
    }

    private static func digits(_ number: Int, _ width: Int) -> [UInt8] {
        let text = Array(String(number).utf8)
        return [UInt8](repeating: 48, count: width - text.count) + text
    }

    @Test("finds the block that a walk finds", arguments: Shape.allCases, 1...8 as ClosedRange<UInt64>)
    func agrees(_ shape: Shape, _ seed: UInt64) throws {
        var random = SplitMix(seed)
        var separators: Set<[UInt8]> = []
        for _ in 0..<Int(random.next() % 400) + 1 { separators.insert(IndexSearchTests.key(shape, &random)) }
        let sorted = separators.sorted { $0.lexicographicallyPrecedes($1) }
        var builder = IndexBuilder()
        for (number, separator) in sorted.enumerated() {
            builder.add(separator: separator, trailer: .oldest, offset: UInt64(number) * 100)
        }
        var output = ByteBuffer()
        builder.finish(dataEnd: UInt64(sorted.count) * 100, into: &output)
        let index = unsafe try BlockIndex(output.bytes)
        let foreign = (0..<200).map { _ in IndexSearchTests.key(shape, &random) }
        let neighbours = sorted.flatMap { [$0 + [0], $0 + [1], Array($0.dropLast())] as [[UInt8]] }
        for key in sorted + foreign + neighbours {
            let wanted = sorted.firstIndex { !$0.lexicographicallyPrecedes(key) } ?? sorted.count
            let found = unsafe key.withUnsafeBytes { unsafe index.firstBlock(atOrAfter: $0, .newest) }
            #expect(found == wanted, "seed \(seed), key \(key)")
        }
        withExtendedLifetime(output) {}
    }

    @Test("finds it among the versions of one key, too", arguments: Shape.allCases, 1...4 as ClosedRange<UInt64>)
    func versions(_ shape: Shape, _ seed: UInt64) throws {
        var random = SplitMix(seed)
        var keys: Set<[UInt8]> = []
        for _ in 0..<Int(random.next() % 100) + 1 { keys.insert(IndexSearchTests.key(shape, &random)) }
        var separators: [(key: [UInt8], trailer: Trailer)] = []
        for key in keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            // Blocks that end within the key's versions, newest first, and the one that ends them.
            for lsn in (0..<random.next() % 4).reversed() { separators.append((key, Trailer(LSN(lsn * 10 + 5), .put))) }
            separators.append((key, .oldest))
        }
        var builder = IndexBuilder()
        for (number, separator) in separators.enumerated() {
            builder.add(separator: separator.key, trailer: separator.trailer, offset: UInt64(number) * 100)
        }
        var output = ByteBuffer()
        builder.finish(dataEnd: UInt64(separators.count) * 100, into: &output)
        let index = unsafe try BlockIndex(output.bytes)
        for key in keys.flatMap({ [$0, $0 + [0], Array($0.dropLast())] as [[UInt8]] }) {
            for lsn in [0, 4, 5, 6, 15, 24, 25, 26, 40] as [UInt64] {
                let seek = Trailer(seekingAt: LSN(lsn))
                let wanted = separators.firstIndex { separator in
                    unsafe separator.key.withUnsafeBytes { own in
                        unsafe key.withUnsafeBytes { unsafe FullKey.compare(own, separator.trailer, $0, seek) >= 0 }
                    }
                }
                let found = unsafe key.withUnsafeBytes { unsafe index.firstBlock(atOrAfter: $0, seek) }
                #expect(found == wanted ?? separators.count, "seed \(seed), key \(key) at \(lsn)")
            }
        }
        withExtendedLifetime(output) {}
    }
}
