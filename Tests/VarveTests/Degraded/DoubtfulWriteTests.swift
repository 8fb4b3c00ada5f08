import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What may stand in a log that failed, where the store cannot go on in memory alone either.
struct DoubtfulWriteTests {
    private let rig = DegradedRig()

    enum Kind: CaseIterable, Sendable {
        case set, remove, removeAll, dropTag
    }

    private func make(_ kind: Kind, _ cache: Cache<String, String>) async throws {
        switch kind {
        case .set: try await cache.set("new", for: "a")
        case .remove: try await cache.remove("a")
        case .removeAll: try await cache.removeAll()
        case .dropTag: try await cache.remove(taggedWith: "t")
        }
    }

    /// Has a log's sync fail while another writer has met a full disk, and nothing make the mark durable: what goes on then
    /// is told of the full disk, which leaves nothing written. Returns what `body` threw.
    private func failing<Result: Sendable>(
        _ cache: Cache<String, String>, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Swift.Result<Result, any Error> {
        let sync = HeldThread((isReached: false, isOpen: false))
        rig.files.observe { call in
            guard call.operation == .sync, call.path.contains(".log") else { return }
            sync.update { $0.isReached = true }
            sync.wait { $0.isOpen }
        }
        rig.files.fail(EIO, sticky: true) { $0.operation == .sync }
        let doubtful = Task { try await body() }
        await sync.reached { $0.isReached }
        rig.files.capacity = rig.files.usedBytes
        let full = Task { await code { try await cache.set(DegradedRig.large, for: "filler") } }
        let degraded = try #require(cache.store.degraded)
        while !degraded.isInMemory { await Task.yield() }
        sync.update { $0.isOpen = true }
        #expect(await full.value == .diskFull)
        rig.files.observe(nil)
        return await doubtful.result
    }

    @Test(
        "A change that may stand is not called unwritten, and what a load brings then is kept", arguments: Kind.allCases
    )
    func change(_ kind: Kind) async throws {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        try await cache.set("old", for: "a", EntryOptions(tags: ["t"]))
        let result = try await failing(cache) { try await make(kind, cache) }
        guard case .failure(let error as VarveError) = result else {
            Issue.record("\(kind): \(result)")
            return
        }
        #expect(!error.leavesNothingWritten, "\(kind): \(error)")
        #expect(cache.isDegraded && cache.store.degraded?.mark.isSet == false)
        #expect(try await cache.refresh("a", loading: { _ in Loaded("loaded") }) == "loaded")
        #expect(try await cache.value(for: "a") == "loaded")
        rig.files.clearFaults()
        rig.files.capacity = nil
        // With the mark nothing shows that was there before.
        #expect(await cache.tryReturn())
        #expect([nil, "loaded"].contains(try await cache.value(for: "a")))
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }

    @Test("Who waits for a load whose write may stand has its value")
    func load() async throws {
        let cache = try await rig.cache()
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        let result = try await failing(cache) { try await cache.value(for: "a", load: { _ in "loaded" }) }
        #expect(try result.get() == "loaded")
        #expect(try await cache.value(for: "a") == "loaded")
        rig.files.clearFaults()
        rig.files.capacity = nil
        door.update { $0.isOpen = true }
        try await cache.store.close()
    }
}
