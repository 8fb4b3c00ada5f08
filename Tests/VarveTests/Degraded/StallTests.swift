import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Background work that does not keep up holds writes back for a bounded time, whatever the store's clock says.
struct StallTests {
    @Test("A write that waited too long throws; a load's result stays in memory", arguments: [false, true])
    func stalled(goesOn: Bool) async throws {
        let rig = CacheRig()
        let isHeld = Watched(false)
        let store = try await rig.store { options in
            options.stallLimit = .milliseconds(20)
            options.keepsDegradedMark = goesOn
        }
        var options = CacheOptions(memory: .megabytes(16))
        options.warmRestart = nil
        let cache: Cache<String, String> = try await store.cache(named: "c", options)
        rig.files.observe { call in
            // Flushes stand still; on a thread of the engine's.
            guard call.operation == .create, call.path.contains(".sst") else { return }
            let signal = Signal()
            while isHeld.current { signal.wait(after: signal.generation, atMost: .milliseconds(1)) }
        }
        isHeld.update { $0 = true }
        var thrown: VarveError.Code?
        let value = String(repeating: "x", count: 30_000)
        for number in 0..<200 where thrown == nil {
            thrown = await code { _ = try await cache.set(value, for: "\(number)") }
        }
        #expect(thrown == .stalled)
        #expect(try await cache.value(for: "loaded", load: { _ in value }) == value)
        #expect(cache.valueInMemory(for: "loaded") == value)
        let statistics = cache.statistics
        #expect(statistics.loadsUnstored == 1 && !cache.isDegraded)
        #expect(statistics.writesFailed == 2 && statistics.isWritable, "the disk is sound")
        #expect(statistics.disk?.writesStalled == 2, "\(statistics.disk as Any)")
        #expect(statistics.disk?.nanosecondsWaited ?? 0 >= 40_000_000)
        // What memory alone holds stays there where the disk refuses the removal.
        #expect(await code { try await cache.removeAll(olderThan: 1) } == .stalled)
        #expect(cache.valueInMemory(for: "loaded") == value)
        isHeld.update { $0 = false }
        rig.files.observe(nil)
        var isTaken = false
        while !isTaken { isTaken = await code { _ = try await cache.set(value, for: "again") } == nil }
        try await store.close()
    }
}
