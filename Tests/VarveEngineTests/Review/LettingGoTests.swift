import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A store that was let go without a close, as by the death of its process.
struct LettingGoTests {
    @Test("a store that was let go without a close is no store that lost power")
    func letGo() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        var timeline: TimelineID?
        do {
            let engine = try store.open(files)
            try engine.put([1], [1])
            timeline = engine.position.timeline
        }
        let engine = try store.open(files)
        #expect(engine.position.timeline == timeline)
        #expect(try engine.get([1]) != nil)
    }
}
