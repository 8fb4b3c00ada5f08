import Testing
import VarveTestSupport

@testable import VarveEngine

/// Bytes that docs/formats/table.md shows.
@Suite("Table format")
struct TableFormatTests {
    @Test("the worked example of a data block")
    func workedExample() {
        var builder = BlockBuilder()
        for (user, lsn, value) in [("apple", 5, "A"), ("apply", 7, "B")] as [(String, UInt64, String)] {
            let entry = [0 as UInt8] + Array(value.utf8)
            unsafe FullKey.make(.default, Array(user.utf8)).withUnsafeBytes { key in
                unsafe entry.withUnsafeBytes {
                    unsafe builder.add(key, hash: XXH3.hash64(key), Trailer(LSN(lsn), .put), $0)
                }
            }
        }
        var output = ByteBuffer()
        builder.finish(into: &output)
        let head: [UInt8] = [2, 0, 8, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
        let prefix: [UInt8] = [0, 0, 0, 0x10, 0x61, 0x70, 0x70, 0x6c]
        let slots: [UInt8] = [0x85, 0xf5, 0, 0, 6, 0]
        let entries: [UInt8] = [1, 0x65, 1, 0, 0, 0x41, 1, 0x79, 1, 2, 0, 0x42]
        #expect(output.array() == head + prefix + slots + entries)
    }

    @Test("a separator is short, at or after the last key and before the next")
    func separators() {
        let cases: [(String, String, String)] = [
            ("abc", "abd", "abc"), ("abcd", "abe", "abd"), ("abcd", "abf", "abd"), ("abcd", "abdz", "abd"),
            ("ab", "abc", "ab"), ("abcd", "abd", "abcd"), ("a", "c", "a"),
        ]
        for (last, next, expected) in cases {
            let found = unsafe Array(last.utf8).withUnsafeBytes { last in
                unsafe Array(next.utf8).withUnsafeBytes { unsafe IndexBuilder.separator(after: last, before: $0) }
            }
            #expect(found == Array(expected.utf8), "\(last), \(next)")
        }
    }

    @Test("separators of random keys keep the order", arguments: 1...3 as ClosedRange<UInt64>)
    func randomSeparators(_ seed: UInt64) {
        var random = SplitMix(seed)
        func key() -> [UInt8] {
            (0..<Int.random(in: 0...6, using: &random)).map { _ in [0, 1, 254, 255].randomElement(using: &random) ?? 0 }
        }
        for _ in 0..<5000 {
            let (a, b) = (key(), key())
            guard a.lexicographicallyPrecedes(b) else { continue }
            let separator = unsafe a.withUnsafeBytes { last in
                unsafe b.withUnsafeBytes { unsafe IndexBuilder.separator(after: last, before: $0) }
            }
            #expect(!separator.lexicographicallyPrecedes(a) && separator.lexicographicallyPrecedes(b), "seed \(seed)")
            #expect(separator.count <= a.count, "seed \(seed)")
        }
    }
}
