import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Conditional batches from several threads, while memtables are sealed and flushed under them.
struct ConditionalRaceTests {
    @Test("no increment is lost")
    func counts() throws {
        let store = ReviewStore()
        let engine = try Engine.open(
            at: ReviewStore.path, store.options { $0.usesThreads = true }, fileSystem: SimulatedFileSystem())
        let failures = Mutex<[String]>([])
        let counter: [UInt8] = Array("counter".utf8)
        let rounds = 300
        let threads = try (0..<4).map { number in
            try IOThread(name: "count-\(number)") {
                do {
                    for round in 0..<rounds {
                        try Self.increment(counter, engine)
                        try engine.put(ReviewStore.key(round % 7), [UInt8](repeating: 7, count: 9000))
                    }
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
        #expect(try engine.get(counter).map { Self.number($0.bytes) } == 4 * rounds)
        try engine.close()
    }

    private static func increment(_ counter: [UInt8], _ engine: Engine) throws {
        while true {
            let now = try engine.get(counter)
            var batch = WriteBatch()
            try batch.require(counter, version: now?.version)
            try batch.put(counter, Array(String(number(now?.bytes ?? []) + 1).utf8))
            do {
                try engine.write(batch)
                return
            } catch {
                guard error.code == .conditionFailed else { throw error }
            }
        }
    }

    private static func number(_ bytes: [UInt8]) -> Int { Int(String(decoding: bytes, as: UTF8.self)) ?? 0 }
}
