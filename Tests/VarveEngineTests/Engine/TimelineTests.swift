import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// When a store begins a timeline of its own accord.
@Suite struct TimelineTests {
    @Test("A power cut does; the death of the process and a clean close do not")
    func reasons() throws {
        let clock = ManualClock()
        let options = Fixture.options(clock: clock)
        var files = SimulatedFileSystem()
        var engine = try Fixture.store(files, options)
        try Fixture.fill(engine, 0..<10)
        let first = engine.position.timeline
        try engine.close()
        engine = try Fixture.store(files, options)
        #expect(engine.position.timeline == first)
        try Fixture.fill(engine, 10..<20)
        files = files.killProcess()
        engine = try Fixture.store(files, options)
        #expect(engine.position.timeline == first)
        #expect(try Fixture.contents(engine).count == 20)
        try engine.put(bytes("durable"), [1], durability: .synced)
        let synced = engine.position.lsn
        files = files.crash(seed: 4)
        clock.reboot()
        engine = try Fixture.store(files, options)
        #expect(engine.position.timeline != first)
        #expect(engine.position.timeline.ordinal == first.ordinal + 1)
        let origin = engine.versions.state.timelines.currentOrigin
        #expect(origin.reason == .powerLoss && origin.parent == first && origin.forkLSN >= synced)
        #expect(try engine.get(bytes("durable"))?.bytes == [1])
        try engine.put(bytes("after"), [1])
        let second = engine.position.timeline
        try engine.close()
        clock.reboot()
        // Closed before the machine went down: nothing was lost, and nothing begins.
        engine = try Fixture.store(files, options)
        #expect(engine.position.timeline == second)
        try engine.close()
    }

    @Test("Killed right after a timeline was begun, the next opening still knows it", arguments: 0..<12)
    func killedInBetween(step: Int) throws {
        let clock = ManualClock()
        let options = Fixture.options(clock: clock)
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options)
        try engine.put([1], [1], durability: .synced)
        let disk = files.crash(seed: 9)
        clock.reboot()
        // The power goes again somewhere within that opening.
        disk.cutPower(atChange: 4 + step * 2)
        _ = try? Fixture.store(disk, options)
        let last = disk.crash(seed: UInt64(step))
        clock.reboot()
        let again = try Fixture.store(last, options)
        let history = again.versions.state.timelines
        #expect(history.current == again.position.timeline)
        #expect(Set(history.origins.map(\.timeline)).count == history.origins.count)
        #expect(try again.get([1])?.bytes == [1])
        try again.put([2], [2])
        try again.close()
    }
}
