import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What a copy of another process's entry knows of it, and what happens where that process does not answer.
@Suite struct RemoteReaderTests {
    private let rig = CacheRig.withSocket()
    /// Of the process that reads. Its boot clock has nothing to do with the owner's.
    private let clock = ManualClock(wallNanoseconds: 77_000_000_000, bootNanoseconds: 5_000_000_000)

    private func store(_ adjust: (inout EngineOptions) -> Void = { _ in }) async throws -> CacheStore {
        try await rig.store { options in
            options.offersSocket = true
            adjust(&options)
        }
    }

    private func remote(timeout: Duration = .seconds(600)) -> RemoteCache<String, String> {
        RemoteCache(storeAt: rig.path, named: "c", coding: .own, timeout: timeout, rig.files, clock: clock)
    }

    private func mine() throws -> Cache<String, String> { try CacheStore.inMemory(clock: clock).cacheInMemory() }

    @Test("A copy expires no later than the entry at its owner, whatever the clocks say", arguments: [false, true])
    func deadlines(isIdle: Bool) async throws {
        let owner = try await store().cache(named: "c", of: String.self, to: String.self)
        let remote = remote()
        let mine = try mine()
        let expiry =
            isIdle
            ? Expiry(usable: .seconds(100), idle: .seconds(10)) : Expiry(usable: .seconds(10), fresh: .seconds(4))
        try await owner.set("1", for: "a", .init(expiry: expiry))
        try await owner.set("2", for: "b")
        rig.clock.advance(by: .seconds(3))
        clock.advance(by: .seconds(50))
        for key in ["a", "b"] { _ = try await mine.value(for: key, loading: remote.loaded(for:)) }
        #expect(try await mine.entry(for: "a")?.usableFor == .seconds(7))
        #expect(try await mine.entry(for: "b")?.usableFor == nil)
        clock.advance(by: .milliseconds(6999))
        #expect(try await mine.value(for: "a") == "1")
        #expect(try await mine.entry(for: "a")?.isStale == !isIdle)
        clock.advance(by: .milliseconds(1))
        #expect(try await mine.value(for: "a") == nil)
        #expect(try await mine.value(for: "b") == "2")
        // Where the owner's time has passed there is nothing to copy.
        rig.clock.advance(by: .seconds(7))
        #expect(try await mine.value(for: "a", loading: remote.loaded(for:)) == nil)
        #expect(try await remote.value(for: "a") == nil)
        try await owner.store.close()
    }

    @Test("The sooner of its own deadline and the owner's counts, and a loader that was slow gives none of it away")
    func sooner() async throws {
        let owner = try await store().cache(named: "c", of: String.self, to: String.self)
        let (remote, mine, clock) = (remote(), try mine(), clock)
        try await owner.set("1", for: "a", .init(expiry: .seconds(10)))
        _ = try await mine.value(for: "a") { key in
            var loaded = try await remote.loaded(for: key)
            clock.advance(by: .seconds(4))
            loaded.options.expiry = .seconds(60)
            return loaded
        }
        #expect(try await mine.entry(for: "a")?.usableFor == .seconds(6))
        _ = try await mine.refresh("a") { key in
            var loaded = try await remote.loaded(for: key)
            loaded.options.expiry = .seconds(2)
            return loaded
        }
        #expect(try await mine.entry(for: "a")?.usableFor == .seconds(2))
        try await owner.store.close()
    }

    @Test("A copy goes with the drop of a tag that only its owner named, and a known absence is known here as long")
    func tags() async throws {
        let owner = try await store().cache(named: "c", of: String.self, to: String.self)
        let (remote, mine) = (remote(), try mine())
        let follower = try mine.follow(remote)
        try await follower.waitUntilFollowing()
        try await owner.set("1", for: "a", .init(tags: ["t", "u"]))
        try await owner.set("2", for: "b", .init(tags: ["v"]))
        _ = try await owner.value(for: "none") { _ in Loaded(nil, .init(expiry: .seconds(60))) }
        try await follower.waitUntilFollowed(owner.changeCursor)
        for key in ["a", "b"] { _ = try await mine.value(for: key, loading: remote.loaded(for:)) }
        try await owner.remove(taggedWith: "u")
        try await follower.waitUntilFollowed(owner.changeCursor)
        #expect(mine.valueInMemory(for: "a") == nil)
        #expect(mine.valueInMemory(for: "b") == "2")
        #expect(try await mine.value(for: "a", loading: remote.loaded(for:)) == nil)
        let asked = Tally()
        let load: @Sendable (String) async throws -> Loaded<String> = { key in
            await asked.add()
            return try await remote.loaded(for: key)
        }
        for _ in 0..<3 { #expect(try await mine.value(for: "none", loading: load) == nil) }
        #expect(await asked.count == 1)
        clock.advance(by: .seconds(60))
        #expect(try await mine.value(for: "none", loading: load) == nil)
        #expect(await asked.count == 2)
        follower.stop()
        try await owner.store.close()
    }

    @Test("An owner that does not answer is given up after the limit, by any number of callers on two threads")
    func stopped() async throws {
        let first = try await store()
        let owner = try await first.cache(named: "c", of: String.self, to: String.self)
        try await owner.set("1", for: "a")
        try await first.engine?.flush()
        try await first.close()
        let store = try await store()
        let remote = remote(timeout: .milliseconds(200))
        // Its reads of tables stand still, and with them the thread that answers. Each connection begins with its LOCK file.
        let isHeld = Watched(true)
        let connecting = Watched<Set<UInt64>>([])
        rig.files.observe { call in
            if call.path.hasSuffix("LOCK") { connecting.update { _ = $0.insert(UInt64(pthread_self())) } }
            if call.operation == .read, call.path.hasSuffix(".sst") { isHeld.wait { !$0 } }
        }
        let codes = await withTaskGroup(of: VarveError.Code?.self) { group in
            for _ in 0..<60 { group.addTask { await code { _ = try await remote.value(for: "a") } } }
            return await group.reduce(into: Set<VarveError.Code?>()) { $0.insert($1) }
        }
        #expect(codes == [.timedOut])
        #expect((1...2).contains(connecting.current.count))
        isHeld.update { $0 = false }
        rig.files.observe(nil)
        // A connection whose answer was not waited for gives nobody else's answer.
        let patient = self.remote()
        #expect(try await patient.value(for: "a") == "1")
        #expect(try await patient.value(for: "b") == nil)
        try await store.close()
    }
}
