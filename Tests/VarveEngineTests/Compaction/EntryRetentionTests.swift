import Testing
import VarveTestSupport

@testable import VarveEngine

/// The dropping rule, proved over every small history: whatever a merge drops, no reader at a live snapshot, at the
/// horizon or later sees anything else than before, except that it may miss what was evicted. A reader from a tag's drop on
/// is not shown what carries the tag; one from a floor's raise on is not shown what is older, whatever it carries.
@Suite("Retention: the dropping rule")
struct EntryRetentionTests {
    /// What one LSN did to the one key of a history, to the one tag, or to the floor over all keys. `movedDeadline` is a put with the tag that carries on
    /// the version of the last one before it: by that it is judged.
    private enum Change: CaseIterable {
        case put, expiredPut, delete, rangeDelete, taggedPut, tagDrop, movedDeadline, floor
    }

    /// Source versions below this are older than the floor.
    private static let floor: UInt64 = 35

    private static let carriedTag: UInt64 = 3

    /// The version by which an entry is judged, as a cache does it.
    private static func judged(_ version: LSN, _ extensions: [EntryExtension]) -> LSN {
        guard let field = extensions.first(where: { $0.tag == carriedTag }) else { return version }
        return LSN(UInt64(field.bytes[0]))
    }

    /// Knows when the one tag was dropped, and when the floor was raised.
    private struct Drops: InvalidationJudge {
        let lsns: [LSN]
        let floors: [LSN]
        var generation: UInt64 { UInt64(lsns.count + floors.count) }
        var lastInvalidations: [UInt32: LSN] {
            floors.last.map { [NamespaceID.default.rawValue: $0] } ?? [:]
        }
        /// The latest one hides what each before it did.
        func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN? {
            guard let last = floors.last else { return nil }
            let version = EntryRetentionTests.judged(entry.version, entry.extensions)
            let isOlder = entry.sourceVersion.map { $0 < EntryRetentionTests.floor } ?? (version <= last)
            return isOlder ? last : nil
        }
        /// As a registry that remembers the latest drop alone.
        func invalidation(of entry: JudgedEntry) -> LSN? {
            let version = EntryRetentionTests.judged(entry.version, entry.extensions)
            return lsns.last.flatMap { $0 >= version ? $0 : nil }
        }
    }

    /// What puts are to readers, by the history.
    private struct Model {
        let drops: Drops
        private var isExpired: [Bool] = []
        /// The version by which drops of the tag judge a put; nil where it does not carry the tag.
        private var tagged: [LSN?] = []
        private var sources: [UInt64?] = []

        init(_ history: [Change], pattern: Int) {
            func lsns(_ change: Change) -> [LSN] {
                history.indices.filter { history[$0] == change }.map { LSN(UInt64($0 + 1)) }
            }
            drops = Drops(lsns: lsns(.tagDrop), floors: lsns(.floor))
            sources = history.indices.map { EntryRetentionTests.source($0, pattern: pattern) }
            for (index, change) in history.enumerated() {
                isExpired.append(change == .expiredPut)
                switch change {
                case .taggedPut: tagged.append(LSN(UInt64(index + 1)))
                case .movedDeadline: tagged.append(LSN(UInt64(EntryRetentionTests.carried(by: index, history))))
                default: tagged.append(nil)
                }
            }
        }

        /// Whether a reader is not shown a put that nothing covers.
        func hides(_ put: LSN, at reader: LSN) -> Bool {
            let index = Int(put.rawValue) - 1
            if isExpired[index] { return true }
            let judged = tagged[index] ?? put
            let isOlder = drops.floors.contains { floor in
                floor <= reader && (sources[index].map { $0 < EntryRetentionTests.floor } ?? (judged <= floor))
            }
            if isOlder { return true }
            guard let version = tagged[index] else { return false }
            return drops.lsns.contains { $0 <= reader && $0 > version }
        }
    }

    /// The version that a moved deadline carries on: of the last put with the tag; its own where there is none.
    private static func carried(by index: Int, _ history: [Change]) -> Int {
        (history[..<index].lastIndex(of: .taggedPut) ?? index) + 1
    }

    /// Evicts everything, nothing, or every second candidate.
    private final class Evictor: EvictionPass {
        let mode: Int
        init(mode: Int) { self.mode = mode }
        func shouldEvict(_ candidate: EvictionCandidate) -> Bool {
            mode == 1 || (mode == 2 && candidate.version.rawValue % 2 == 0)
        }
    }

    private static let key = FullKey.make(.default, Array("key".utf8))
    private static let rangeEnd = FullKey.make(.default, Array("z".utf8))
    private static let now: Timestamp = 100

    /// The point and range records of one run over the one key.
    private struct Run {
        var points: [TestVersion] = []
        var ranges: [LSN] = []
        var tombstones: RangeTombstones {
            RangeTombstones(
                ranges.map {
                    RangeTombstone(begin: EntryRetentionTests.key, end: EntryRetentionTests.rangeEnd, lsn: $0)
                })
        }
    }

    /// What a reader finds: the LSN of the value, or nil.
    private static func read(_ runs: [Run], _ model: Model, at reader: LSN) -> LSN? {
        var newest: Trailer?
        var cover = LSN.zero
        for run in runs {
            for point in run.points where point.lsn <= reader && point.lsn >= newest?.lsn ?? .zero {
                newest = point.trailer
            }
            for lsn in run.ranges where lsn <= reader { cover = max(cover, lsn) }
        }
        guard let newest, newest.kind == .put, cover < newest.lsn else { return nil }
        return model.hides(newest.lsn, at: reader) ? nil : newest.lsn
    }

    private static func sourceVersion(_ version: TestVersion) -> UInt64 {
        version.entry.lend { bytes in
            guard let view = try? unsafe EntryView(bytes) else { return 0 }
            return view.sourceVersion ?? 0
        }
    }

    private static func source(_ index: Int, pattern: Int) -> UInt64? {
        let lsn = UInt64(index + 1)
        return [nil, lsn * 10, 100 - lsn * 10, lsn % 2 == 0 ? lsn : nil][pattern]
    }

    /// The records of LSNs in `range`, as one run. Source versions rise, fall or are absent, by `pattern`.
    private static func run(_ history: [Change], _ range: Range<Int>, pattern: Int) -> Run {
        var run = Run()
        for index in range {
            let lsn = UInt64(index + 1)
            var fields = EntryFields(sourceVersion: source(index, pattern: pattern))
            switch history[index] {
            case .put: run.points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
            case .expiredPut:
                fields.usableUntil = now
                run.points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
            case .delete: run.points.append(TestVersion(key, lsn, .delete, entry: TestVersion.entry(fields)))
            case .rangeDelete: run.ranges.append(LSN(lsn))
            case .taggedPut:
                fields.tags = [7]
                run.points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
            case .movedDeadline:
                fields.tags = [7]
                fields.extensions = [EntryExtension(tag: carriedTag, bytes: [UInt8(carried(by: index, history))])]
                run.points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
            case .tagDrop, .floor: break
            }
        }
        return run
    }

    /// Runs the state machine over one run.
    private static func merge(
        _ input: Run, _ rules: RetentionRules, evict mode: Int
    ) throws -> (output: Run, floors: [FloorTable.Floor], evicted: UInt64) {
        var retention = EntryRetention(rules, eviction: mode == 0 ? nil : Evictor(mode: mode))
        var output = Run()
        for version in input.points.sorted() {
            let verdict = try version.key.lend { key in
                try version.entry.lend {
                    unsafe try retention.judge(key, version.trailer, $0, isFromAbove: false)
                }
            }
            switch verdict {
            case .keep: output.points.append(version)
            case .drop: break
            case .tombstone(let source):
                let entry = TestVersion.entry(EntryFields(sourceVersion: source))
                output.points.append(TestVersion(key, version.lsn.rawValue, .delete, entry: entry))
            }
        }
        output.ranges = rules.survivingTombstones().tombstones().map(\.lsn)
        #expect(retention.counts.read == UInt64(input.points.count))
        return (output, retention.floors, retention.counts.evicted)
    }

    private struct Case: CustomStringConvertible {
        var history: [Change]
        /// LSNs up to here lie beneath the inputs; above `upTo` above them.
        var from: Int
        var upTo: Int
        var horizon: Int
        /// A bit for each LSN below the horizon.
        var snapshots: Int
        var evict: Int
        var pattern: Int
        var description: String {
            "\(history), inputs \(from)..<\(upTo), snapshots \(String(snapshots, radix: 2)), horizon \(horizon), "
                + "evict \(evict), pattern \(pattern)"
        }
    }

    private static func check(_ test: Case) throws {
        let (history, count) = (test.history, test.history.count)
        let beneath = run(history, 0..<test.from, pattern: test.pattern)
        let input = run(history, test.from..<test.upTo, pattern: test.pattern)
        let above = run(history, test.upTo..<count, pattern: test.pattern)
        let snapshots = (0..<test.horizon).filter { test.snapshots >> $0 & 1 == 1 }.map { LSN(UInt64($0)) }
        let model = Model(history, pattern: test.pattern)
        let spans = beneath.points.isEmpty && beneath.ranges.isEmpty ? [] : [(key, key, false)]
        let rules = RetentionRules(
            snapshots: snapshots, horizon: LSN(UInt64(test.horizon)), now: now, tombstones: input.tombstones,
            beneath: KeysBeneath(spans), judge: model.drops)
        let (output, floors, evicted) = try merge(input, rules, evict: test.evict)

        var forgotten = false
        for reader in snapshots + (test.horizon...count).map({ LSN(UInt64($0)) }) {
            let before = read([beneath, input, above], model, at: reader)
            let after = read([beneath, output, above], model, at: reader)
            if before == after { continue }
            if evicted > 0, after == nil {
                forgotten = true
                continue
            }
            Issue.record("a reader at \(reader) saw \(describe(before)), now \(describe(after)): \(test)")
        }
        if forgotten { #expect(test.evict > 0) }

        // A late writer is still refused: by what is kept, or by a floor.
        let highestBefore = (beneath.points + input.points + above.points).map(sourceVersion).max() ?? 0
        let highestAfter = (beneath.points + output.points + above.points).map(sourceVersion).max() ?? 0
        let slot = key.lend { unsafe FloorTable.slot(ofKeyHash: XXH3.hash64($0)) }
        let floor = floors.first { $0.slot == slot }?.version ?? 0
        if max(highestAfter, floor) < highestBefore {
            Issue.record("source version \(highestBefore) forgotten: \(test)")
        }

        // Nothing useless stays: with no reader but the newest and nothing beneath, a dead key leaves no trace.
        if test.horizon == count, snapshots.isEmpty, test.from == 0, test.upTo == count,
            read([input], model, at: LSN(UInt64(count))) == nil
        {
            #expect(output.points.isEmpty && output.ranges.isEmpty, "\(test)")
        }
    }

    private static func describe(_ lsn: LSN?) -> String { lsn.map { "\($0)" } ?? "nothing" }

    private static func histories(_ count: Int, of changes: [Change]) -> [[Change]] {
        (0..<count).reduce([[]]) { histories, _ in
            histories.flatMap { history in changes.map { history + [$0] } }
        }
    }

    /// Every one there is. Of three changes and more: all without tags, and those in which a drop or a floor may hide something;
    /// of four these with fewer kinds beside.
    private static func histories(_ count: Int) -> [[Change]] {
        if count < 3 { return histories(count, of: Change.allCases) }
        let untagged = histories(count, of: [.put, .expiredPut, .delete, .rangeDelete])
        let floors = histories(count, of: [.put, .delete, .floor]).filter { $0.contains(.floor) }
        let kinds: [[Change]] =
            count == 3
            ? [Change.allCases] : [[.taggedPut, .tagDrop, .delete], [.taggedPut, .tagDrop, .movedDeadline]]
        let tagged = kinds.flatMap { histories(count, of: $0) }.filter {
            $0.contains(.tagDrop) && ($0.contains(.taggedPut) || $0.contains(.movedDeadline))
        }
        return untagged + tagged + floors
    }

    /// Every history of up to four changes, every place of the inputs in it, every set of snapshots and every horizon.
    @Test(arguments: 1...4)
    func everySmallHistory(count: Int) throws {
        var tried = 0
        for (number, history) in Self.histories(count).enumerated() {
            for from in 0...count {
                for upTo in from...count {
                    for horizon in 0...count {
                        for snapshots in 0..<(1 << horizon) {
                            // Three settings more, in turn with the rest so that all their pairs occur.
                            let turn = number + from + upTo + horizon + snapshots
                            for evict in 0..<3 where count < 4 || evict == turn % 3 {
                                for pattern in 0..<4 where count < 3 || pattern == (turn / 3 + evict) % 4 {
                                    try Self.check(
                                        Case(
                                            history: history, from: from, upTo: upTo, horizon: horizon,
                                            snapshots: snapshots, evict: evict, pattern: pattern))
                                    tried += 1
                                }
                            }
                        }
                    }
                }
            }
        }
        #expect(tried >= 1 << (2 * count))
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func longerHistoriesAtRandom(seed: UInt64) throws {
        var generator = SplitMix(seed)
        for _ in 0..<1500 {
            let count = Int.random(in: 5...9, using: &generator)
            let from = Int.random(in: 0...count, using: &generator)
            let horizon = Int.random(in: 0...count, using: &generator)
            try Self.check(
                Case(
                    history: (0..<count).map { _ in Change.allCases.randomElement(using: &generator) ?? .put },
                    from: from, upTo: Int.random(in: from...count, using: &generator), horizon: horizon,
                    snapshots: Int.random(in: 0..<(1 << horizon), using: &generator),
                    evict: Int.random(in: 0..<3, using: &generator),
                    pattern: Int.random(in: 0..<4, using: &generator)))
        }
    }

    /// Records of the store's own namespaces are never offered to the policy.
    @Test func theStoresOwnRecordsAreNeverEvicted() throws {
        let rules = RetentionRules(snapshots: [], horizon: LSN(9), now: 0, tombstones: .none, beneath: .nothing)
        for (namespace, verdict) in [(NamespaceID.catalogue, EntryRetention.Verdict.keep), (.default, .drop)] {
            var retention = EntryRetention(rules, eviction: Evictor(mode: 1))
            let found = try FullKey.make(namespace, [1]).lend { key in
                try [UInt8](arrayLiteral: 0, 1).lend {
                    unsafe try retention.judge(key, Trailer(LSN(1), .put), $0, isFromAbove: false)
                }
            }
            #expect(found == verdict)
        }
    }

    @Test func keysBeneathCutTombstones() {
        let beneath = KeysBeneath([([3], [5], false), ([4], [6], true), ([8], [8], false)])
        let tombstones = RangeTombstones([RangeTombstone(begin: [1], end: [9], lsn: LSN(4))])
        let rules = RetentionRules(
            snapshots: [LSN(7)], horizon: LSN(9), now: 0, tombstones: tombstones, beneath: beneath)
        #expect(
            rules.survivingTombstones()
                == RangeTombstones([
                    RangeTombstone(begin: [3], end: [6], lsn: LSN(4)),
                    RangeTombstone(begin: [8], end: [8, 0], lsn: LSN(4)),
                ]))
        let asked: [([UInt8], Bool)] = [
            ([2], false), ([3], true), ([5, 9], true), ([6], false), ([8], true), ([8, 0], false),
        ]
        for (key, holds) in asked {
            #expect(key.lend { unsafe beneath.mayHold($0) } == holds, "\(key)")
        }
        // A reader before the tombstone keeps it whole.
        let early = RetentionRules(
            snapshots: [LSN(3)], horizon: LSN(9), now: 0, tombstones: tombstones, beneath: .nothing)
        #expect(early.survivingTombstones() == tombstones)
    }
}
