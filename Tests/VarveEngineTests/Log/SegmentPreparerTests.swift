import Glibc
import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

struct SegmentPreparerTests {
    /// The taker holds the commit lock while it waits, so one that is forgotten stops every writer.
    @Test("Who takes a segment gets one, though an idle store gives back what lies ready meanwhile")
    func giveBackBesideTaker() throws {
        let files = SimulatedFileSystem()
        try files.createDirectory("/log")
        let numbers = Atomic<UInt64>(0)
        let preparer = try SegmentPreparer(
            fileSystem: files, directory: "/log", segmentBytes: 4096, maximumRecycled: 1, preparesAhead: true,
            nextFileNumber: { numbers.add(1, ordering: .relaxed).newValue })
        let taking = Watched((isOver: false, hasEnded: false))
        let crew = Crew()
        try crew.start {
            defer { taking.update { $0.hasEnded = true } }
            // At least once when nobody gives back any more.
            var isOver = false
            while !isOver {
                isOver = taking.current.isOver
                try preparer.discard(try preparer.take(minimum: 0))
            }
        }
        for _ in 0..<20_000 where !taking.current.hasEnded { try preparer.giveBack() }
        taking.update { $0.isOver = true }
        // One that is forgotten would wait for ever; ending the preparer tells it so.
        let signal = Signal()
        for _ in 0..<30_000 where !taking.current.hasEnded {
            signal.wait(after: signal.generation, atMost: .milliseconds(1))
        }
        try preparer.stop()
        try crew.join()
        #expect(try files.list("/log").isEmpty)
    }

    @Test(
        "A file that cannot be used again is removed: nobody would know of it",
        arguments: [SimulatedOperation.linkCount, .rename, .open, .size, .allocate])
    func failedReuse(_ failing: SimulatedOperation) throws {
        let files = SimulatedFileSystem()
        try files.createDirectory("/log")
        let preparer = try SegmentPreparer(
            fileSystem: files, directory: "/log", segmentBytes: 4096, maximumRecycled: 1, preparesAhead: false,
            nextFileNumber: { 7 })
        let old = "/log/obsolete.tmp"
        try files.open(old, .createNew).close()
        #expect(preparer.offer(old))
        files.fail(EIO) { $0.operation == failing }
        #expect(throws: VarveError.self) { try preparer.take(minimum: 0) }
        #expect(try files.list("/log").isEmpty)
        // Nothing stands in the way of the next.
        try preparer.discard(try preparer.take(minimum: 0))
        try preparer.stop()
        #expect(try files.list("/log").isEmpty)
    }
}
