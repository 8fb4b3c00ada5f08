import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Compactions that several ask for at once.
struct CompactionRequestTests {
    @Test("each is told how its own went")
    func ownOutcome() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files) { $0.usesThreads = true }
        for number in 0..<100 { try engine.put(ReviewStore.key(number), [UInt8](repeating: 1, count: 200)) }
        try engine.flush()
        let gate = Gate()
        files.observe { call in
            guard call.operation == .create, call.path.contains(".sst") else { return }
            files.observe(nil)
            gate.pass()
        }
        files.fail(28) { $0.operation == .write && $0.path.contains(".sst") }
        let loop = try #require(engine.writing?.compaction)
        let codes = Watched<[Int: VarveError.Code?]>([:])
        let crew = Crew()
        func ask(_ number: Int) throws {
            try crew.start {
                let outcome = code { try loop.compact(nil) }
                codes.update { $0[number] = .some(outcome) }
            }
        }
        try ask(0)
        gate.waitForSomebody()
        try ask(1)
        while loop.waitingRequests < 2 { sched_yield() }
        gate.open()
        try crew.join()
        #expect(codes.current[0] == .some(.diskFull))
        #expect(codes.current[1] == .some(nil))
        try engine.close()
    }
}
