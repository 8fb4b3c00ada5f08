import Testing
import VarveIO
import VarveTestSupport

@testable import Varve

/// The time that hits go by.
@Suite struct CacheClockTests {
    @Test func thePresentLiesSoonAfterTheLastTick() throws {
        let clock = CacheClock(try KernelClock(), storeTime: 1_000_000)
        let first = clock.recent()
        // For as long as it takes the kernel to tick.
        while clock.recent().earliest == first.earliest {
            let before = clock.now()
            let recent = clock.recent()
            #expect(recent.earliest <= clock.now())
            #expect(recent.latest >= before)
        }
        #expect(clock.recent().earliest > first.earliest)
        #expect(KernelClock.lastTick > 0)
    }

    @Test func aClockThatTestsTurnIsExact() {
        let manual = ManualClock()
        let clock = CacheClock(manual, storeTime: 5)
        #expect(clock.recent() == (5, 5))
        manual.advance(by: .nanoseconds(1))
        #expect(clock.recent() == (6, 6))
    }

    @Test("Entries are gone when their time is up by the kernel's clock, though hits count in ticks")
    func expiresInTime() async throws {
        let cache = try Cache<Int, Int>.inMemory()
        let began = KernelClock.nowSinceBoot
        try await cache.set(1, for: 1, .init(expiry: Expiry(usable: .milliseconds(30))))
        try await cache.set(1, for: 2, .init(expiry: Expiry(usable: .milliseconds(30)), tags: ["tag"]))
        while true {
            let asked = KernelClock.nowSinceBoot
            let found = [cache.valueInMemory(for: 1), cache.valueInMemory(for: 2)]
            if asked >= began + 30_000_000 + 60_000_000_000 || found == [nil, nil] { break }
        }
        // None left before its time, and they did leave.
        #expect(KernelClock.nowSinceBoot >= began + 30_000_000)
        #expect(cache.valueInMemory(for: 1) == nil && cache.valueInMemory(for: 2) == nil)
    }
}
