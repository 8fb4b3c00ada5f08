import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// The values of many keys without a loader.
struct ManyReadsTests {
    @Test(
        "What must be read from disk is read side by side: one read that takes its time keeps no other waiting",
        .timeLimit(.minutes(15)))
    func sideBySide() async throws {
        let rig = try await RefreshRig()
        try await rig.cache.set(1, for: "a")
        try await rig.forgetAll()
        let keys = ["a", "missing"] + (0..<8).map { "other \($0)" }
        let reading = rig.holdRead()
        let task = Task { try await rig.cache.values(for: keys) }
        await reading.began()
        // What memory has is no read: of the nine that are there, three at most.
        while rig.cache.statistics.diskHits + rig.cache.statistics.memoryHits < 8 { await Task.yield() }
        reading.letGo()
        let found = try await task.value
        #expect(found == Dictionary(uniqueKeysWithValues: (0..<8).map { ("other \($0)", $0) } + [("a", 1)]))
        let counts = rig.cache.statistics
        #expect(counts.diskHits + counts.memoryHits == 9)
        #expect(counts.misses.values.reduce(0, +) == 1)
        try await rig.cache.close()
    }

    @Test(
        "It is what one read after the other finds and counts, whatever memory holds and however often a key is named",
        arguments: CacheRig.Home.allCases, 1...6 as ClosedRange<UInt64>)
    func model(_ home: CacheRig.Home, seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        var options = CacheOptions()
        if home == .disk { options.memory = .entries(4) }
        options.warmRestart = nil
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self, options)
        var model: [String: Int] = [:]
        for step in 0..<150 {
            let key = "\(draw(20))"
            switch draw(6) {
            case 0, 1:
                try await cache.set(step, for: key)
                model[key] = step
            case 2:
                try await cache.remove(key)
                model[key] = nil
            case 3 where home == .disk && draw(4) == 0:
                try await cache.disk?.engine.flush()
                rig.files.dropCaches()
            default:
                let keys = (0..<draw(12)).map { _ in "\(draw(24))" }
                let before = cache.statistics.requests
                let found = try await cache.values(for: keys)
                let expected = model.filter { keys.contains($0.key) }
                #expect(found == expected, "seed \(seed), step \(step)")
                let asked = cache.statistics.requests - before
                #expect((Set(keys).count...keys.count).contains(Int(asked)), "seed \(seed), step \(step)")
            }
        }
        try await cache.close()
    }

    @Test("What cannot be read is thrown, when all the others have ended")
    func damaged() async throws {
        let rig = try await RefreshRig()
        try await rig.cache.set(1, for: "a")
        try await rig.forgetAll()
        rig.files.fail(5, sticky: true) { $0.operation == .read && $0.path.hasSuffix(".sst") }
        #expect(await code { _ = try await rig.cache.values(for: ["a", "other 0", "other 1"]) } == .io)
        rig.files.clearFaults()
        #expect(try await rig.cache.values(for: ["a", "other 0"]) == ["a": 1, "other 0": 0])
        try await rig.cache.close()
    }
}
