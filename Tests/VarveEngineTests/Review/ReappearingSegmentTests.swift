import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Segments that were let go and whose names a power cut brought back.
struct ReappearingSegmentTests {
    /// A store whose log has lost its oldest segments; the first one's bytes and name.
    private func grow(_ store: ReviewStore, _ files: SimulatedFileSystem) throws -> (path: String, bytes: [UInt8]) {
        let engine = try store.open(files)
        let first = try #require(engine.catalog.segments.first)
        var random = SplitMix(3)
        for number in 0..<60 {
            try engine.put(ReviewStore.key(number), ReviewStore.noise(1000, &random))
        }
        try engine.sync()
        let content = try Fixture.folder(ReviewStore.path, files)
        for number in 60..<400 { try engine.put(ReviewStore.key(number), ReviewStore.noise(1000, &random)) }
        try engine.flush()
        try engine.runBackgroundWork()
        #expect(try !files.exists(first.path))
        #expect(engine.catalog.segments.first.map { $0.firstLSN > LSN(200) } == true)
        return (first.path, try #require(content[FileName.log(first.number).text]))
    }

    private func bringBack(_ segment: (path: String, bytes: [UInt8]), _ files: SimulatedFileSystem) throws {
        let file = try files.open(segment.path, .createNew)
        try file.write(segment.bytes, at: 0)
        try file.sync()
        file.close()
        try files.syncDirectory(ReviewStore.path)
    }

    @Test("they are no part of the log: a reader is told of the gap, and they are deleted")
    func areDeleted() throws {
        let store = ReviewStore()
        var files = SimulatedFileSystem()
        let segment = try grow(store, files)
        files = files.crash(seed: 1)
        try bringBack(segment, files)
        store.clock.reboot()
        let engine = try store.open(files)
        #expect(try !files.exists(segment.path))
        let log = try #require(engine.writing?.log)
        let error = #expect(throws: VarveError.self) { _ = try LogReader(log, after: .zero) }
        #expect(error?.code == .logGap)
        #expect(try engine.get(ReviewStore.key(399)) != nil)
    }

    @Test("one that the log does go back to stays")
    func continuousStays() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.registerSlot("reader", at: .zero)
        var random = SplitMix(3)
        for number in 0..<300 { try engine.put(ReviewStore.key(number), ReviewStore.noise(1000, &random)) }
        try engine.flush()
        try engine.runBackgroundWork()
        let before = engine.catalog.segments.map(\.number)
        #expect(before.count > 3)
        let after = files.crash(seed: 2)
        store.clock.reboot()
        let again = try store.open(after)
        #expect(Array(again.catalog.segments.map(\.number).prefix(before.count - 1)) == Array(before.dropLast()))
        let reader = try LogReader(try #require(again.writing?.log), after: .zero)
        var last = LSN.zero
        while let frame = try reader.next() { last = frame.header.lastLSN }
        #expect(last.rawValue > 300)
    }

    @Test("a reader that changes nothing sees the gap as well")
    func readOnly() throws {
        let store = ReviewStore()
        var files = SimulatedFileSystem()
        let segment = try grow(store, files)
        files = files.crash(seed: 1)
        try bringBack(segment, files)
        store.clock.reboot()
        let engine = try Engine.openReadOnly(at: ReviewStore.path, store.options(), fileSystem: files)
        #expect(try files.exists(segment.path))
        #expect(engine.catalog.oldestLSN.map { $0 > LSN(200) } == true)
    }
}
