import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A segment's file that is used again must not come back under its old name after a power cut.
struct RecycledSegmentTests {
    @Test("the power goes at every change while segments are used again", arguments: [UInt64(1), 2])
    func powerGoes(seed: UInt64) throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        let parts = try #require(engine.writing)
        var random = SplitMix(seed)
        let images = Mutex<[(call: String, files: SimulatedFileSystem)]>([])
        for round in 0..<6 {
            if round == 3 {
                files.observe { call in
                    guard call.operation.isChange else { return }
                    let survival = CrashOptions(data: .everything, names: .nothing)
                    let image = files.crash(seed: seed, options: survival)
                    images.withLock { $0.append(("\(call)", image)) }
                }
            }
            for number in 0..<40 { try engine.put(ReviewStore.key(number), ReviewStore.noise(2000, &random)) }
            try engine.flush()
            try parts.compaction.runHere()
        }
        files.observe(nil)
        #expect(parts.log.preparer.counts.recycled > 0)
        store.clock.reboot()
        for image in images.withLock({ $0 }) {
            do {
                let after = try store.open(image.files)
                try after.close()
            } catch {
                Issue.record("seed \(seed), power cut before \(image.call): \(error)")
            }
        }
    }
}
