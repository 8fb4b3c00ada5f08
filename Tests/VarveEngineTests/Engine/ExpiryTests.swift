import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Entries expire by the store clock, to the nanosecond, whatever the wall clock does.
@Suite struct ExpiryTests {
    private let files = SimulatedFileSystem()
    private let clock = ManualClock()
    private func open() throws -> Engine { try Fixture.store(files, Fixture.options(clock: clock)) }

    @Test("Usable until the nanosecond before", arguments: ["memtable", "table", "last level"])
    func exact(place: String) throws {
        let engine = try open()
        let deadline = engine.storeTime + 1000
        try engine.put(bytes("k"), [1], EntryFields(usableUntil: deadline))
        try engine.put(bytes("stays"), [2])
        if place != "memtable" { try engine.flush() }
        if place == "last level" { try engine.compact() }
        clock.advance(by: .nanoseconds(999))
        #expect(engine.storeTime == deadline - 1)
        #expect(try engine.get(bytes("k"))?.usableUntil == deadline)
        #expect(try Fixture.contents(engine).count == 2)
        let snapshot = engine.makeSnapshot()
        clock.advance(by: .nanoseconds(1))
        #expect(try engine.get(bytes("k")) == nil)
        #expect(try engine.get(bytes("k"), at: snapshot) == nil, "time is no part of a snapshot")
        #expect(try Fixture.contents(engine).count == 1)
        try engine.close()
    }

    @Test("An expired entry uncovers nothing that it had overwritten")
    func hidesOlder() throws {
        let engine = try open()
        try engine.put(bytes("k"), [1])
        try engine.flush()
        try engine.put(bytes("k"), [2], EntryFields(usableUntil: engine.storeTime + 1000))
        try engine.flush()
        clock.advance(by: .seconds(1))
        #expect(try engine.get(bytes("k")) == nil)
        try engine.put(bytes("other"), [1])
        try engine.flush()
        while engine.writing != nil, !engine.isSettled { try engine.writing?.compaction.runHere() }
        #expect(try engine.get(bytes("k")) == nil)
        try engine.compact()
        #expect(try engine.get(bytes("k")) == nil)
        try engine.close()
    }

    @Test("A wall clock that steps back gives no entry life again, and commit times still rise")
    func wallStepsBack() throws {
        let engine = try open()
        try engine.put(bytes("k"), [1], EntryFields(usableUntil: engine.storeTime + 1_000_000_000))
        clock.advance(by: .seconds(2))
        let before = engine.statistics
        clock.setWall(nanoseconds: clock.wallNanoseconds - 86_400_000_000_000)
        #expect(try engine.get(bytes("k")) == nil)
        #expect(engine.storeTime >= before.storeClock)
        try engine.put(bytes("x"), [1])
        try engine.put(bytes("y"), [1])
        #expect(engine.statistics.lastCommitTime > before.lastCommitTime)
        // Nor does it after reopening, with the wall still behind.
        try engine.close()
        let again = try open()
        #expect(again.storeTime >= before.storeClock, "never below the last logged reading")
        #expect(try again.get(bytes("k")) == nil)
        try again.put(bytes("z"), [1])
        #expect(again.statistics.lastCommitTime > before.lastCommitTime)
        try again.close()
    }

    @Test("A leap of the wall by more than an hour is not believed")
    func wallLeaps() throws {
        let engine = try open()
        try engine.put(bytes("a"), [1])
        let honest = clock.wallNanoseconds
        clock.setWall(nanoseconds: honest + 10 * 3_600_000_000_000)
        clock.advance(by: .seconds(1))
        try engine.put(bytes("b"), [1])
        let after = engine.statistics
        #expect(after.lastCommitTime == honest + 1_000_000_000)
        #expect(after.commitTimesHeldBack >= 1)
        #expect(after.storeClock == honest + 1_000_000_000, "the store clock goes with the boot clock")
        // Less than an hour is believed: somebody corrected the clock.
        clock.setWall(nanoseconds: honest + 1_800_000_000_000)
        try engine.put(bytes("c"), [1])
        #expect(engine.statistics.lastCommitTime == honest + 1_800_000_000_000)
        try engine.close()
    }

    @Test("The store clock goes on across reopening, crash and power cut")
    func neverFalls() throws {
        var files = files
        var last: Timestamp = 0
        for round in 0..<6 {
            let engine = try Fixture.store(files, Fixture.options(clock: clock))
            #expect(engine.storeTime >= last, "round \(round)")
            clock.advance(by: .seconds(90))
            try engine.put(bytes("k"), [1], durability: .synced)
            // What is logged is promised; readings are logged with writes, a minute apart.
            last = engine.storeTime
            switch round % 3 {
            case 0:
                try engine.close()
            case 1:
                files = files.killProcess()
            default:
                files = files.crash(seed: UInt64(round))
                clock.reboot(downtime: .seconds(0))
            }
            clock.setWall(nanoseconds: last - 40 * 86_400_000_000_000)
        }
    }

    @Test("What writes have lived through is logged, but for a minute, whatever the wall does", arguments: 1...24)
    func readingsAreLogged(seed: UInt64) throws {
        var random = SplitMix(seed)
        let engine = try open()
        var written: Timestamp = 0
        for _ in 0..<(1 + random.next() % 30) {
            if random.next() % 4 == 0 {
                let step = Int64(random.next() % 14_400) - 7_200
                clock.setWall(nanoseconds: clock.wallNanoseconds + step * 1_000_000_000)
            }
            clock.advance(by: .seconds(Int64(random.next() % 300)))
            try engine.put(bytes("k"), [1])
            written = engine.storeTime
        }
        clock.setWall(nanoseconds: clock.wallNanoseconds - 86_400_000_000_000)
        let again = try Fixture.store(files.killProcess(), Fixture.options(clock: clock))
        let lost = Double(written - again.storeTime) / 1e9
        #expect(lost <= 60, "seed \(seed): \(lost) seconds come again")
        try again.close()
        try engine.close()
    }

    @Test("So it is where the wall is set back by less than the gap to the next write, however often")
    func setBackWithinTheGap() throws {
        let engine = try open()
        for _ in 0..<4 {
            try engine.put(bytes("k"), [1])
            clock.setWall(nanoseconds: clock.wallNanoseconds - 3_600_000_000_000)
            clock.advance(by: .seconds(3601))
        }
        let deadline = engine.storeTime + 1_000_000_000
        try engine.put(bytes("k"), [1], EntryFields(usableUntil: deadline))
        let again = try Fixture.store(files.killProcess(), Fixture.options(clock: clock))
        clock.advance(by: .seconds(61))
        #expect(again.storeTime >= deadline, "\(Double(deadline - again.storeTime) / 1e9) seconds too long")
        #expect(try again.get(bytes("k")) == nil)
        try again.close()
        try engine.close()
    }
}
