import Testing
import VarveTestSupport

@testable import VarveEngine

/// A visible cursor shows what a plain reading of the promises says.
@Suite("Visible cursor")
struct VisibleCursorTests {
    private struct Model {
        var versions: [TestVersion] = []
        var tombstones: [RangeTombstone] = []
        /// By LSN.
        var deadlines: [LSN: Timestamp] = [:]

        func visible(at snapshot: LSN, now: Timestamp, in bounds: KeyBounds) -> [TestVersion] {
            Dictionary(grouping: versions.filter { $0.lsn <= snapshot }, by: \.key).values.compactMap { group in
                guard let newest = group.max(by: { $0.lsn < $1.lsn }), newest.trailer.kind == .put else { return nil }
                if RangeTombstone.isBefore(newest.key, bounds.lower) { return nil }
                if let upper = bounds.upper, !RangeTombstone.isBefore(newest.key, upper) { return nil }
                if let deadline = deadlines[newest.lsn], deadline <= now { return nil }
                let isCovered = tombstones.contains {
                    $0.lsn <= snapshot && $0.lsn > newest.lsn && !RangeTombstone.isBefore(newest.key, $0.begin)
                        && RangeTombstone.isBefore(newest.key, $0.end)
                }
                return isCovered ? nil : newest
            }.sorted()
        }
    }

    private static func key(_ number: Int) -> [UInt8] { FullKey.make(.default, [UInt8(number), 1, 2, 3, 4, 5]) }

    private static func random(_ generator: inout SplitMix, versions: Int, keys: Int) -> Model {
        var model = Model()
        for lsn in 1...UInt64(versions) {
            let key = Self.key(Int.random(in: 0..<keys, using: &generator))
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: model.versions.append(TestVersion(key, lsn, .delete, entry: []))
            case 1:
                let end = Self.key(Int.random(in: 0..<keys, using: &generator))
                model.tombstones.append(RangeTombstone(begin: key, end: end, lsn: LSN(lsn)))
            case 2, 3:
                let deadline = Timestamp.random(in: 0..<100, using: &generator)
                model.deadlines[LSN(lsn)] = deadline
                let entry = TestVersion.entry(EntryFields(usableUntil: deadline), value: [UInt8(lsn & 0xFF)])
                model.versions.append(TestVersion(key, lsn, entry: entry))
            default: model.versions.append(TestVersion(key, lsn, entry: [0, UInt8(lsn & 0xFF)]))
            }
        }
        return model
    }

    /// Keys are few against versions, so that long runs of hidden versions are jumped over too.
    @Test(arguments: 0..<200 as Range<UInt64>)
    func walksAsTheModel(seed: UInt64) throws {
        var generator = SplitMix(seed)
        let count = Int.random(in: 1...200, using: &generator)
        let keys = Int.random(in: 1...30, using: &generator)
        let model = Self.random(&generator, versions: count, keys: keys)
        let snapshot = LSN(UInt64.random(in: 0...UInt64(count), using: &generator))
        let now = Timestamp.random(in: 0..<100, using: &generator)
        let bounds = Self.randomBounds(&generator, keys: keys)
        let (merge, tombstones) = Self.sources(model, &generator)
        let cursor = VisibleCursor(merge, bounds: bounds, snapshot: snapshot, now: now, tombstones: tombstones)
        let sorted = model.visible(at: snapshot, now: now, in: bounds)

        var place = -1
        for step in 0..<200 {
            let isAtEntry = sorted.indices.contains(place)
            switch Int.random(in: 0..<12, using: &generator) {
            case 0:
                try cursor.seekToFirst()
                place = 0
            case 1:
                try cursor.seekToLast()
                place = sorted.count - 1
            case 2:
                let key = Self.key(Int.random(in: 0..<keys, using: &generator))
                try key.lend { unsafe try cursor.seek(to: $0) }
                place = sorted.firstIndex { !RangeTombstone.isBefore($0.key, key) } ?? sorted.count
            case 3:
                let key = Self.key(Int.random(in: 0..<keys, using: &generator))
                try key.lend { unsafe try cursor.seek(before: $0) }
                place = (sorted.firstIndex { !RangeTombstone.isBefore($0.key, key) } ?? sorted.count) - 1
            case 4...8 where isAtEntry:
                try cursor.next()
                place += 1
            case _ where isAtEntry:
                try cursor.previous()
                place -= 1
            default: continue
            }
            Self.check(cursor, sorted.indices.contains(place) ? sorted[place] : nil, "seed \(seed), step \(step)")
        }
    }

    private static func randomBounds(_ generator: inout SplitMix, keys: Int) -> KeyBounds {
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: .all
        case 1: KeyBounds(namespace: .default)
        case 2: KeyBounds(namespace: .default, prefix: [UInt8(Int.random(in: 0..<keys, using: &generator))])
        default:
            KeyBounds(
                lower: key(Int.random(in: 0..<keys, using: &generator)),
                upper: key(Int.random(in: 0..<keys, using: &generator)))
        }
    }

    /// Older versions lie in later sources, as they do in a store.
    private static func sources(
        _ model: Model, _ generator: inout SplitMix
    ) -> (MergingCursor, [RangeTombstones]) {
        let parts = Int.random(in: 1...4, using: &generator)
        var sources: [SourceCursor] = []
        var tombstones: [RangeTombstones] = []
        for part in 0..<parts {
            let holds = { (lsn: LSN) in Int(lsn.rawValue) * parts / 201 == parts - 1 - part }
            let versions = model.versions.filter { holds($0.lsn) }
            sources.append(part % 2 == 0 ? .other(ArrayCursor(versions)) : .other(arrayLevel(versions, tableSize: 4)))
            tombstones.append(RangeTombstones(model.tombstones.filter { holds($0.lsn) }))
        }
        return (MergingCursor(sources), tombstones)
    }

    private static func check(_ cursor: VisibleCursor, _ expected: TestVersion?, _ place: String) {
        #expect(cursor.isValid == (expected != nil), "\(place)")
        guard cursor.isValid, let expected else { return }
        #expect(unsafe Array(cursor.key) == expected.key, "\(place)")
        #expect(unsafe Array(cursor.userKey) == Array(expected.key.dropFirst(4)), "\(place)")
        #expect(unsafe Array(cursor.entry) == expected.entry, "\(place)")
        #expect(unsafe Array(cursor.value) == [expected.entry.last ?? 0], "\(place)")
        #expect(cursor.version == expected.lsn, "\(place)")
    }

    @Test func damageIsAnError() throws {
        let bad = TestVersion(Self.key(1), 1, entry: [0x01, 2, 3])
        let cursor = VisibleCursor(MergingCursor([.other(ArrayCursor([bad]))]), snapshot: .max, now: 0)
        #expect { try cursor.seekToFirst() } throws: { ($0 as? VarveError)?.code == .corruption }
        #expect(!cursor.isValid)
    }
}
