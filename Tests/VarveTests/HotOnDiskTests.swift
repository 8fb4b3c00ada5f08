import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A full disk does not forget what is read most, though those reads end in memory and never come to it.
struct HotOnDiskTests {
    enum Bound: CaseIterable, Sendable {
        case entries, bytes, quotaEntries, quotaBytes

        /// About how many entries of `valueBytes` the cache has room for.
        var room: Int { self == .entries || self == .quotaEntries ? 1500 : 5000 }
        var valueBytes: Int { self == .entries || self == .quotaEntries ? 40 : 3000 }

        var quota: CacheLimit? {
            switch self {
            case .entries, .bytes: nil
            case .quotaEntries: .entries(1500)
            case .quotaBytes: .megabytes(16)
            }
        }

        func apply(to options: inout EngineOptions) throws {
            switch self {
            case .entries: try options.setDiskLimit(.entries(1500))
            case .bytes: try options.setDiskLimit(.megabytes(16))
            case .quotaEntries, .quotaBytes: try options.setDiskLimit(.megabytes(256))
            }
        }
    }

    private static let hot = 100

    private func open(_ rig: CacheRig, _ bound: Bound) async throws -> Cache<String, [UInt8]> {
        var failure: (any Error)?
        let store = try await rig.store { options in
            do { try bound.apply(to: &options) } catch { failure = error }
        }
        if let failure { throw failure }
        var options = CacheOptions(memory: .entries(400))
        options.diskQuota = bound.quota
        return try await store.cache(named: "c", options)
    }

    private func settle(_ cache: Cache<String, [UInt8]>) async throws {
        guard let engine = cache.store.engine else { return }
        try await engine.flush()
        while !engine.isSettled { try await Task.sleep(for: .milliseconds(2)) }
    }

    private func value(_ bound: Bound, _ random: inout SplitMix) -> [UInt8] {
        (0..<bound.valueBytes).map { _ in random.byte() }
    }

    @Test("What memory answers reads of stays on a full disk, and is there after a kill", arguments: Bound.allCases)
    func stays(_ bound: Bound) async throws {
        var random = SplitMix(1)
        var rig = CacheRig()
        var cache = try await open(rig, bound)
        for number in 0..<HotOnDiskTests.hot {
            let value = value(bound, &random)
            for kind in ["hot", "idle"] { try await cache.set(value, for: "\(kind) \(number)") }
        }
        for number in 0..<bound.room * 3 {
            try await cache.set(value(bound, &random), for: "cold \(number)")
            if number % 10 == 0 {
                for hot in 0..<HotOnDiskTests.hot { _ = try await cache.value(for: "hot \(hot)") }
            }
        }
        try await settle(cache)
        let present = cache.statistics
        #expect(present.memoryHits > 0 && present.diskHits == 0, "the disk has seen no read")
        let left = try cache.keysOnDisk()
        func count(_ kind: String) -> Int { (0..<HotOnDiskTests.hot).count { left.contains("\(kind) \($0)") } }
        #expect(left.count < bound.room * 2, "\(left.count): the disk is full")
        #expect(count("idle") < 10, "\(count("idle")) of what nobody read are left")
        #expect(count("hot") >= 95, "\(count("hot")) of what was read all the time are left")

        rig.files = rig.files.killProcess()
        cache = try await open(rig, bound)
        var found = 0
        for hot in 0..<HotOnDiskTests.hot where try await cache.value(for: "hot \(hot)") != nil { found += 1 }
        #expect(found >= 95, "\(found)")
        try await cache.store.close()
    }
}
