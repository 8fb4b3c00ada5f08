import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Loads whose source has answered, and whose result is just being written, which takes its time.
struct LoadsBeingStoredTests {
    /// What somebody else does meanwhile, of whom it is not known what it has to do with what is written.
    enum Other: CaseIterable, Sendable {
        case nothing, drops, reads
    }

    @Test("Who comes while a load's result is written shares it, whatever others do", arguments: Other.allCases)
    func shared(_ other: Other) async throws {
        let rig = try await RefreshRig()
        let cache = rig.cache
        // What it writes is judged by what lies there, which must be read first: some of that may be newer.
        try await cache.set(1, for: "b", EntryOptions(sourceVersion: 9))
        try await cache.set(1, for: "a", EntryOptions(expiry: .after(.seconds(10)), sourceVersion: 1))
        try await rig.forgetAll()
        rig.clock.advance(by: .seconds(20))
        let source = RefreshRig.Source(brings: 2)
        let load: Cache<String, Int>.Loader = { _ in Loaded(try await source.answer(), EntryOptions(sourceVersion: 2)) }
        let first = Task { try await cache.value(for: "a", loading: load) }
        await source.door.arrived(1)
        rig.files.dropCaches()
        let reading = rig.holdRead()
        await source.door.open()
        await reading.began()
        switch other {
        case .nothing: break
        case .drops: try await cache.remove(taggedWith: "another")
        case .reads: #expect(try await cache.value(for: "a") == nil)
        }
        let late = Task { try await cache.value(for: "a", loading: load) }
        while cache.statistics.loadsShared == 0, await source.calls.count == 1 { await Task.yield() }
        #expect(await source.calls.count == 1)
        reading.letGo()
        #expect(try await first.value == 2)
        #expect(try await late.value == 2)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }
}
