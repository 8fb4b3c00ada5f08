import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Writers and readers go on while the store goes over to memory and comes back, again and again.
struct DegradedConcurrencyTests {
    @Test(
        "Nobody sees a value older than one that was acknowledged, or that he saw",
        arguments: 1...3 as ClosedRange<UInt64>, [false, true])
    func rounds(seed: UInt64, failsLog: Bool) async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let isOver = Watched(false)
        let acknowledged = Watched<[Int: Int]>([:])
        await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<3 {
                group.addTask {
                    var random = SplitMix(seed &* 100 &+ UInt64(writer))
                    var round = 0
                    while !isOver.current {
                        round += 1
                        do { try await write(writer, round, cache, &random) } catch let error as VarveError {
                            // A condition cannot be asked twice: then neither what it wrote nor what was there shows.
                            guard failsLog, [.failedStop, .io].contains(error.code) else { throw error }
                        }
                        acknowledged.update { $0[writer] = round }
                        let found = try await cache.value(for: "key \(writer)").flatMap { Int($0) }
                        #expect(found == nil || found == round, "writer \(writer), seed \(seed)")
                        await Task.yield()
                    }
                }
                group.addTask {
                    var newest = 0
                    while !isOver.current {
                        let before = acknowledged.current[writer] ?? 0
                        if let found = try await cache.value(for: "key \(writer)").flatMap({ Int($0) }) {
                            #expect(found >= newest && found >= before, "reader of \(writer), seed \(seed)")
                            newest = found
                        }
                        await Task.yield()
                    }
                }
            }
            group.addTask {
                for _ in 0..<12 {
                    if failsLog { rig.failLog() }
                    try await rig.fillDisk(cache)
                    try await rig.evictAll(cache)
                    rig.files.clearFaults()
                    rig.files.capacity = nil
                    while await !cache.tryReturn() { await Task.yield() }
                    try await rig.evictAll(cache)
                }
                isOver.update { $0 = true }
            }
            do { try await group.waitForAll() } catch {
                isOver.update { $0 = true }
                Issue.record(error)
            }
        }
        let again = try await rig.crashed(seed).cache()
        for (writer, round) in acknowledged.current {
            let found = try await again.value(for: "key \(writer)").flatMap { Int($0) }
            #expect(found == nil || found ?? 0 >= round, "writer \(writer) after the crash, seed \(seed)")
        }
        try await again.store.close()
        try await cache.store.close()
    }

    /// Leaves the key at this round, or absent.
    private func write(
        _ writer: Int, _ round: Int, _ cache: Cache<String, String>, _ random: inout SplitMix
    ) async throws {
        let key = "key \(writer)"
        switch Int.random(in: 0..<10, using: &random) {
        case 0: try await cache.remove(key)
        case 1: try await cache.removeAll(withPrefix: key)
        case 2: try await cache.update(key) { $0 = "\(round)" }
        case 3:
            try await cache.set("\(round)", for: key, EntryOptions(tags: [key]))
            try await cache.remove(taggedWith: key)
        case 4:
            // A load's result is not kept where others remove many keys meanwhile.
            try await cache.remove(key)
            _ = try await cache.value(for: key, load: { _ in "\(round)" })
        default: try await cache.set("\(round)", for: key)
        }
    }
}
