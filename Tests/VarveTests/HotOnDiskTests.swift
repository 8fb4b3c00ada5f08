import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A full disk does not forget what is read most, though those reads end in memory and never come to it.
struct HotOnDiskTests {
    enum Bound: CaseIterable, Sendable {
        case entries, bytes, quotaEntries, quotaBytes

        /// About how many entries of `valueBytes` the cache has room for.
        var room: Int { self == .entries || self == .quotaEntries ? 1500 : 2500 }
        var valueBytes: Int { self == .entries || self == .quotaEntries ? 40 : 6000 }

        /// What is hot stands together behind all else, where the store has the bound, and among the rest, where one cache
        /// has: its passes come by where something is written. What is idle stands among the rest.
        func key(_ kind: String, _ number: Int) -> String {
            let isApart = kind == "hot" && quota == nil
            return isApart ? "hot \(number)" : "cold \(number * room / HotOnDiskTests.hot) \(kind)"
        }

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

    private func settle(_ cache: Cache<String, [UInt8]>, _ bound: Bound) async throws {
        guard let engine = cache.store.engine else { return }
        try await engine.flush()
        while !engine.isSettled {
            // Nothing is written meanwhile, but read as before.
            for hot in 0..<HotOnDiskTests.hot { _ = cache.valueInMemory(for: bound.key("hot", hot)) }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func value(_ bound: Bound, _ random: inout SplitMix) -> [UInt8] {
        unsafe [UInt64](unsafeUninitializedCapacity: bound.valueBytes / 8) { words, count in
            for index in 0..<bound.valueBytes / 8 { unsafe words.initializeElement(at: index, to: random.next()) }
            count = bound.valueBytes / 8
        }.withUnsafeBytes { unsafe Array($0) }
    }

    @Test("What memory answers reads of stays on a full disk, and is there after a kill", arguments: Bound.allCases)
    func stays(_ bound: Bound) async throws {
        var random = SplitMix(1)
        var rig = CacheRig()
        var cache = try await open(rig, bound)
        for number in 0..<HotOnDiskTests.hot {
            let value = value(bound, &random)
            for kind in ["hot", "idle"] { try await cache.set(value, for: bound.key(kind, number)) }
        }
        func count(_ kind: String) throws -> Int {
            let left = try cache.keysOnDisk()
            return (0..<HotOnDiskTests.hot).count { left.contains(bound.key(kind, $0)) }
        }
        // Until what nobody reads is gone.
        var number = 0
        while number < bound.room * 6, try number % bound.room != 0 || count("idle") >= 10 {
            try await cache.set(value(bound, &random), for: "cold \(number)")
            if number % 10 == 0 {
                for hot in 0..<HotOnDiskTests.hot { _ = try await cache.value(for: bound.key("hot", hot)) }
            }
            number += 1
        }
        try await settle(cache, bound)
        let present = cache.statistics
        #expect(present.memoryHits > 0 && present.diskHits == 0, "the disk has seen no read")
        let left = try cache.keysOnDisk()
        #expect(left.count < bound.room * 2, "\(left.count): the disk is full")
        // A quota's passes have less of a turn: what they do not come by stays.
        if bound.quota == nil { #expect(try count("idle") < 10) }
        let lost = (0..<HotOnDiskTests.hot).filter { !left.contains(bound.key("hot", $0)) }
        // Passes may come again between two reads.
        #expect(lost.count <= 20, "lost of what was read all the time: \(lost)")

        rig.files = rig.files.killProcess()
        cache = try await open(rig, bound)
        var found = 0
        for hot in 0..<HotOnDiskTests.hot where try await cache.value(for: bound.key("hot", hot)) != nil { found += 1 }
        #expect(found == HotOnDiskTests.hot - lost.count, "\(found)")
        try await cache.store.close()
    }

    @Test("Where all of the disk is in use in memory, room is made all the same, and not by rewriting it over and over")
    func allInUse() async throws {
        var random = SplitMix(3)
        for bound in [Bound.entries, .bytes] {
            let rig = CacheRig()
            let store = try await rig.store { try? bound.apply(to: &$0) }
            let cache: Cache<String, [UInt8]> = try await store.cache(
                named: "c", CacheOptions(memory: .entries(bound.room * 4)))
            let count = bound.room * 6
            for number in 0..<count {
                try await cache.set(value(bound, &random), for: "\(number)")
                // Whatever memory still has is read again and again.
                for back in [1, 10, 100, 1000, 2000, 5000] where number >= back {
                    _ = cache.valueInMemory(for: "\(number - back)")
                }
            }
            try await settle(cache, bound)
            let disk = try #require(cache.statistics.disk)
            let perEntry = Double(disk.entriesRewritten) / Double(count)
            #expect(perEntry < 12, "\(bound): each entry was rewritten \(perEntry) times")
            #expect(try cache.keysOnDisk().count < bound.room * 2)
            try await store.close()
        }
    }

    @Test("After a kill, a sweep that comes before anybody has read leaves what was read before")
    func beforeReads() async throws {
        var random = SplitMix(4)
        var rig = CacheRig()
        var cache = try await open(rig, .entries)
        for number in 0..<HotOnDiskTests.hot { try await cache.set(value(.entries, &random), for: "hot \(number)") }
        for number in 0..<4500 {
            try await cache.set(value(.entries, &random), for: "cold \(number)")
            if number % 10 == 0 {
                for hot in 0..<HotOnDiskTests.hot { _ = try await cache.value(for: "hot \(hot)") }
            }
        }
        try await settle(cache, .entries)
        try await cache.store.close()
        rig.files = rig.files.killProcess()
        cache = try await open(rig, .entries)
        // As much as makes sweeps go through the whole store about once.
        for number in 0..<1000 { try await cache.set(value(.entries, &random), for: "later \(number)") }
        try await settle(cache, .entries)
        let left = try cache.keysOnDisk().count { $0.hasPrefix("hot") }
        #expect(left >= 90, "\(left)")
        try await cache.store.close()
    }
}
