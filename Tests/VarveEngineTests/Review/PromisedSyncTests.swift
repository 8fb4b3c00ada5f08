import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Writes that ask for a shorter interval than the log's own.
struct PromisedSyncTests {
    @Test("each is synced though nobody asks again", .timeLimit(.minutes(15)))
    func areSynced() throws {
        let log = PromisedLog()
        let sync = try GroupSync(
            synced: .zero, interval: .seconds(3600), appended: { log.end }, perform: { log.end })
        let crew = Crew()
        for _ in 0..<3 {
            try crew.start {
                for round in 0..<300 {
                    let lsn = log.append()
                    sync.didAppend()
                    sync.promise(within: .milliseconds(round % 3))
                    try sync.waitForProgress(beyond: LSN(lsn.rawValue - 1), isCancelled: { false })
                }
            }
        }
        try crew.join()
        #expect(sync.syncedLSN == LSN(900))
        sync.stop()
    }

    private final class PromisedLog: Sendable {
        private let last = Atomic<UInt64>(0)
        var end: LSN { LSN(last.load(ordering: .acquiring)) }
        func append() -> LSN { LSN(last.wrappingAdd(1, ordering: .releasing).newValue) }
    }
}
