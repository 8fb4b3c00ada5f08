import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A cache whose memory forgets soon, so that refreshes are under way of what lies on disk alone. All about the key "a".
struct RefreshRig {
    struct SourceDown: Error {}

    enum Asking: CaseIterable, Sendable {
        case value, values
    }

    /// A source that answers once its door is open.
    struct Source: Sendable {
        let calls = Tally()
        let door = Door()
        /// Nil: it fails.
        var brings: Int?

        func answer() async throws -> Int {
            await calls.add()
            await door.pass()
            guard let brings else { throw SourceDown() }
            return brings
        }
    }

    /// The first read of a table, which waits until it is let go.
    struct Reading: Sendable {
        let first = HeldThread((isReached: false, isOpen: false))

        func began() async { await first.reached { $0.isReached } }
        func letGo() { first.update { $0.isOpen = true } }
    }

    private let base = CacheRig()
    let cache: Cache<String, Int>
    /// The one that who comes now would share.
    var load: Load<Int>? { cache.memory.withShard(cache.memory.hash("a")) { $0.loads["a"] } }
    var clock: ManualClock { base.clock }
    var files: SimulatedFileSystem { base.files }

    init(softTimeout: Duration? = .zero) async throws {
        let expiry = Expiry(usable: .seconds(100), fresh: .seconds(10))
        var options = CacheOptions(memory: .entries(3), expiry: expiry, policy: .lru)
        options.warmRestart = nil
        options.loading.softTimeout = softTimeout
        options.loading.earlyRefresh = 0
        options.loading.absence = .seconds(100)
        cache = try await base.store { $0.blockCacheBytes = 0 }
            .cache(named: "test", coding: .own, options, ownsStore: true)
    }

    /// Memory has no key of before any more, and no block can be read without a wait.
    func forgetAll() async throws {
        for number in 0..<8 { try await cache.set(number, for: "other \(number)") }
        try await forgetBlocks()
        #expect(cache.memory.withShard(cache.memory.hash("a")) { $0.peek("a", cache.memory.hash("a")) } == nil)
    }

    func forgetBlocks() async throws {
        try await cache.disk?.engine.flush()
        files.dropCaches()
    }

    /// From here on the first read of a table waits.
    func holdRead() -> Reading { RefreshRig.holdRead(files) }

    static func holdRead(_ files: SimulatedFileSystem) -> Reading {
        let reading = Reading()
        files.observe { call in
            guard call.operation == .read, call.path.hasSuffix(".sst") else { return }
            let isFirst = reading.first.update { first in
                defer { first.isReached = true }
                return !first.isReached
            }
            guard isFirst else { return }
            reading.first.wait { $0.isOpen }
        }
        return reading
    }

    func ask(_ asking: Asking, _ source: Source) async throws -> Int? {
        switch asking {
        case .value: try await cache.value(for: "a") { _ in try await source.answer() }
        case .values: try await cache.values(for: ["a"], load: { _ in ["a": try await source.answer()] })["a"]
        }
    }

    /// A refresh that somebody waits for, and that asks the source.
    func refresh(_ source: Source) async -> Task<Int?, any Error> {
        let task = Task { try await cache.refresh("a") { _ in Loaded(try await source.answer()) } }
        await source.door.arrived(1)
        return task
    }

    /// Somebody more who asks. When this returns, that one waits for a load of another, or has an answer.
    func begin(_ asking: Asking, _ source: Source) async -> Task<Int?, any Error> {
        let shared = cache.statistics.loadsShared
        let hasAnswer = Watched(false)
        let task = Task {
            defer { hasAnswer.update { $0 = true } }
            return try await ask(asking, source)
        }
        while cache.statistics.loadsShared == shared, !hasAnswer.current { await Task.yield() }
        return task
    }

    /// The loads that are under way have ended.
    func settled() async { while cache.loadsUnderWay.count > 0 { await Task.yield() } }
}
