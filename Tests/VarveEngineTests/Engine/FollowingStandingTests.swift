import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// When a store of one's own becomes a copy: with what it takes, not with being asked to.
@Suite struct FollowingStandingTests {
    private let files = SimulatedFileSystem()
    private let clock = ManualClock()

    private func primary(_ files: SimulatedFileSystem) throws -> Engine {
        var options = Fixture.options(clock: clock)
        options.promotesCopies = false
        return try Fixture.store(files, options)
    }
    private func follower(_ files: SimulatedFileSystem) throws -> Engine {
        try Engine.openFollower(at: "/store", Fixture.options(clock: clock), fileSystem: files)
    }

    /// The same store in two places.
    private func twins() throws -> SimulatedFileSystem {
        let engine = try primary(files)
        try Fixture.fill(engine, 0..<50)
        try engine.close()
        return files.killProcess()
    }

    @Test("What does not continue it leaves a store its own, the same history with another end too")
    func refused() throws {
        let other = try twins()
        for (files, last) in [(files, 60), (other, 55)] {
            let engine = try primary(files)
            try Fixture.fill(engine, 50..<last, round: last)
            try engine.close()
        }
        let stranger = SimulatedFileSystem()
        try Fixture.fill(try primary(stranger), 0..<500)
        for source in [files, stranger.killProcess()] {
            let engine = try primary(source)
            let before = try Fixture.contents(engine).count
            let taking = try follower(other)
            #expect(code { try taking.apply(from: engine) } == .notContinuing)
            try taking.close()
            #expect(try Fixture.contents(engine).count == before)
            try engine.close()
        }
        let engine = try primary(other)
        #expect(try Fixture.contents(engine).count == 55)
        try engine.put([1], [1])
        #expect(try engine.verify().damage.isEmpty)
        try engine.close()
    }

    @Test("It is a copy before it has taken anything, and also where there was nothing to take", arguments: [0, 30])
    func accepted(count: Int) throws {
        let other = try twins()
        let engine = try primary(files)
        try Fixture.fill(engine, 50..<(50 + count))
        var taking = try follower(other)
        try taking.apply(from: engine)
        // Killed or closed.
        let image = other.killProcess()
        try taking.close()
        for files in [image, other] { #expect(code { _ = try primary(files) } == .readOnly) }
        taking = try follower(image)
        try taking.apply(from: engine)
        #expect(taking.position == engine.position)
        try taking.close()
        try engine.close()
    }

    @Test("No call to the disk after which it has taken something and is not a copy")
    func everyCall() throws {
        let start = try twins()
        let engine = try primary(files)
        try Fixture.fill(engine, 50..<60)
        for call in 1... {
            let disk = start.killProcess()
            let taking = try follower(disk)
            let before = taking.position
            disk.cutPower(atCall: call)
            let isDone = code { try taking.apply(from: engine) } == nil
            let after = disk.killProcess()
            let reader = try Engine.openReadOnly(at: "/store", Fixture.options(clock: clock), fileSystem: after)
            let hasTaken = reader.position != before
            try reader.close()
            if hasTaken { #expect(code { _ = try primary(after) } == .readOnly, "call \(call)") }
            if isDone {
                #expect(hasTaken && call > 1)
                break
            }
        }
        try engine.close()
    }

    @Test("After a power cut a store that was opened to follow still begins a timeline when it is written")
    func powerCut() throws {
        let engine = try primary(files)
        try engine.put([1], [1], durability: .synced)
        let before = engine.position.timeline
        let disk = files.crash(seed: 7)
        clock.reboot()
        try follower(disk).close()
        let again = try Engine.open(at: "/store", Fixture.options(clock: clock), fileSystem: disk)
        #expect(again.position.timeline != before)
        try again.close()
    }
}
