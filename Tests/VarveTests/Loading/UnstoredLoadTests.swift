import Foundation
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// A value that was loaded well is its caller's, whatever becomes of it in the cache.
struct UnstoredLoadTests {
    /// Why what is loaded cannot be stored.
    private enum Obstacle: CaseIterable {
        case tooLarge, tooManyTags, notEncodable, failedLog

        static let tags = (0...4096).map { "tag \($0)" }

        func loaded(_ number: Double) -> Loaded<Double> {
            switch self {
            case .tooLarge: Loaded(UnstoredLoadTests.large)
            case .tooManyTags: Loaded(number, EntryOptions(tags: Obstacle.tags))
            case .notEncodable: Loaded(.infinity)
            case .failedLog: Loaded(number, EntryOptions(durability: .synced))
            }
        }
    }

    private static let large = -1.0
    /// JSON, but for one number that stands for a value which is too large.
    private static let coding = ValueCoding<Double>(
        encode: { try $0 == large ? [UInt8](repeating: 0, count: 64 << 20 + 1) : Array(JSONEncoder().encode($0)) },
        decode: { try JSONDecoder().decode(Double.self, from: Data($0)) }, cost: { _ in 8 })

    private static func cache(_ rig: CacheRig, _ options: CacheOptions = CacheOptions()) async throws
        -> Cache<String, Double>
    {
        var options = options
        options.warmRestart = nil
        return try await rig.store().cache(named: "c", coding: coding, options)
    }

    private static func failLog(_ rig: CacheRig, _ cache: Cache<String, Double>) async {
        rig.files.fail(5, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
        let thrown = await code { try await cache.set(0, for: "filler", EntryOptions(durability: .synced)) }
        #expect(thrown == .failedStop)
    }

    @Test("The caller gets what his loader brought; a set of the same throws", arguments: Obstacle.allCases)
    private func given(_ obstacle: Obstacle) async throws {
        let rig = CacheRig()
        let cache = try await Self.cache(rig)
        if obstacle == .failedLog { await Self.failLog(rig, cache) }
        let loaded = obstacle.loaded(7)
        let value = try #require(loaded.value)
        await #expect(throws: (any Error).self) { try await cache.set(value, for: "a", loaded.options) }
        #expect(try await cache.value(for: "a", loading: { _ in loaded }) == value)
        #expect(cache.statistics.loadsUnstored == 1)
        // Memory holds what it may: an entry has no more tags than it may have.
        #expect(cache.valueInMemory(for: "a") == (obstacle == .tooManyTags ? nil : value))
        #expect(try await cache.values(for: ["b", "c"], loading: { _ in ["b": loaded] }) == ["b": value])
        #expect(cache.statistics.loadsUnstored >= 2)
        #expect(try await cache.refresh("a", loading: { _ in loaded }) == value)
        #expect(cache.statistics.loadFailures == 0)
        rig.files.clearFaults()
        try? await cache.store.close()
    }

    @Test("A source that has none says so though the log has failed")
    func none() async throws {
        let rig = CacheRig()
        let cache = try await Self.cache(rig)
        try await cache.set(1, for: "a")
        await Self.failLog(rig, cache)
        #expect(try await cache.refresh("a", loading: { _ in Loaded(nil) }) == nil)
        #expect(cache.statistics.loadsUnstored == 1)
        rig.files.clearFaults()
        try? await cache.store.close()
    }

    @Test("What could not be stored is told once a minute, with the reason")
    func told() async throws {
        let lines = Lines()
        let rig = CacheRig()
        var options = CacheOptions()
        options.observation.logger = lines.logger
        let cache = try await Self.cache(rig, options)
        for number in 0..<30 {
            _ = try await cache.value(for: "\(number)", loading: { _ in Obstacle.tooManyTags.loaded(1) })
            rig.clock.advance(by: .seconds(1))
            cache.observe(at: cache.store.clock.now())
        }
        let told = lines.all.filter { $0.contains("loaded values") }
        #expect(told.count == 1)
        #expect(told.first?.contains("4096 tags") == true)
        try await cache.store.close()
    }

    @Test(
        "Whoever asks has what the source brought for him, or what was stored before", arguments: [false, true],
        1...10 as ClosedRange<UInt64>)
    func model(goesOn: Bool, seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        let rig = CacheRig()
        let store = try await rig.store { $0.keepsDegradedMark = goesOn }
        var options = CacheOptions(memory: .entries(3))
        options.warmRestart = nil
        let cache: Cache<String, Double> = try await store.cache(named: "c", coding: Self.coding, options)
        // What was ever brought or set under a key.
        var known: [Int: Set<Double>] = [:]
        var hasFailed = false
        for step in 0..<120 {
            let key = draw(6)
            let place: Comment = "seed \(seed), step \(step), key \(key)"
            let obstacle: Obstacle? = draw(2) == 0 ? [.tooManyTags, .notEncodable][draw(2)] : nil
            let loaded = obstacle?.loaded(Double(step)) ?? Loaded(Double(step))
            let value = loaded.value ?? 0
            let calls = Tally()
            let load: Cache<String, Double>.Loader = { _ in
                await calls.add()
                return loaded
            }
            let found: Double?
            switch draw(8) {
            case 0 where !hasFailed && draw(8) == 0:
                hasFailed = true
                rig.files.fail(5, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
                _ = try? await cache.set(0, for: "filler", EntryOptions(durability: .synced))
                continue
            case 0, 1:
                do {
                    try await cache.set(value, for: "\(key)", loaded.options)
                    #expect(obstacle == nil && (goesOn || !hasFailed), place)
                    known[key, default: []].insert(value)
                } catch { #expect(obstacle != nil || hasFailed, place) }
                continue
            case 2, 3: found = try await cache.refresh("\(key)", loading: load)
            case 4, 5:
                let many = try await cache.values(for: ["\(key)"]) { keys in
                    [keys[0]: try await load(keys[0])]
                }
                found = many["\(key)"]
            default: found = try await cache.value(for: "\(key)", loading: load)
            }
            if await calls.count > 0 {
                #expect(found == value, place)
                known[key, default: []].insert(value)
            } else {
                #expect(found.map { known[key]?.contains($0) ?? false } ?? false, place)
            }
        }
        #expect(cache.statistics.loadFailures == 0, "seed \(seed)")
        rig.files.clearFaults()
        try? await cache.store.close()
    }
}
