import Testing
import VarveTestSupport

@testable import VarveEngine

/// A merge walks as the sorted list of all that its sources hold, either way, however it is turned round.
@Suite("Merging and level cursors")
struct MergingCursorTests {
    private static func randomKey(_ generator: inout SplitMix) -> [UInt8] {
        // Of many lengths, with shared beginnings, so that every path of the word-wise comparison is met.
        let length = Int.random(in: 0...20, using: &generator)
        var key = [UInt8](repeating: 7, count: length)
        if length > 0 { key[Int.random(in: 0..<length, using: &generator)] = generator.byte() & 3 }
        return key
    }

    private static func randomVersions(_ generator: inout SplitMix) -> [TestVersion] {
        let count = Int.random(in: 0...60, using: &generator)
        return (0..<count).map { TestVersion(randomKey(&generator), UInt64($0 + 1), entry: [0, UInt8($0)]) }
    }

    @Test(arguments: 0..<150 as Range<UInt64>)
    func walksAsTheSortedList(seed: UInt64) throws {
        var generator = SplitMix(seed)
        let all = Self.randomVersions(&generator)
        let sourceCount = Int.random(in: 1...6, using: &generator)
        var parts = [[TestVersion]](repeating: [], count: sourceCount)
        // Mostly into the last source, as levels are.
        for version in all {
            let isElsewhere = Int.random(in: 0..<4, using: &generator) == 0
            parts[isElsewhere ? Int.random(in: 0..<sourceCount, using: &generator) : sourceCount - 1].append(version)
        }
        let merge = MergingCursor(
            parts.enumerated().map { index, part in
                index % 2 == 0 ? .other(ArrayCursor(part)) : .other(arrayLevel(part, tableSize: 3))
            })
        let sorted = all.sorted()
        var place = -1
        for step in 0..<300 {
            let isAtEntry = sorted.indices.contains(place)
            switch Int.random(in: 0..<12, using: &generator) {
            case 0:
                try merge.seekToFirst()
                place = 0
            case 1:
                try merge.seekToLast()
                place = sorted.count - 1
            case 2, 3:
                let key = Self.randomKey(&generator)
                let trailer = Trailer(LSN(UInt64.random(in: 0..<70, using: &generator)), .put)
                let wanted =
                    sorted.firstIndex {
                        $0.key == key ? $0.trailer <= trailer : RangeTombstone.isBefore(key, $0.key)
                    } ?? sorted.count
                if Bool.random(using: &generator) {
                    try key.lend { unsafe try merge.seek(to: $0, trailer) }
                    place = wanted
                } else {
                    try key.lend { unsafe try merge.seek(before: $0, trailer) }
                    place = wanted - 1
                }
            case 4...8 where isAtEntry:
                try merge.next()
                place += 1
            case _ where isAtEntry:
                try merge.previous()
                place -= 1
            default: continue
            }
            let expected = sorted.indices.contains(place) ? sorted[place] : nil
            #expect((merge.isValid ? TestVersion(merge) : nil) == expected, "seed \(seed), step \(step)")
            if let expected, merge.isValid { #expect(parts[merge.sourceIndex].contains(expected)) }
        }
    }

    @Test func aTieShowsTheFirstSourceFirst() throws {
        let version = TestVersion([1], 5)
        let merge = MergingCursor((0..<4).map { _ in .other(ArrayCursor([version])) })
        try merge.seekToFirst()
        var order: [Int] = []
        while merge.isValid {
            order.append(merge.sourceIndex)
            try merge.next()
        }
        #expect(order == [0, 1, 2, 3])
    }

    /// Whatever move of whatever source fails, the error comes out, and after a new seek all is right.
    @Test func anErrorLeavesItInvalid() throws {
        var left: [TestVersion] = []
        var right: [TestVersion] = []
        for number in 0..<10 as Range<UInt8> {
            left.append(TestVersion([number * 2], UInt64(number) + 1))
            right.append(TestVersion([number * 2 + 1], UInt64(number) + 20))
        }
        for failure in 1...10 {
            let failing = ArrayCursor(left)
            failing.failAt = failure
            let merge = MergingCursor([.other(failing), .other(ArrayCursor(right))])
            var seen = 0
            var error: VarveError?
            do throws(VarveError) {
                try merge.seekToFirst()
                while merge.isValid {
                    seen += 1
                    try merge.next()
                }
            } catch let thrown { error = thrown }
            let expected: Int = max(0, failure * 2 - 3)
            #expect(error?.code == VarveError.Code.io)
            #expect(!merge.isValid)
            #expect(seen == expected)
            try merge.seekToFirst()
            seen = 0
            while merge.isValid {
                seen += 1
                try merge.next()
            }
            #expect(seen == 20)
        }
    }

    @Test func noSourcesAndEmptySources() throws {
        for merge in [
            MergingCursor([]), MergingCursor([.other(ArrayCursor([])), .other(arrayLevel([], tableSize: 1))]),
        ] {
            try merge.seekToFirst()
            #expect(!merge.isValid)
            try merge.seekToLast()
            #expect(!merge.isValid)
        }
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func keyComparisonByWords(seed: UInt64) {
        var generator = SplitMix(seed)
        for _ in 0..<200 {
            let (a, b) = (Self.randomKey(&generator), Self.randomKey(&generator))
            let right = a == b ? 0 : (RangeTombstone.isBefore(a, b) ? -1 : 1)
            let found = a.lend { left in b.lend { unsafe KeyWords.compare(left, $0).signum() } }
            #expect(found == right, "\(a) and \(b)")
            #expect(a.lend { left in b.lend { unsafe KeyWords.areEqual(left, $0) } } == (a == b))
            var saved = SavedKey()
            let copy = KeyCopy()
            a.lend { unsafe copy.assign($0) }
            #expect(unsafe Array(copy.bytes) == a)
            #expect(b.lend { unsafe copy.equals($0) } == (a == b))
            a.lend { unsafe saved.assign($0) }
            #expect(unsafe Array(saved.bytes) == a)
            #expect(b.lend { unsafe saved.equals($0) } == (a == b))
        }
    }
}
