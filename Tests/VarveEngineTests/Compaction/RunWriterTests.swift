import Synchronization
import Testing
import VarveTestSupport

@testable import VarveEngine

/// The loop of flush and compaction over many keys: its tables hold what the dropping rule leaves, never overlap, and
/// never part the versions of a key.
@Suite("Run writer")
struct RunWriterTests {
    private static let now: Timestamp = 50
    private static let keys = (0..<24).map { FullKey.make(.default, [UInt8($0)]) }

    private struct History {
        var points: [TestVersion] = []
        var ranges: [RangeTombstone] = []

        init() {}

        init(_ generator: inout SplitMix, from first: UInt64, through last: UInt64) {
            guard first <= last else { return }
            for lsn in first...last {
                let key = RunWriterTests.keys[Int.random(in: 0..<24, using: &generator)]
                switch Int.random(in: 0..<10, using: &generator) {
                case 0, 1: points.append(TestVersion(key, lsn, .delete, entry: []))
                case 2, 3:
                    let end = RunWriterTests.keys[Int.random(in: 0..<24, using: &generator)]
                    ranges.append(RangeTombstone(begin: key, end: end, lsn: LSN(lsn)))
                case 4, 5:
                    let until = Timestamp.random(in: 40..<60, using: &generator)
                    let fields = EntryFields(usableUntil: until, sourceVersion: lsn)
                    points.append(TestVersion(key, lsn, entry: TestVersion.entry(fields)))
                default: points.append(TestVersion(key, lsn, entry: [0, 1, 2, 3]))
                }
            }
        }
        var tombstones: RangeTombstones { RangeTombstones(ranges) }
    }

    /// Runs the writer over `parts` (newest first) and returns its tables.
    private static func run(
        _ parts: [History], _ rules: RetentionRules, splitter: OutputSplitter = .never,
        control: JobControl = JobControl()
    ) throws -> (result: RunResult, tables: [ArrayOutput]) {
        var tables: [ArrayOutput] = []
        let merge = MergingCursor(parts.map { .other(ArrayCursor($0.points)) })
        let writer = RunWriter(
            merge, isFromAbove: parts.map { _ in false }, rules: rules, splitter: splitter, control: control,
            open: { () throws(VarveError) -> ArrayOutput in
                tables.append(ArrayOutput(number: UInt64(tables.count + 10)))
                return tables[tables.count - 1]
            })
        return (try writer.run(), tables)
    }

    @Test(arguments: 0..<300 as Range<UInt64>)
    func readersSeeTheSame(seed: UInt64) throws {
        var generator = SplitMix(seed)
        let count = UInt64.random(in: 1...60, using: &generator)
        let beneathLast = UInt64.random(in: 0...count / 2, using: &generator)
        let middle = UInt64.random(in: beneathLast...count, using: &generator)
        let beneath = History(&generator, from: 1, through: beneathLast)
        let older = History(&generator, from: beneathLast + 1, through: middle)
        let newer = History(&generator, from: middle + 1, through: count)
        let horizon = LSN(UInt64.random(in: 0...count, using: &generator))
        let snapshots = (0..<3).map { _ in LSN(UInt64.random(in: 0...horizon.rawValue, using: &generator)) }
        let spans =
            (beneath.points.map { ($0.key, $0.key, false) })
            + beneath.ranges.filter { !$0.isEmpty }.map { ($0.begin, $0.end, true) }
        let rules = RetentionRules(
            snapshots: snapshots, horizon: horizon, now: Self.now,
            tombstones: RangeTombstones(union: [older.tombstones, newer.tombstones]), beneath: KeysBeneath(spans))
        let target = UInt64.random(in: 1...60, using: &generator)
        let (result, tables) = try Self.run(
            [newer, older], rules, splitter: OutputSplitter(targetBytes: target))

        let inputs = newer.points + older.points
        let outputs = tables.flatMap(\.versions)
        let outputTombstones = tables.map(\.tombstones)
        for key in Self.keys {
            for reader in snapshots + (horizon.rawValue...count).map({ LSN($0) }) {
                let before = try readModel(
                    key, at: reader, now: Self.now, inputs + beneath.points, [rules.tombstones, beneath.tombstones])
                let after = try readModel(
                    key, at: reader, now: Self.now, outputs + beneath.points, outputTombstones + [beneath.tombstones])
                #expect(before == after, "seed \(seed), key \(key), reader \(reader)")
            }
        }
        #expect(result.tables.map(\.number) == tables.map(\.number) && tables.allSatisfy(\.isFinished))
        #expect(RangeTombstones(union: outputTombstones) == rules.survivingTombstones(), "seed \(seed)")
        Self.checkDisjoint(result.tables, tables, "seed \(seed)")
    }

    private static func checkDisjoint(_ written: [WrittenTable], _ tables: [ArrayOutput], _ place: String) {
        for (left, right) in zip(written, written.dropFirst()) {
            #expect(!left.properties.overlaps(right.properties), "\(place)")
            #expect(left.properties.isEntirely(before: right.properties.smallestKey), "\(place)")
        }
        for (table, written) in zip(tables, written) {
            #expect(!table.versions.isEmpty || !table.tombstones.isEmpty, "\(place): an empty table")
            for version in table.versions {
                #expect(
                    !RangeTombstone.isBefore(version.key, written.properties.smallestKey)
                        && !written.properties.isEntirely(before: version.key), "\(place)")
            }
        }
    }

    @Test func nothingLeftWritesNothing() throws {
        var history = History()
        history.points = [TestVersion(Self.keys[1], 2, .delete, entry: []), TestVersion(Self.keys[1], 1)]
        let rules = RetentionRules(
            snapshots: [], horizon: LSN(2), now: 0, tombstones: .none, beneath: .nothing)
        let (result, tables) = try Self.run([history], rules)
        #expect(result.tables.isEmpty && tables.isEmpty)
        #expect(result.counts.tombstones == 1 && result.counts.hidden == 1)
    }

    /// Where older data may lie beneath, a range delete outlives all the entries that it came with.
    @Test func tombstonesAloneMakeATable() throws {
        var history = History()
        history.points = [TestVersion(Self.keys[1], 1)]
        history.ranges = [RangeTombstone(begin: Self.keys[0], end: Self.keys[3], lsn: LSN(2))]
        let rules = RetentionRules(
            snapshots: [], horizon: LSN(2), now: 0, tombstones: history.tombstones, beneath: .everything)
        let (result, tables) = try Self.run([history], rules)
        #expect(tables.count == 1 && tables[0].versions.isEmpty && tables[0].tombstones == history.tombstones)
        #expect(result.tables.first?.properties.largestKeyIsExclusive == true)
    }

    @Test func cancelStopsItAndProgressIsTold() throws {
        var history = History()
        history.points = (0..<5000).map { TestVersion(FullKey.make(.default, [UInt8($0 >> 8), UInt8($0 & 255)]), 1) }
        let rules = RetentionRules(snapshots: [], horizon: LSN(2), now: 0, tombstones: .none, beneath: .nothing)
        let seen = Mutex<[JobProgress]>([])
        let control = JobControl(observe: { progress in seen.withLock { $0.append(progress) } })
        _ = try Self.run([history], rules, splitter: OutputSplitter(targetBytes: 10_000), control: control)
        let told = seen.withLock { $0 }
        #expect(told.count >= 9 && told.last?.entriesRead == 5000 && told.last?.tablesFinished ?? 0 >= 3)
        #expect(zip(told, told.dropFirst()).allSatisfy { $0.bytesWritten <= $1.bytesWritten })

        control.cancel()
        #expect { try Self.run([history], rules, control: control) } throws: {
            ($0 as? VarveError)?.code == .cancelled
        }
    }
}
