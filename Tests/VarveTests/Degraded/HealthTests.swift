import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

struct HealthTests {
    @Test("A cache that met damage is healthy again an hour later; the count stays")
    func damageFades() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        let degraded = try #require(cache.store.degraded)
        #expect(cache.health.isHealthy)
        for _ in 0..<3 { degraded.noteDamage(VarveError(.corruption, "a block is damaged")) }
        #expect(!cache.health.isHealthy)
        rig.rig.clock.advance(by: .seconds(3599))
        #expect(!cache.health.isHealthy)
        rig.rig.clock.advance(by: .seconds(2))
        #expect(cache.health.isHealthy)
        #expect(cache.health.damagedReads == 3)
        #expect(cache.health.lastDamage?.code == .corruption)
        degraded.noteDamage(VarveError(.corruption, "a block is damaged"))
        #expect(!cache.health.isHealthy)
        #expect(cache.health.damagedReads == 4)
        try await cache.store.close()
    }
}
