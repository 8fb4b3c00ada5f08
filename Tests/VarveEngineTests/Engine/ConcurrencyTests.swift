import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

/// Threads that write, read, iterate, take snapshots, flush and compact one store at the same time, on the real file
/// system. What each of them sees must be some state between two batches, and never an older one than before.
@Suite struct ConcurrencyTests {
    static func options() -> EngineOptions {
        var options = EngineOptions()
        options.memtableBytes = 64 << 10
        options.logSegmentBytes = 256 << 10
        options.table.blockBytes = 1024
        options.compaction.tableBytes = 32 << 10
        options.compaction.baseBytes = 64 << 10
        options.blockCacheBytes = 256 << 10
        options.offersSocket = false
        return options
    }

    static func key(_ group: Int, _ member: Int) -> [UInt8] { Array("group\(group)/\(member)".utf8) }

    static func number(_ bytes: [UInt8]) -> Int { Int(String(decoding: bytes, as: UTF8.self)) ?? -1 }

    static let groups = 20
    static let members = 5

    /// Every batch writes one number to all members of a group, so whoever sees two numbers in a group saw half a batch.
    @Test func batchesAreSeenWholeAndInOrder() throws {
        let folder = try TemporaryDirectory()
        let engine = try Engine.open(at: folder.path + "/store", Self.options())
        for group in 0..<Self.groups { try Self.write(engine, group, 0) }
        let problems = Mutex<[String]>([])
        let done = Atomic<Bool>(false)
        func report(_ text: String) { problems.withLock { $0.append(text) } }
        let writers = try (0..<2).map { writer in
            try IOThread(name: "writer") {
                do {
                    var random = SplitMix(UInt64(writer))
                    for step in 1...4000 {
                        // Each writer has groups of its own, so that numbers only grow.
                        let group = Int(random.next() % UInt64(Self.groups / 2)) * 2 + writer
                        try Self.write(engine, group, step, random.next() % 50 == 0 ? .synced : nil)
                    }
                } catch { problems.withLock { $0.append("a write failed: \(error)") } }
            }
        }
        let readers = try (0..<3).map { reader in
            try IOThread(name: "reader") {
                do {
                    var random = SplitMix(UInt64(100 + reader))
                    var seen = [Int](repeating: 0, count: Self.groups)
                    while !done.load(ordering: .acquiring) {
                        let group = Int(random.next() % UInt64(Self.groups))
                        let numbers =
                            switch random.next() % 3 {
                            case 0: try Self.bySnapshot(engine, group)
                            case 1: try Self.byIterator(engine, group, reverse: random.next() % 2 == 0)
                            default:
                                try engine.get(many: (0..<Self.members).map { Self.key(group, $0) }).map {
                                    $0.map { Self.number($0.bytes) } ?? -1
                                }
                            }
                        guard numbers.count == Self.members, Set(numbers).count == 1 else {
                            return problems.withLock { $0.append("half a batch in group \(group): \(numbers)") }
                        }
                        guard numbers[0] >= seen[group] else {
                            return problems.withLock { $0.append("group \(group) went back to \(numbers[0])") }
                        }
                        seen[group] = numbers[0]
                    }
                } catch { problems.withLock { $0.append("a read failed: \(error)") } }
            }
        }
        let keeper = try IOThread(name: "keeper") {
            do {
                while !done.load(ordering: .acquiring) {
                    try engine.flush()
                    try engine.compact()
                }
            } catch { problems.withLock { $0.append("maintenance failed: \(error)") } }
        }
        for writer in writers { writer.join() }
        done.store(true, ordering: .releasing)
        for reader in readers { reader.join() }
        keeper.join()
        #expect(problems.withLock { $0 } == [])
        try engine.close()
    }

    private static func write(
        _ engine: Engine, _ group: Int, _ number: Int, _ durability: Durability? = nil
    ) throws(VarveError) {
        var batch = WriteBatch()
        for member in 0..<members { try batch.put(key(group, member), Array("\(number)".utf8)) }
        try engine.write(batch, durability: durability)
    }

    private static func bySnapshot(_ engine: Engine, _ group: Int) throws(VarveError) -> [Int] {
        let snapshot = engine.makeSnapshot()
        var numbers: [Int] = []
        for member in 0..<members {
            numbers.append(try engine.get(key(group, member), at: snapshot).map { number($0.bytes) } ?? -1)
        }
        return numbers
    }

    private static func byIterator(_ engine: Engine, _ group: Int, reverse: Bool) throws(VarveError) -> [Int] {
        let iterator = try engine.makeIterator(prefix: Array("group\(group)/".utf8))
        var numbers: [Int] = []
        if reverse { try iterator.seekToLast() } else { try iterator.seekToFirst() }
        while iterator.isValid {
            numbers.append(number(iterator.value))
            if reverse { try iterator.previous() } else { try iterator.next() }
        }
        return numbers
    }

    /// Increments by compare-and-set from many threads and tasks: none is lost and none counts twice.
    @Test func conditionalWritesLoseNothing() async throws {
        let folder = try TemporaryDirectory()
        let engine = try await Engine.open(at: folder.path + "/store", Self.options())
        let counter = Array("counter".utf8)
        let perWorker = 200
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    var made = 0
                    while made < perWorker {
                        let now = try await engine.get(counter)
                        let number = now.map { Self.number($0.bytes) } ?? 0
                        var batch = WriteBatch()
                        try batch.require(counter, version: now?.version)
                        try batch.put(counter, Array("\(number + 1)".utf8))
                        do {
                            _ = try await engine.write(batch, durability: worker % 2 == 0 ? .synced : nil)
                            made += 1
                        } catch let error as VarveError where error.code == .conditionFailed {
                            continue
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let final = try await engine.get(counter)
        #expect(final.map { Self.number($0.bytes) } == 4 * perWorker)
        try await engine.close()
    }
}
