import Testing
import VarveTestSupport

@testable import Varve

/// What becomes of stale entries while their source is left alone.
struct RefusedRefreshTests {
    struct SourceDown: Error {}

    private enum Guarding: CaseIterable {
        case backOff, breaker

        var options: LoadOptions {
            var options = LoadOptions()
            switch self {
            case .backOff: options.backOff = .init(initial: .seconds(5), maximum: .seconds(5))
            case .breaker: options.breaker = .init(failures: 1, pause: .seconds(5))
            }
            return options
        }
    }

    @Test(
        "Hits on a stale entry begin no refresh while its source is left alone, and the first one after that does",
        arguments: CacheRig.Home.allCases, Guarding.allCases)
    private func hits(_ home: CacheRig.Home, _ guarding: Guarding) async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.loading = guarding.options
        let cache = try await rig.cache(home, Int.self, options)
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        await #expect(throws: SourceDown.self) { try await cache.refresh("a") { _ in throw SourceDown() } }
        var begun = 0
        for _ in 0..<50 {
            #expect(try await cache.value(for: "a") { _ in 2 } == 1)
            begun += cache.loadsUnderWay.count
            #expect(try await cache.values(for: ["a"], load: { _ in ["a": 2] }) == ["a": 1])
            begun += cache.loadsUnderWay.count
        }
        #expect(begun == 0)
        #expect(cache.statistics.loads == 1)
        #expect(cache.statistics.loadsRefused == 0)
        #expect(cache.statistics.staleServed == 100)
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.value(for: "a") { _ in 2 } == 1)
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(try await cache.value(for: "a") { _ in 3 } == 2)
        #expect(cache.statistics.loads == 2)
        try await cache.close()
    }

    @Test("Who waits for a refresh of a stale value is told of none that is refused, and the refusal is counted")
    func waiting() async throws {
        let rig = CacheRig()
        var options = CacheOptions(expiry: Expiry(usable: .seconds(100), fresh: .seconds(10)))
        options.loading = Guarding.breaker.options
        options.loading.softTimeout = nil
        let cache = try await rig.cache(.memory, Int.self, options)
        try await cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        await #expect(throws: SourceDown.self) { try await cache.refresh("a") { _ in throw SourceDown() } }
        #expect(try await cache.value(for: "a") { _ in 2 } == 1)
        #expect(cache.statistics.loadsRefused == 1 && cache.statistics.staleServed == 1)
        try await cache.close()
    }

    @Test("A load that decides of the source and never ends is in other keys' way for one pause alone")
    func hangingProbe() async throws {
        let rig = CacheRig()
        var options = CacheOptions()
        options.loading = Guarding.breaker.options
        let cache = try await rig.cache(.memory, Int.self, options)
        await #expect(throws: SourceDown.self) { try await cache.value(for: "a") { _ in throw SourceDown() } }
        rig.clock.advance(by: .seconds(5))
        let door = Door()
        let hanging = await cache.hangingLoad("b", of: 7, behind: door)
        await #expect(throws: LoadRefused.self) { try await cache.value(for: "c") { _ in 1 } }
        rig.clock.advance(by: .seconds(5))
        #expect(try await cache.value(for: "c") { _ in 1 } == 1)
        #expect(try await cache.value(for: "d") { _ in 2 } == 2)
        await door.open()
        #expect(try await hanging.value == 7)
        try await cache.close()
    }
}
