import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A checkpoint is a store as of one exact position, however much is written while it is made.
@Suite struct CheckpointTests {
    @Test("At an exact LSN, while writers run", arguments: [false, true])
    func whileWritersRun(real: Bool) throws {
        let folder = try TemporaryDirectory()
        let files: any FileSystem = real ? PosixFileSystem() : SimulatedFileSystem()
        let base = real ? folder.path : ""
        let engine = try Engine.open(at: base + "/s", Fixture.options(threads: true), fileSystem: files)
        let stop = Watched(false)
        let written = Watched<[(LSN, [UInt8])]>([])
        let crew = Crew()
        try crew.start {
            var number = 0
            while !stop.current {
                let key = Fixture.key(number)
                let lsn = try engine.put(key, Fixture.value(number, 0), durability: number % 50 == 0 ? .synced : nil)
                written.update { $0.append((lsn, key)) }
                number += 1
            }
        }
        try crew.start { while !stop.current { try engine.compact() } }
        var positions: [LogPosition] = []
        for round in 0..<3 {
            written.wait { $0.count > round * 500 }
            positions.append(try engine.checkpoint(to: base + "/c\(round)"))
        }
        stop.update { $0 = true }
        try crew.join()
        let all = written.current
        for (round, position) in positions.enumerated() {
            let reader = try Engine.openReadOnly(at: base + "/c\(round)", Fixture.options(), fileSystem: files)
            #expect(reader.position == position)
            #expect(Set(try Fixture.contents(reader).keys) == Set(all.filter { $0.0 <= position.lsn }.map(\.1)))
            #expect(try reader.verify().damage.isEmpty)
            try reader.close()
        }
        #expect(code { try engine.checkpoint(to: base + "/c0") } == .storeExists)
        try engine.close()
    }

    @Test("Opened to write it is a store of its own, on a timeline of its own")
    func fork() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<100)
        let position = try engine.checkpoint(to: "/copy")
        try Fixture.fill(engine, 0..<100, round: 1)
        var copy = try Engine.open(at: "/copy", Fixture.options(), fileSystem: files)
        let origin = copy.versions.state.timelines.currentOrigin
        #expect(origin.reason == .fork)
        #expect(origin.forkLSN == position.lsn)
        #expect(origin.parent == position.timeline)
        try copy.put(bytes("mine"), [1])
        #expect(try copy.get(Fixture.key(1))?.bytes == Fixture.value(1, 0))
        #expect(try engine.get(bytes("mine")) == nil)
        try copy.compact()
        #expect(try Fixture.contents(engine).count == 100, "shared tables go from one folder only")
        #expect(try engine.verify().damage.isEmpty)
        try copy.close()
        copy = try Engine.open(at: "/copy", Fixture.options(), fileSystem: files)
        #expect(copy.versions.state.timelines.currentOrigin == origin, "once")
        #expect(code { try copy.apply(from: engine) } == .notContinuing)
        #expect(copy.versions.state.identity.storeID == engine.versions.state.identity.storeID)
        #expect(copy.versions.state.identity.nodeID != engine.versions.state.identity.nodeID)
        try copy.close()
        try engine.close()
    }

    @Test("Who does not want to promote a copy is refused, and nothing has changed")
    func notPromoted() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try Fixture.fill(engine, 0..<100)
        try engine.checkpoint(to: "/copy")
        try Fixture.fill(engine, 0..<100, round: 1)
        var options = Fixture.options()
        options.promotesCopies = false
        for _ in 0..<2 {
            let before = try files.list("/copy").sorted()
            #expect(code { _ = try Engine.open(at: "/copy", options, fileSystem: files) } == .readOnly)
            #expect(try files.list("/copy").sorted() == before)
            let follower = try Engine.openFollower(at: "/copy", options, fileSystem: files)
            try follower.apply(from: engine)
            #expect(follower.position == engine.position)
            // A follower's own checkpoint is another copy, and changes nothing about it.
            if try !files.exists("/second") { try follower.checkpoint(to: "/second") }
            try follower.close()
        }
        try engine.close()
        try Engine.open(at: "/store", options, fileSystem: files).close()
    }

    @Test("A slot that is moved keeps its cap")
    func movedSlot() throws {
        let engine = try Fixture.store(SimulatedFileSystem())
        try engine.registerSlot("reader", at: LSN(1), capBytes: 12345)
        try engine.registerSlot("reader", at: LSN(2))
        #expect(engine.versions.state.slots["reader"] == RetentionSlot(name: "reader", lsn: LSN(2), capBytes: 12345))
        try engine.close()
    }

    @Test("A checkpoint of an empty store, and one of which tables hold everything")
    func extremes() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files)
        try engine.checkpoint(to: "/empty")
        try Fixture.fill(engine, 0..<10)
        try engine.flush()
        try engine.checkpoint(to: "/flushed")
        for (name, count) in [("/empty", 0), ("/flushed", 10)] {
            let reader = try Engine.openReadOnly(at: name, Fixture.options(), fileSystem: files)
            #expect(try Fixture.contents(reader).count == count)
            try reader.close()
            let writer = try Engine.open(at: name, Fixture.options(), fileSystem: files)
            try writer.put([1], [1])
            #expect(try Fixture.contents(writer).count == count + 1)
            try writer.close()
        }
        try engine.close()
    }
}
