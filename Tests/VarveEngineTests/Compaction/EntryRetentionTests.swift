import Testing
import VarveTestSupport

@testable import VarveEngine

/// The dropping rule, proved over every small history: whatever a merge drops, no reader at a live snapshot, at the
/// horizon or later sees anything else than before, except that it may miss what was evicted.
@Suite("Retention: the dropping rule")
struct EntryRetentionTests {
    /// What one LSN did to the one key of a history.
    private enum Change: CaseIterable {
        case put, expiredPut, delete, rangeDelete
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
    private static func read(_ runs: [Run], at lsn: LSN) -> LSN? {
        let points = runs.flatMap(\.points).filter { $0.lsn <= lsn }
        guard let newest = points.max(by: { $0.lsn < $1.lsn }), newest.trailer.kind == .put else { return nil }
        if runs.contains(where: { $0.ranges.contains { $0 <= lsn && $0 > newest.lsn } }) { return nil }
        return isExpired(newest) ? nil : newest.lsn
    }

    private static func isExpired(_ version: TestVersion) -> Bool {
        version.entry.lend { bytes in
            guard let view = try? unsafe EntryView(bytes) else { return false }
            return view.isExpired(at: now)
        }
    }

    private static func sourceVersion(_ version: TestVersion) -> UInt64 {
        version.entry.lend { bytes in
            guard let view = try? unsafe EntryView(bytes) else { return 0 }
            return view.sourceVersion ?? 0
        }
    }

    /// The records of LSNs in `range`, as one run. Source versions rise, fall or are absent, by `pattern`.
    private static func run(_ history: [Change], _ range: Range<Int>, pattern: Int) -> Run {
        var run = Run()
        for index in range {
            let lsn = UInt64(index + 1)
            let source: UInt64? = [nil, lsn * 10, 100 - lsn * 10, lsn % 2 == 0 ? lsn : nil][pattern]
            var fields = EntryFields(sourceVersion: source)
            switch history[index] {
            case .put: run.points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
            case .expiredPut:
                fields.usableUntil = now
                run.points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
            case .delete: run.points.append(TestVersion(key, lsn, .delete, entry: TestVersion.entry(fields)))
            case .rangeDelete: run.ranges.append(LSN(lsn))
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
        let spans = beneath.points.isEmpty && beneath.ranges.isEmpty ? [] : [(key, key, false)]
        let rules = RetentionRules(
            snapshots: snapshots, horizon: LSN(UInt64(test.horizon)), now: now, tombstones: input.tombstones,
            beneath: KeysBeneath(spans))
        let (output, floors, evicted) = try merge(input, rules, evict: test.evict)

        var forgotten = false
        for reader in snapshots + (test.horizon...count).map({ LSN(UInt64($0)) }) {
            let before = read([beneath, input, above], at: reader)
            let after = read([beneath, output, above], at: reader)
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
            read([input], at: LSN(UInt64(count))) == nil
        {
            #expect(output.points.isEmpty && output.ranges.isEmpty, "\(test)")
        }
    }

    private static func describe(_ lsn: LSN?) -> String { lsn.map { "\($0)" } ?? "nothing" }

    private static func histories(_ count: Int) -> [[Change]] {
        (0..<count).reduce([[]]) { histories, _ in
            histories.flatMap { history in Change.allCases.map { history + [$0] } }
        }
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
