import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A loaded value that is over before it is written.
struct OverdueLoadTests {
    @Test("Who comes after the loaded value's deadline, while it is being written, has another loaded")
    func overdue() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        let sync = HeldThread((isReached: false, isOpen: false))
        rig.files.observe { call in
            guard call.operation == .sync, call.path.contains(".log") else { return }
            sync.update { $0.isReached = true }
            sync.wait { $0.isOpen }
        }
        let options = EntryOptions(expiry: .after(.milliseconds(10)), durability: .synced)
        let first = Task { try await cache.value(for: "a") { _ in Loaded(1, options) } }
        await sync.reached { $0.isReached }
        rig.clock.advance(by: .milliseconds(5))
        let inTime = Task { try await cache.value(for: "a") { _ in Loaded(0, options) } }
        while cache.statistics.loadsShared == 0 { await Task.yield() }
        rig.clock.advance(by: .milliseconds(5))
        let asked = Watched(false)
        let late = Task {
            try await cache.value(for: "a") { _ in
                asked.update { $0 = true }
                return Loaded(2, options)
            }
        }
        while !asked.current, cache.statistics.loadsShared < 2 { await Task.yield() }
        rig.files.observe(nil)
        sync.update { $0.isOpen = true }
        #expect(try await late.value == 2)
        #expect(try await first.value == 1)
        #expect(try await inTime.value == 1)
        try await cache.close()
    }
}
