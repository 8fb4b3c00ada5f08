import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Loads that name a source version, where what the disk knows of their keys' versions cannot be read.
struct DamagedSourceVersionTests {
    @Test("They are their callers', and kept where nothing of the table can be newer")
    func loads() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache { $0.blockCacheBytes = 0 }
        for number in 0..<200 {
            let value = String(repeating: "\(number) ", count: 100)
            try await cache.set(value, for: "key \(number)", EntryOptions(sourceVersion: 9))
        }
        try await cache.store.engine?.flush()
        try await cache.store.close()
        let table = try #require(try rig.files.list(CacheRig.path).first { $0.hasSuffix(".sst") })
        try rig.files.corrupt(CacheRig.path + "/" + table, at: 700)
        let again = try await rig.cache()
        var damaged: [String] = []
        for key in (0..<200).map({ "key \($0)" }) where try await again.value(for: key) == nil { damaged.append(key) }
        #expect(!damaged.isEmpty)
        for key in damaged {
            // Whether it is older than what was there nobody can tell.
            let loaded = Loaded("8", EntryOptions(sourceVersion: 8))
            #expect(try await again.value(for: key, loading: { _ in loaded }) == "8")
            #expect(try await again.value(for: key) == nil)
        }
        #expect(again.statistics.loadsOutdated == UInt64(damaged.count))
        for (number, key) in damaged.enumerated() {
            let loaded = Loaded("newer", EntryOptions(sourceVersion: number % 2 == 0 ? 10 : nil))
            #expect(try await again.value(for: key, loading: { _ in loaded }) == "newer")
            #expect(try await again.value(for: key) == "newer")
        }
        #expect(again.statistics.loadsOutdated == UInt64(damaged.count))
        try await again.store.close()
    }
}
