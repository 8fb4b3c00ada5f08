import Testing

@testable import VarveEngine

@Suite("Output splitter")
struct OutputSplitterTests {
    private func ends(_ splitter: inout OutputSplitter, _ key: UInt8, _ bytes: UInt64) -> Bool {
        [key].lend { unsafe splitter.endsTable(before: $0, bytes: bytes) }
    }

    private func grandparents(_ ranges: [(UInt8, UInt8)], bytes: UInt64) -> [OutputSplitter.Grandparent] {
        ranges.map { OutputSplitter.Grandparent(range: KeyRange(smallest: [$0.0], largest: [$0.1]), bytes: bytes) }
    }

    @Test func endsAtItsTarget() {
        var splitter = OutputSplitter(targetBytes: 100)
        #expect(!ends(&splitter, 1, 0))
        #expect(!ends(&splitter, 2, 99))
        #expect(ends(&splitter, 3, 100))
    }

    @Test func endsBeforeItOverlapsTooMuch() {
        var splitter = OutputSplitter(
            targetBytes: 1000, grandparents: grandparents([(1, 2), (3, 4), (5, 6), (7, 8)], bytes: 10),
            maxOverlapBytes: 15)
        #expect(!ends(&splitter, 1, 0))
        #expect(!ends(&splitter, 4, 10))
        #expect(ends(&splitter, 5, 20))
        // Counting begins anew with the next table.
        #expect(!ends(&splitter, 7, 5))
        #expect(ends(&splitter, 9, 5))
    }

    @Test func endsEarlyWhereATableBeneathEnds() {
        var splitter = OutputSplitter(
            targetBytes: 100, grandparents: grandparents([(1, 2), (3, 4), (5, 6)], bytes: 10))
        #expect(!ends(&splitter, 1, 0))
        #expect(!ends(&splitter, 3, 74))
        #expect(!ends(&splitter, 4, 80))
        #expect(ends(&splitter, 5, 80))
    }

    @Test func theOldDebtOfGrandparentsDoesNotEndAFreshTable() {
        var splitter = OutputSplitter(
            targetBytes: 1000, grandparents: grandparents([(1, 2), (3, 4)], bytes: 10), maxOverlapBytes: 5)
        #expect(!ends(&splitter, 9, 0))
        #expect(!ends(&splitter, 10, 1))
    }
}
