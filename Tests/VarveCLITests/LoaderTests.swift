import Foundation
import Testing

@testable import VarveCLI

/// Loading in input order, and going on where a killed load stopped.
@Suite struct LoaderTests {
    private static func text(_ count: Int, tail: String = "") -> String {
        (0..<count).map { "key\($0)\tvalue\($0)\n" }.joined() + tail
    }

    private static func load(
        _ source: any InputSource, into store: MemoryStore, _ format: RecordFormat = .tsv
    ) throws -> Loader.Summary {
        try Loader(store: store, format: format, options: WriteOptions(), counters: LoadCounters()).load(source)
    }

    @Test func everythingInOrderAndNoProgressLeft() throws {
        let store = MemoryStore()
        let summary = try Self.load(PiecewiseSource(Self.text(2500), pieceBytes: 333), into: store)
        #expect(summary.records == 2500)
        #expect(summary.resumedAt == 0)
        #expect(store.commits.flatMap(\.self).map(\.key) == (0..<2500).map { Array("key\($0)".utf8) })
        #expect(store.commits.count >= 3)
        #expect(store.progress.isEmpty)
    }

    @Test func aKilledLoadGoesOnWhereItStopped() throws {
        let store = MemoryStore()
        store.failingCommit = 3
        #expect(throws: MemoryStore.Killed.self) { try Self.load(PiecewiseSource(Self.text(5000)), into: store) }
        let kept = store.commits.flatMap(\.self).count
        store.failingCommit = nil
        let summary = try Self.load(PiecewiseSource(Self.text(5000), pieceBytes: 100), into: store)
        #expect(summary.resumedAt == UInt64(kept))
        #expect(summary.records == 5000)
        #expect(store.commits.flatMap(\.self).map(\.key) == (0..<5000).map { Array("key\($0)".utf8) })
        #expect(store.progress.isEmpty)
    }

    @Test func anotherInputThatBeginsAlikeStartsFromItsBeginning() throws {
        let store = MemoryStore()
        store.failingCommit = 3
        #expect(throws: MemoryStore.Killed.self) { try Self.load(PiecewiseSource(Self.text(5000)), into: store) }
        store.failingCommit = nil
        let other = "key0\tvalue0\n" + (0..<5000).map { "other\($0)\tvalue\n" }.joined()
        #expect(try Self.load(PiecewiseSource(other), into: store).resumedAt == 0)
        #expect(store.entries.count == 5001 + store.commits.prefix(2).flatMap(\.self).count - 1)
        // The first load can still go on.
        #expect(try Self.load(PiecewiseSource(Self.text(5000)), into: store).resumedAt > 0)
        #expect(store.progress.isEmpty)
    }

    @Test func aCompletedLoadLoadsAgain() throws {
        let store = MemoryStore()
        _ = try Self.load(PiecewiseSource(Self.text(10)), into: store)
        try store.delete([Array("key3".utf8)], WriteOptions())
        #expect(try Self.load(PiecewiseSource(Self.text(10)), into: store).resumedAt == 0)
        #expect(store.entries.count == 10)
    }

    @Test func aBadLineIsNamedAndWhatCameBeforeIsKept() throws {
        let store = MemoryStore()
        let broken = Self.text(1500) + "no tab here\n" + "last\tone\n"
        let failure = #expect(throws: InputFailure.self) { try Self.load(PiecewiseSource(broken), into: store) }
        #expect(failure?.description.contains("line 1501") == true)
        #expect(store.entries.count == 1500)
        // Mended, it goes on behind what is kept.
        let mended = Self.text(1500) + "a\ttab\n" + "last\tone\n"
        let summary = try Self.load(PiecewiseSource(mended), into: store)
        #expect(summary.resumedAt == 1500)
        #expect(summary.records == 1502)
    }

    @Test func linesAreCountedFromTheInputsBeginningAfterResuming() throws {
        let store = MemoryStore()
        store.failingCommit = 2
        let broken = Self.text(1500) + "no tab here\n"
        #expect(throws: MemoryStore.Killed.self) { try Self.load(PiecewiseSource(broken), into: store) }
        store.failingCommit = nil
        let failure = #expect(throws: InputFailure.self) { try Self.load(PiecewiseSource(broken), into: store) }
        #expect(failure?.description.contains("line 1501") == true)
        #expect(failure?.description.contains("The 1500 records") == true)
    }

    @Test func linesOfQuotedFieldsAreCounted() {
        let failure = #expect(throws: InputFailure.self) {
            try Self.load(PiecewiseSource("a,\"x\ny\"\nb,c\nbad\n"), into: MemoryStore(), .csv)
        }
        #expect(failure?.description.contains("line 4") == true)
    }

    @Test func anEmptyInputIsComplete() throws {
        let store = MemoryStore()
        #expect(try Self.load(PiecewiseSource(""), into: store) == Loader.Summary())
        #expect(try Self.load(PiecewiseSource("k\tv"), into: store).records == 1)
    }

    @Test func progressSurvivesItsEncoding() {
        let mark = LoadProgress.Mark(
            place: .init(bytes: 1 << 40, lines: 12, digest: .init(high: .max, low: 77)), records: 99)
        let progress = LoadProgress(marks: [mark, LoadProgress.Mark()])
        #expect(LoadProgress(decoding: progress.encoded ?? []) == progress)
        #expect(LoadProgress().encoded == nil)
        #expect(LoadProgress(decoding: [1, 2, 3]).marks.isEmpty)
        #expect(LoadProgress(decoding: [9]).marks.isEmpty)
    }
}
