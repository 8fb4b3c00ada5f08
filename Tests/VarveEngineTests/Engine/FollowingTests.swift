import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A store that takes another one's log ends with an equal log and equal data.
@Suite struct FollowingTests {
    private let files = SimulatedFileSystem()
    private let clock = ManualClock()

    private func source() throws -> Engine { try Fixture.store(files, Fixture.options(clock: clock)) }
    private func follower(_ path: String = "/f", _ files: SimulatedFileSystem? = nil) throws -> Engine {
        try Engine.openFollower(at: path, Fixture.options(clock: clock), fileSystem: files ?? self.files)
    }

    private func expectEqual(_ one: Engine, _ other: Engine) throws {
        #expect(one.position == other.position)
        #expect(try Fixture.contents(one) == Fixture.contents(other))
    }

    @Test("From an open and from a closed store, flushed and compacted in their own rhythm", arguments: [true, false])
    func toTheEnd(open: Bool) throws {
        var engine = try source()
        try Fixture.fill(engine, 0..<50)
        try engine.checkpoint(to: "/f", slot: "f")
        let follower = try follower()
        for round in 1..<6 {
            try Fixture.fill(engine, 0..<300, round: round)
            try engine.deleteRange(from: Fixture.key(100), to: Fixture.key(150))
            if round == 2 { try follower.compactAsFollower() }
            if open {
                try follower.apply(from: engine)
                try expectEqual(engine, follower)
            } else {
                try engine.close()
                engine = try Engine.openReadOnly(at: "/store", Fixture.options(clock: clock), fileSystem: files)
                try follower.apply(from: engine)
                try expectEqual(engine, follower)
                try engine.close()
                engine = try source()
            }
        }
        #expect(code { try follower.put([1], [1]) } == .readOnly)
        #expect(try follower.verify().damage.isEmpty)
        try follower.close()
        try engine.close()
    }

    @Test("Up to an LSN, up to a time, and on from there")
    func targets() throws {
        let engine = try source()
        try engine.put(bytes("start"), [0])
        try engine.checkpoint(to: "/f", slot: "f")
        var states: [(lsn: LSN, time: Timestamp, data: [[UInt8]: [UInt8]], position: LogPosition)] = []
        for round in 0..<20 {
            clock.advance(by: .seconds(1))
            var batch = WriteBatch()
            for key in 0..<5 { try batch.put(Fixture.key(key), [UInt8(round)]) }
            let lsn = try engine.write(batch)
            states.append((lsn, engine.statistics.lastCommitTime, try Fixture.contents(engine), engine.position))
        }
        let follower = try follower()
        var report = try follower.apply(from: engine, upTo: ApplyTarget(lsn: states[3].lsn))
        #expect(report.to == states[3].position)
        #expect(try Fixture.contents(follower) == states[3].data)
        // In the middle of a batch: the batch is left out.
        report = try follower.apply(from: engine, upTo: ApplyTarget(lsn: LSN(states[7].lsn.rawValue - 2)))
        #expect(follower.position == states[6].position)
        #expect(report.stoppedBefore.map { $0 <= states[7].lsn } == true)
        try follower.apply(from: engine, upTo: ApplyTarget(time: states[11].time))
        #expect(follower.position == states[11].position)
        try follower.apply(from: engine, upTo: ApplyTarget(time: states[12].time - 1))
        #expect(follower.position == states[11].position)
        // A target behind changes nothing.
        try follower.apply(from: engine, upTo: ApplyTarget(lsn: states[2].lsn))
        #expect(follower.position == states[11].position)
        try follower.apply(from: engine)
        try expectEqual(engine, follower)
        try follower.close()
        try engine.close()
    }

    @Test("A history that differs and a log with a gap are refused with nothing applied")
    func refusals() throws {
        let engine = try source()
        try Fixture.fill(engine, 0..<20)
        try engine.checkpoint(to: "/f")
        try engine.checkpoint(to: "/g")
        // The other side of a fork.
        let fork = try Engine.open(at: "/f", Fixture.options(clock: clock), fileSystem: files)
        try fork.put([1], [1])
        try fork.close()
        let diverged = try follower("/f")
        try Fixture.fill(engine, 0..<20, round: 1)
        var before = (diverged.position, try Fixture.contents(diverged))
        #expect(code { try diverged.apply(from: engine) } == .notContinuing)
        #expect(diverged.position == before.0)
        #expect(try Fixture.contents(diverged) == before.1)
        try diverged.close()
        // Another store altogether.
        let stranger = try Engine.open(at: "/other", Fixture.options(clock: clock), fileSystem: files)
        try Fixture.fill(stranger, 0..<500)
        let late = try follower("/g")
        before = (late.position, try Fixture.contents(late))
        #expect(code { try late.apply(from: stranger) } == .notContinuing)
        // Log that went, because nobody had registered.
        for round in 0..<12 {
            try Fixture.fill(engine, 0..<300, round: round, valueBytes: 300)
            try engine.compact()
            try engine.writing?.compaction.runHere()
        }
        #expect(engine.statistics.oldestLSN > late.position.lsn)
        let error = failure { try late.apply(from: engine) }
        #expect(error?.code == .logGap)
        #expect(late.position == before.0)
        #expect(try Fixture.contents(late) == before.1)
        // A source that is behind.
        let behind = try Engine.openReadOnly(at: "/g2", Fixture.options(clock: clock), fileSystem: try copyOf("/store"))
        #expect(code { try late.apply(from: behind) } == .notContinuing || behind.position.lsn > late.position.lsn)
        try behind.close()
        try late.close()
        try stranger.close()
        try engine.close()
    }

    private func copyOf(_ path: String) throws -> SimulatedFileSystem {
        let copy = SimulatedFileSystem()
        let engine = try Engine.open(at: "/g2", Fixture.options(clock: clock), fileSystem: copy)
        try engine.close()
        return copy
    }

    @Test(
        "Reopened after a kill and after a power cut it goes on where it was", arguments: 1...6 as ClosedRange<UInt64>)
    func crashes(seed: UInt64) throws {
        let engine = try source()
        try engine.checkpoint(to: "/f", slot: "f")
        try engine.sync()
        var disk = files.crash(seed: seed)
        for round in 0..<6 {
            try Fixture.fill(engine, 0..<200, round: round)
            let taking = try follower("/f", disk)
            // Up to somewhere, then gone.
            let target = LSN(taking.position.lsn.rawValue + 60 + seed * 20)
            try taking.apply(from: engine, upTo: round == 5 ? .end : ApplyTarget(lsn: target))
            if round % 2 == 1 { try taking.compactAsFollower() }
            if round == 5 {
                try expectEqual(engine, taking)
                try taking.close()
            } else {
                disk = round % 2 == 0 ? disk.killProcess() : disk.crash(seed: seed &+ UInt64(round))
            }
        }
        try engine.close()
    }

    @Test("Promotion: opened to write it begins a timeline; the old primary's log no longer fits")
    func promotion() throws {
        let engine = try source()
        try engine.checkpoint(to: "/f", slot: "f")
        try engine.checkpoint(to: "/g", slot: "g")
        try Fixture.fill(engine, 0..<50)
        var one = try follower("/f")
        try one.apply(from: engine)
        try one.close()
        one = try Engine.open(at: "/f", Fixture.options(clock: clock), fileSystem: files)
        let origin = one.versions.state.timelines.currentOrigin
        #expect(origin.reason == .promotion)
        #expect(origin.forkLSN == engine.position.lsn)
        try one.put([1], [1])
        // A second follower goes over to the new primary, through the fork, and knows the new timeline after a crash.
        let other = try follower("/g")
        try other.apply(from: one)
        try expectEqual(one, other)
        try other.compactAsFollower()
        let disk = files.killProcess()
        let again = try follower("/g", disk)
        #expect(again.versions.state.timelines == one.versions.state.timelines)
        #expect(again.position == one.position)
        #expect(code { try again.apply(from: engine) } == .notContinuing)
        try again.close()
        // A primary that became a follower of its own follower and is promoted again shares no position with it.
        try one.checkpoint(to: "/h")
        try one.close()
        let third = try Engine.open(at: "/h", Fixture.options(clock: clock), fileSystem: files)
        try third.put([3], [3])
        one = try follower("/f")
        try one.apply(from: third)
        try one.close()
        one = try Engine.open(at: "/f", Fixture.options(clock: clock), fileSystem: files)
        #expect(one.position.timeline != third.position.timeline)
        try one.close()
        try third.close()
        try other.close()
        try engine.close()
    }

    @Test("Keeping up with a store that threads write")
    func keepingUp() throws {
        let engine = try Fixture.store(files, Fixture.options(threads: true))
        try engine.checkpoint(to: "/f", slot: "f")
        let follower = try Engine.openFollower(at: "/f", Fixture.options(threads: true), fileSystem: files)
        let crew = Crew()
        for writer in 0..<3 {
            try crew.start {
                for number in 0..<400 {
                    try engine.put(
                        Fixture.key(writer * 1000 + number), Fixture.value(number, writer),
                        durability: number % 40 == 0 ? .synced : nil)
                }
            }
        }
        for _ in 0..<20 { try follower.apply(from: engine) }
        try crew.join()
        try follower.apply(from: engine)
        try expectEqual(engine, follower)
        try follower.close()
        try engine.close()
    }
}

extension Engine {
    /// Flushes and compacts a follower, whose own rhythm differs from its source's.
    func compactAsFollower() throws {
        guard let writing else { return }
        do { _ = try writing.pipeline.sealActive() } catch { throw CommitPipeline.lift(error) }
        try writing.flushing.runHere()
        try writing.compaction.compactHere(nil)
    }
}
