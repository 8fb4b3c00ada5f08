import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A feed holds back no log by itself; what it then misses it says. A slot keeps the log, up to its cap.
@Suite struct FeedRetentionTests {
    private let files = SimulatedFileSystem()
    private let clock = ManualClock()

    private func store() throws -> Engine { try Fixture.store(files, Fixture.options(clock: clock)) }

    private func fillAndFlush(_ engine: Engine, rounds: Int = 4) throws {
        for round in 0..<rounds {
            try Fixture.fill(engine, 0..<600, round: round)
            try engine.flush()
            try engine.runBackgroundWork()
        }
    }

    @Test("What the log no longer holds is a gap that names what is held")
    func gap() throws {
        let engine = try store()
        try engine.put([1], [1])
        let cursor = engine.changeCursor
        try fillAndFlush(engine)
        let error = try #require(failure { _ = try engine.changes(since: cursor) })
        #expect(error.code == .logGap)
        let oldest = engine.oldestChangeCursor
        #expect(error.message.contains("\(oldest.lsn.next)"))
        #expect(try engine.told(from: .oldest).changes.first?.lsn == oldest.lsn.next.rawValue)
    }

    @Test("A feed whose reader stands still pins nothing and meets the gap when it goes on")
    func slowReader() throws {
        let engine = try store()
        let reader = try engine.makeChangeReader(ChangeScope(), from: .now)
        try engine.put([1], [1], durability: .synced)
        #expect(try reader.drain().count == 1)
        #expect(engine.catalog.pinnedLSN == nil)
        try fillAndFlush(engine)
        #expect(code { _ = try reader.drain() } == .logGap)
        #expect(engine.catalog.pinnedLSN == nil)
    }

    @Test("A feed that has read all of a segment goes on in the next although the first has gone")
    func atASegmentsEnd() throws {
        let engine = try store()
        let reader = try engine.makeChangeReader(ChangeScope(), from: .now)
        try Fixture.fill(engine, 0..<2000)
        try engine.sync()
        #expect(try reader.drain().count == 2000)
        try engine.flush()
        try engine.put([1], [1], durability: .synced)
        try engine.runBackgroundWork()
        #expect(try reader.drain().map(\.key) == [[1]])
    }

    @Test("A slot keeps the log for its feed, over restarts, until it is acknowledged")
    func slot() async throws {
        var engine = try store()
        let slot = try await engine.changeSlot(named: "index")
        let start = try slot.cursor
        try fillAndFlush(engine)
        try await engine.close()
        engine = try store()
        let again = try await engine.changeSlot(named: "index")
        #expect(try again.cursor == start)
        let (changes, end) = try engine.told(from: .after(again.cursor))
        #expect(changes.count == 2400)
        try await again.acknowledge(try #require(end))
        #expect(try again.cursor == end)
        // A place behind it changes nothing, and one of another history is refused.
        try await again.acknowledge(start)
        #expect(try again.cursor == end)
        let foreign = ChangeCursor(timeline: TimelineID(ordinal: 1, unique: .random()), lsn: LSN(1))
        await #expect { try await again.acknowledge(foreign) } throws: {
            ($0 as? VarveError)?.code == .notContinuing
        }
        try engine.runBackgroundWork()
        #expect(code { _ = try engine.changes(since: start) } == .logGap)
        try await again.remove()
        #expect(engine.statistics.slots.isEmpty)
        #expect(code { _ = try again.cursor } == .invalidArgument)
    }

    @Test("What is acknowledged through the owner counts as here: in this history, up to its end, once it is durable")
    func slotThroughTheOwner() throws {
        let engine = try store()
        let start = engine.visible
        try engine.registerSlot("index", at: start)
        let service = EngineOwnerService(engine)
        try engine.put([1], [1])
        let foreign = ChangeCursor(timeline: TimelineID(ordinal: 1, unique: .random()), lsn: engine.visible)
        let ahead = LSN(1_000_000)
        for place in [foreign, engine.cursor(at: ahead)] {
            #expect(code { _ = try service.slot("index", at: place) } == .notContinuing, "\(place)")
            #expect(engine.statistics.slots.map(\.lsn) == [start])
        }
        let log = try #require(engine.writing?.log)
        try engine.put([2], [2], durability: .interval)
        let place = engine.changeCursor
        #expect(log.syncedLSN < place.lsn)
        #expect(try service.slot("index", at: place))
        #expect(engine.statistics.slots.map(\.lsn) == [place.lsn])
        #expect(log.syncedLSN >= place.lsn, "a power cut would write something else before the slot")
        #expect(try !service.slot("none", at: engine.changeCursor))
        try engine.close()
    }

    @Test("A slot beyond its cap loses its log: a slow reader never fills the disk")
    func cap() async throws {
        let engine = try store()
        let slot = try await engine.changeSlot(named: "slow", capBytes: 200 << 10)
        try fillAndFlush(engine, rounds: 8)
        #expect(failure { _ = try engine.changes(since: slot.cursor) }?.code == .logGap)
    }

    @Test("A cursor of a history that was lost, or of another store, is refused")
    func otherHistory() throws {
        let engine = try store()
        try engine.put([1], [1], durability: .synced)
        try engine.put([2], [2])
        // Visible, but not durable.
        let lost = engine.changeCursor
        clock.reboot()
        let image = files.crash(seed: 3, options: CrashOptions(data: .nothing, names: .nothing))
        let again = try Fixture.store(image, Fixture.options(clock: clock))
        #expect(failure { _ = try again.changes(since: lost) }?.code == .notContinuing)
        let other = try Fixture.store(SimulatedFileSystem(), Fixture.options(clock: clock))
        try Fixture.fill(other, 0..<10)
        #expect(failure { _ = try again.changes(since: other.changeCursor) }?.code == .notContinuing)
        let ahead = ChangeCursor(timeline: again.position.timeline, lsn: LSN(1_000_000))
        #expect(failure { _ = try again.changes(since: ahead) }?.code == .notContinuing)
    }
}
