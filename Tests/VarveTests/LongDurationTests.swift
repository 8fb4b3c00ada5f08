import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Durations that nobody outlives: who wants no limit may say so by one of these.
struct LongDurationTests {
    static let spans: [Duration] = [.seconds(Int64.max), .seconds(1e19), Duration(attoseconds: .max)]

    @Test("A duration is cut to what counters of nanoseconds and timers can take, and to nothing where it is negative")
    func clamped() {
        for span in Self.spans {
            #expect(span.clampedNanoseconds == .max)
            #expect(span.clampedForTimers == .seconds(1 << 32))
        }
        for span in [Duration.zero, .nanoseconds(-1), .seconds(Int64.min), Duration(attoseconds: .min)] {
            #expect(span.clampedNanoseconds == 0)
            #expect(span.clampedForTimers == .zero)
        }
        #expect(Duration(attoseconds: 1_999_999_999).clampedNanoseconds == 1)
        #expect(Duration.seconds(3).clampedNanoseconds == 3_000_000_000)
        #expect(Duration.milliseconds(3).clampedForTimers == .milliseconds(3))
    }

    private static func linger() async { for _ in 0..<100 { await Task.yield() } }

    @Test("Timeouts may be as long as durations can be", arguments: spans)
    func timeouts(_ span: Duration) async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.originTimeout = span
        options.loading.hardTimeout = span
        options.loading.softTimeout = span
        let cache = try await rig.cache(.memory, Int.self, options)
        try await cache.set(1, for: "a") { _, _ in await Self.linger() }
        rig.clock.advance(by: .seconds(20))
        let value = try await cache.value(for: "a") { _ in
            await Self.linger()
            return 2
        }
        #expect(value == 2)
        rig.clock.advance(by: .seconds(20))
        let values = try await cache.values(for: ["a", "b"]) { keys in
            await Self.linger()
            return Dictionary(uniqueKeysWithValues: keys.map { ($0, 3) })
        }
        #expect(values == ["a": 3, "b": 3])
        #expect(cache.statistics.staleServed == 0)
        try await cache.close()
    }

    @Test("An expiry as long as durations can be is one that does not come", arguments: spans, CacheRig.Home.allCases)
    func expiry(_ span: Duration, _ home: CacheRig.Home) async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading.absence = span
        let cache = try await rig.cache(home, Int.self, options)
        let expiry = Expiry(usable: span, fresh: span, idle: span, jitter: 0.5)
        try await cache.set(1, for: "a", EntryOptions(expiry: expiry))
        #expect(try await cache.value(for: "b", loading: { _ in Loaded(nil) }) == nil)
        rig.clock.advance(by: .seconds(86400 * 365 * 50))
        #expect(try await cache.value(for: "a", load: { _ in 2 }) == 1)
        #expect(try await cache.value(for: "b", loading: { _ in Loaded(2) }) == nil)
        try await cache.close()
    }

    @Test("A source that fails is left alone as long as durations can be", arguments: spans)
    func guarded(_ span: Duration) async throws {
        struct SourceDown: Error {}
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading.backOff = .init(initial: span, maximum: span)
        options.loading.breaker = .init(failures: 1, pause: span)
        let cache = try await rig.cache(.memory, Int.self, options)
        await #expect(throws: SourceDown.self) { try await cache.value(for: "a") { _ in throw SourceDown() } }
        rig.clock.advance(by: .seconds(86400 * 365 * 50))
        await #expect(throws: LoadRefused.self) { try await cache.value(for: "a") { _ in 1 } }
        await #expect(throws: LoadRefused.self) { try await cache.value(for: "b") { _ in 1 } }
        try await cache.close()
    }

    @Test("A write's own interval may be as long as durations can be", arguments: spans)
    func durability(_ span: Duration) async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        try await cache.set(1, for: "a", EntryOptions(durability: .interval(span)))
        #expect(try await cache.value(for: "a") == 1)
        try await cache.close()
    }

    @Test("Who waits for a warm restart or another process may do so as long as durations can be", arguments: spans)
    func waits(_ span: Duration) async throws {
        let rig = CacheRig()
        var cache = try await rig.cache(.disk, Int.self)
        try await cache.set(1, for: "a")
        try await cache.close()
        cache = try await rig.cache(.disk, Int.self)
        #expect(await cache.ready(share: 2, atMost: span) == .done)
        try await cache.close()
        let remote: RemoteCache<String, Int> = RemoteCache(
            storeAt: rig.path, named: "test", coding: .own, timeout: span, rig.files, clock: rig.clock)
        // Nobody has the store open.
        await #expect(throws: VarveError.self) { try await remote.value(for: "a") }
    }
}
