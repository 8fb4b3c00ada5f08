import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Flush and compaction over real memtables and table files: after each, every reader sees what the model says.
@Suite("Flush and compaction jobs")
struct CompactionJobTests {
    private static let now: Timestamp = 50

    /// A store's tables without an engine: what the jobs make is installed here.
    private final class Store {
        let folder: TemporaryDirectory
        let fileSystem = PosixFileSystem()
        let tables: TableSource
        var version = Version.empty(flushed: LogPosition(timeline: Store.timeline, lsn: .zero, runningHash: 0))
        private var nextNumber: FileNumber = 1
        /// Small blocks, so that small tables have many.
        static var tableOptions: TableOptions {
            var options = TableOptions()
            options.blockBytes = 256
            return options
        }
        static let timeline = TimelineID(ordinal: 1, unique: UniqueID(high: 1, low: 1))

        init() throws {
            folder = try TemporaryDirectory()
            tables = TableSource(files: fileSystem, directory: folder.path, cache: BlockCache(capacity: 1 << 20))
        }

        func outputs(_ commitTimes: ClosedRange<Timestamp>? = 1...2) -> TableOutputs {
            TableOutputs(
                fileSystem: fileSystem, directory: folder.path,
                options: Self.tableOptions, commitTimes: commitTimes,
                takeNumber: {
                    self.nextNumber += 1
                    return self.nextNumber
                })
        }

        /// Replaces tables of levels by others.
        func install(_ edit: VersionEdit) {
            var levels = version.levels.map(\.tables)
            for removed in edit.removed { levels[removed.level].removeAll { $0.number == removed.number } }
            for added in edit.added {
                let file = TableFile(number: added.number, properties: added.properties)
                levels[added.level].insert(file, at: 0)
            }
            version = Version(
                editNumber: version.editNumber + 1,
                levels: levels.enumerated().map { level, tables in
                    guard level > 0 else { return Version.Level(tables, isSorted: false) }
                    let sorted = tables.sorted {
                        RangeTombstone.isBefore($0.properties.smallestKey, $1.properties.smallestKey)
                    }
                    for (left, right) in zip(sorted, sorted.dropFirst()) {
                        #expect(!left.properties.overlaps(right.properties), "tables of level \(level) overlap")
                    }
                    return Version.Level(sorted, isSorted: true)
                }, floors: version.floors, flushed: version.flushed)
        }

        func reader(_ file: TableFile) throws(VarveError) -> TableReader {
            try tables.reader(of: file)
        }

        /// A walk over all levels, as the engine will make it.
        func cursor(at snapshot: LSN) throws -> VisibleCursor {
            var sources: [SourceCursor] = []
            for file in version.levels[0].tables { sources.append(.table(try reader(file).makeCursor())) }
            for level in version.levels.dropFirst() where !level.tables.isEmpty {
                let open = { (file: TableFile) throws(VarveError) in try self.reader(file).makeCursor() }
                sources.append(.level(TableLevelCursor(level, open: open)))
            }
            let tombstones = try version.allTables.map { try reader($0).rangeTombstones }
            return VisibleCursor(
                MergingCursor(sources), snapshot: snapshot, now: CompactionJobTests.now, tombstones: tombstones)
        }
    }

    private struct History {
        var points: [TestVersion] = []
        var ranges: [RangeTombstone] = []

        func visible(at snapshot: LSN) throws -> [[UInt8]: LSN] {
            let tombstones = [RangeTombstones(ranges)]
            var found: [[UInt8]: LSN] = [:]
            for (key, versions) in Dictionary(grouping: points, by: \.key) {
                found[key] = try readModel(key, at: snapshot, now: CompactionJobTests.now, versions, tombstones)
            }
            return found
        }
    }

    private static func key(_ number: Int) -> [UInt8] { FullKey.make(.default, Array("key\(1000 + number)".utf8)) }

    /// Fills a memtable with `count` random changes after `first`.
    private static func memtable(
        _ history: inout History, _ generator: inout SplitMix, from first: UInt64, count: Int
    ) throws -> Memtable {
        let memtable = try Memtable(capacity: 4 << 20)
        for index in 0..<UInt64(count) {
            let lsn = LSN(first + index)
            let key = key(Int.random(in: 0..<200, using: &generator))
            let choice = Int.random(in: 0..<40, using: &generator)
            if choice == 0 {
                let end = Self.key(Int.random(in: 0..<200, using: &generator))
                let tombstone = RangeTombstone(begin: key, end: end, lsn: lsn)
                if tombstone.isEmpty { continue }
                memtable.addRangeTombstone(begin: key, end: end, lsn: lsn)
                history.ranges.append(tombstone)
                continue
            }
            let until: Timestamp? = choice < 8 ? Timestamp.random(in: 30..<70, using: &generator) : nil
            let fields = EntryFields(usableUntil: until, sourceVersion: choice % 5 == 0 ? lsn.rawValue : nil)
            let value = [UInt8](repeating: UInt8(choice), count: 20)
            let version =
                choice < 14 && choice >= 8
                ? TestVersion(key, lsn.rawValue, .delete, entry: [])
                : TestVersion(key, lsn.rawValue, entry: TestVersion.entry(fields, value: value))
            history.points.append(version)
            let inserted = key.lend { bytes in
                version.entry.lend { unsafe memtable.insert(key: bytes, trailer: version.trailer, entry: $0) }
            }
            #expect(inserted)
        }
        return memtable
    }

    private static func compaction(_ store: Store, from level: Int, to output: Int) -> Compaction {
        let upper = store.version.levels[level].tables
        let lower = output == level ? [] : store.version.levels[output].tables
        return Compaction(
            reason: .manual, upper: upper, upperLevel: level, lower: lower, outputLevel: output,
            isBottommost: false, grandparents: output + 1 < 7 ? store.version.levels[output + 1].tables : [])
    }

    private static func check(_ store: Store, _ history: History, _ readers: [LSN], _ place: String) throws {
        for reader in readers {
            let expected = try history.visible(at: reader)
            let cursor = try store.cursor(at: reader)
            var forward: [[UInt8]: LSN] = [:]
            try cursor.seekToFirst()
            while cursor.isValid {
                forward[unsafe Array(cursor.key)] = cursor.version
                try cursor.next()
            }
            #expect(forward == expected, "\(place), reader \(reader)")
            var backward: [[UInt8]: LSN] = [:]
            try cursor.seekToLast()
            while cursor.isValid {
                backward[unsafe Array(cursor.key)] = cursor.version
                try cursor.previous()
            }
            #expect(backward == expected, "\(place), reader \(reader), backward")
        }
    }

    @Test(arguments: 0..<6 as Range<UInt64>)
    func readersSeeTheSameThroughout(seed: UInt64) throws {
        var generator = SplitMix(seed)
        let store = try Store()
        var history = History()
        var last: UInt64 = 0
        var snapshots: [LSN] = []
        for round in 0..<12 {
            var memtables: [Memtable] = []
            for _ in 0..<Int.random(in: 1...2, using: &generator) {
                let count = Int.random(in: 1...150, using: &generator)
                memtables.insert(try Self.memtable(&history, &generator, from: last + 1, count: count), at: 0)
                last += UInt64(count)
            }
            let horizon = LSN(last)
            if Bool.random(using: &generator) { snapshots.append(horizon) }
            if snapshots.count > 2 { snapshots.removeFirst() }
            let flush = FlushJob(
                memtables: memtables, snapshots: snapshots, horizon: horizon, now: Self.now, control: JobControl())
            var edit = VersionEdit()
            try flush.run(into: store.outputs()).apply(to: &edit, level: 0)
            store.install(edit)
            try Self.check(store, history, snapshots + [horizon], "seed \(seed), flush \(round)")

            // Levels 5 and 6 beneath level 0, sometimes rewritten in place.
            let (level, output) = [(0, 5), (0, 5), (5, 6), (6, 6), (0, 0)][Int.random(in: 0..<5, using: &generator)]
            let chosen = Self.compaction(store, from: level, to: output)
            if chosen.upper.isEmpty { continue }
            let job = CompactionJob(
                chosen, version: store.version, snapshots: snapshots, horizon: horizon, now: Self.now,
                targetBytes: 3000, control: JobControl(),
                openTable: { (file) throws(VarveError) in
                    try store.reader(file)
                })
            let result = try job.run(into: store.outputs(job.commitTimes))
            store.install(job.edit(for: result))
            #expect(result.tables.allSatisfy { $0.properties.smallestCommitTime == 1 })
            try Self.check(store, history, snapshots + [horizon], "seed \(seed), \(level) to \(output), \(round)")
        }
        // With no snapshot left and all in the last level, only what is visible remains.
        for level in [0, 5] {
            let job = CompactionJob(
                Self.compaction(store, from: level, to: 6), version: store.version, snapshots: [], horizon: LSN(last),
                now: Self.now, targetBytes: 3000, control: JobControl(),
                openTable: { (file) throws(VarveError) in try store.reader(file) })
            store.install(job.edit(for: try job.run(into: store.outputs())))
        }
        let rewritten = CompactionJob(
            Self.compaction(store, from: 6, to: 6), version: store.version, snapshots: [], horizon: LSN(last),
            now: Self.now, targetBytes: 3000, control: JobControl(),
            openTable: { (file) throws(VarveError) in try store.reader(file) })
        store.install(rewritten.edit(for: try rewritten.run(into: store.outputs())))
        try Self.check(store, history, [LSN(last)], "seed \(seed), at the end")
        let properties = store.version.allTables.map(\.properties)
        #expect(properties.reduce(0) { $0 + $1.entryCount } == UInt64(try history.visible(at: LSN(last)).count))
        #expect(properties.allSatisfy { $0.rangeTombstoneCount == 0 && $0.deleteCount == 0 })
    }

    @Test func aCancelledJobLeavesNothing() throws {
        let store = try Store()
        var generator = SplitMix(1)
        var history = History()
        let memtable = try Self.memtable(&history, &generator, from: 1, count: 5000)
        let holder = Mutex<JobControl?>(nil)
        let control = JobControl(observe: { progress in
            if progress.entriesRead >= 1024 { holder.withLock { $0?.cancel() } }
        })
        holder.withLock { $0 = control }
        let job = FlushJob(
            memtables: [memtable], snapshots: (1...5000).map { LSN($0) }, horizon: LSN(5000), now: 0, control: control)
        #expect { try job.run(into: store.outputs()) } throws: { ($0 as? VarveError)?.code == .cancelled }
        #expect(try store.fileSystem.list(store.folder.path).isEmpty)
    }

    /// A policy that forgets everything: only with the reason eviction, and counted.
    @Test func evictionIsAskedOnlyWhenItIsTheReason() throws {
        final class All: EvictionPolicy, EvictionPass {
            func recordRead(keyHash: UInt64) {}
            func makePass(_ goal: EvictionGoal) -> any EvictionPass { self }
            func shouldEvict(_ candidate: EvictionCandidate) -> Bool { true }
        }
        let store = try Store()
        var generator = SplitMix(2)
        var history = History()
        let memtable = try Self.memtable(&history, &generator, from: 1, count: 300)
        let flush = FlushJob(
            memtables: [memtable], snapshots: [], horizon: LSN(300), now: Self.now, control: JobControl())
        var edit = VersionEdit()
        try flush.run(into: store.outputs()).apply(to: &edit, level: 6)
        store.install(edit)
        let visible = try history.visible(at: .max).count
        for reason in [Compaction.Reason.manual, .eviction(share: 1)] {
            let chosen = Compaction(
                reason: reason, upper: store.version.levels[6].tables, upperLevel: 6, lower: [], outputLevel: 6,
                isBottommost: true, grandparents: [])
            let job = CompactionJob(
                chosen, version: store.version, snapshots: [], horizon: LSN(300), now: Self.now, policy: All(),
                targetBytes: 1 << 20, control: JobControl(),
                openTable: { (file) throws(VarveError) in try store.reader(file) })
            let result = try job.run(into: store.outputs())
            store.install(job.edit(for: result))
            #expect(result.counts.evicted == (reason == .manual ? 0 : UInt64(visible)))
        }
        #expect(store.version.tableCount == 0)
    }
}
