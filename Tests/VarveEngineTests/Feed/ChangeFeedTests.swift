import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A feed tells every change once, in the log's order, and nothing that is not durable.
@Suite struct ChangeFeedTests {
    private let clock = ManualClock()

    @Test("Nothing is missing while writers write, segments roll and memtables are flushed", arguments: [1, 2, 3])
    func underWriters(seed: UInt64) async throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let slot = try await engine.changeSlot(named: "all")
        let writer = FeedWriter(engine)
        let feed = try engine.changes(since: slot.cursor)
        let reading = Task {
            var told: [Told] = []
            var batches: Set<UInt64> = []
            for try await change in feed {
                if change.key == bytes("end") { return (told, batches) }
                told.append(Told(change))
                if change.endsBatch { batches.insert(change.cursor.lsn.rawValue) }
            }
            return (told, batches)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<3 {
                group.addTask {
                    try await IOThread.run(name: "writer") {
                        var random = SplitMix(seed << 8 | UInt64(number))
                        for _ in 0..<300 {
                            try writer.write(&random, durability: random.next() % 50 == 0 ? .synced : .interval)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        try await engine.put(bytes("end"), [])
        let (told, batches) = try await reading.value
        #expect(told == writer.all, "seed \(seed)")
        #expect(batches.count == 900)
        #expect(engine.statistics.flushes > 1)
        try await engine.close()
    }

    @Test(
        "Resumed from its cursor it misses nothing and repeats nothing, after a close and after a kill",
        arguments: 0..<6)
    func resumes(seed: UInt64) throws {
        var files = SimulatedFileSystem()
        var random = SplitMix(seed)
        var engine = try Fixture.store(files, Fixture.options(clock: clock))
        try engine.registerSlot("feed", at: engine.visibleLSN)
        var cursor = engine.changeCursor
        var writer = FeedWriter(engine)
        var told: [Told] = []
        for _ in 0..<8 {
            for _ in 0..<Int(random.next() % 60) { try writer.write(&random) }
            if random.next() % 3 == 0 { try engine.flush() }
            // It may stop anywhere; what was not acknowledged by a cursor comes again.
            var left = Int(random.next() % 150)
            var open: [Told] = []
            try engine.forEachChange(ChangeScope(), from: .after(cursor)) { change in
                open.append(Told(change))
                if change.endsBatch {
                    told += open
                    open = []
                    cursor = change.cursor
                }
                left -= 1
                return left > 0
            }
            let text = cursor.description
            cursor = try #require(ChangeCursor(text))
            switch random.next() % 3 {
            case 0: try engine.close()
            case 1: files = files.killProcess()
            default: continue
            }
            engine = try Fixture.store(files, Fixture.options(clock: clock))
            writer = FeedWriter(engine, continuing: writer)
        }
        told += try engine.told(from: .after(cursor)).changes
        #expect(told == writer.all, "seed \(seed)")
        try engine.close()
    }

    @Test("A power cut takes nothing back that a feed has told", arguments: 0..<30)
    func powerCut(seed: UInt64) throws {
        let files = SimulatedFileSystem()
        var random = SplitMix(seed &+ 100)
        let engine = try Fixture.store(files, Fixture.options(clock: clock))
        try engine.registerSlot("feed", at: .zero)
        let start = engine.oldestChangeCursor
        let reader = try engine.makeChangeReader(ChangeScope(), from: .after(start))
        let writer = FeedWriter(engine)
        var told: [Change] = []
        for _ in 0..<60 {
            try writer.write(&random, durability: random.next() % 5 == 0 ? .synced : .interval)
            if random.next() % 3 == 0 { told += try reader.drain() }
            if random.next() % 20 == 0 { try engine.flush() }
        }
        told += try reader.drain()
        #expect(!told.isEmpty && told.count <= writer.all.count)
        let cursor = try #require(told.last).cursor
        let image = files.crash(seed: seed)
        clock.reboot()
        let again = try Fixture.store(image, Fixture.options(clock: clock))
        let after = try again.told(from: .after(start)).changes
        #expect(Array(after.prefix(told.count)) == told.map(Told.init), "seed \(seed)")
        #expect(after == Array(writer.all.prefix(after.count)), "seed \(seed)")
        // The cursor holds on the new timeline, and goes on gap-free.
        try again.put(bytes("later"), [1])
        let later = try again.told(from: .after(cursor)).changes
        #expect(later.dropLast() == after.dropFirst(told.count))
        #expect(later.last?.key == bytes("later"))
        try again.close()
    }

    @Test("A feed at the end is woken by the next write, which is synced for it at once")
    func wakes() async throws {
        var options = Fixture.options(threads: true)
        options.durability = .interval(.seconds(3600))
        let engine = try Fixture.store(SimulatedFileSystem(), options)
        var changes = try engine.changes().makeAsyncIterator()
        for number in 0..<20 {
            let write = Task { try await engine.put(Fixture.key(number), [UInt8(number)]) }
            let change = try #require(try await changes.next())
            #expect(change.kind == .put(value: [UInt8(number)], fields: .none))
            #expect(engine.statistics.syncedLSN >= change.lsn)
            _ = try await write.value
        }
        try await engine.close()
    }

    @Test("Cancelling its task ends it, closing or letting go of the store too")
    func ends() async throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let feed = try engine.changes()
        let cancelled = Task { for try await _ in feed {} }
        let closed = Task { for try await _ in feed {} }
        try await engine.put([1], [1])
        cancelled.cancel()
        await #expect { try await cancelled.value } throws: { ($0 as? VarveError)?.code == .cancelled }
        try await engine.close()
        await #expect { try await closed.value } throws: { ($0 as? VarveError)?.code == .closed }
        await #expect { for try await _ in feed {} } throws: { ($0 as? VarveError)?.code == .closed }

        var other: Engine? = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        let left = try #require(try other?.changes())
        let began = Watched(false)
        let letGo = Task {
            for try await _ in left { began.update { $0 = true } }
        }
        try await other?.put([1], [1])
        await began.reached { $0 }
        other = nil
        await #expect { try await letGo.value } throws: { ($0 as? VarveError)?.code == .closed }
    }

    @Test("A batch larger than a chunk comes in parts; only its end is a place to go on from")
    func largeBatch() throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options())
        try engine.put([1], [1])
        let start = engine.changeCursor
        var batch = WriteBatch()
        for number in 0..<3000 { try batch.put(Fixture.key(number), Fixture.value(number, 0, 400)) }
        try engine.write(batch)
        try engine.put(bytes("large"), Fixture.value(1, 1, 3 << 20))
        let reader = try engine.makeChangeReader(ChangeScope(follows: false), from: .after(start))
        var chunks = 0
        var changes: [Change] = []
        while case .chunk(let chunk) = try reader.fill() {
            chunks += 1
            var each = try ChangeFeed.reader(chunk, [.default])
            while let change = try ChangeFeed.next(of: &each) { changes.append(change) }
        }
        #expect(chunks >= 5)
        #expect(changes.count == 3001)
        for (index, change) in changes.dropLast().enumerated() {
            #expect(change.endsBatch == (index == 2999))
            #expect(change.cursor.lsn.rawValue == start.lsn.rawValue + (index == 2999 ? 3000 : 0))
        }
        #expect(Told(changes[3000]).kind == .put(Fixture.value(1, 1, 3 << 20)))
    }
}
