import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Random operations around what compaction lets go for floors and dropped tags, against a model.
struct HiddenSpaceModelTests {
    private struct Entry {
        var value: Int
        var version: UInt64?
        var tag: String?
    }

    /// What a cache must show.
    private struct Model {
        var entries: [String: Entry] = [:]
        /// Every one that a key ever had.
        var highest: [String: UInt64] = [:]
        var floors: [(prefix: String, version: UInt64)] = []

        func floor(over key: String) -> UInt64 {
            max(highest[key] ?? 0, floors.filter { key.hasPrefix($0.prefix) }.map(\.version).max() ?? 0)
        }

        mutating func raise(_ prefix: String, to version: UInt64) {
            floors.append((prefix, version))
            entries = entries.filter { !$0.key.hasPrefix(prefix) || $0.value.version ?? 0 >= version }
        }
    }

    private func open(_ rig: CacheRig, runs: Int) async throws -> Cache<String, Int> {
        let store = try await rig.store {
            $0.usesThreads = false
            $0.compaction = .scaled(toMemtable: 8 << 10)
            $0.compaction.levelZeroTrigger = 2
            $0.compaction.runs = runs
        }
        return try await store.cache(named: "c", CacheOptions(memory: .entries(8)))
    }

    private func settle(_ cache: Cache<String, Int>) throws {
        try cache.store.engine?.flush()
        try cache.store.engine?.runBackgroundWork()
    }

    /// A refusal for what other keys of its place have had takes away what is there; no other refusal changes anything.
    private func set(
        _ key: String, _ value: Int, _ options: EntryOptions, _ cache: Cache<String, Int>, _ model: inout Model,
        _ message: Comment
    ) async throws {
        let refusal = await code { try await cache.set(value, for: key, options) }
        let version = options.sourceVersion
        if let version, version < model.floor(over: key) {
            #expect(refusal == .conditionFailed, message)
        } else if refusal == nil {
            model.entries[key] = Entry(value: value, version: version, tag: options.tags.first)
            if let version { model.highest[key] = max(version, model.highest[key] ?? 0) }
            return
        } else {
            #expect(refusal == .conditionFailed && version != nil, message)
        }
        let found = try await cache.value(for: key)
        #expect(found == nil || found == model.entries[key]?.value, message)
        if found == nil { model.entries[key] = nil }
    }

    @Test(
        "Whatever comes together, reads show what the model says, and a rewrite of everything leaves just that",
        arguments: 1...6 as ClosedRange<UInt64>)
    func model(seed: UInt64) async throws {
        var random = SplitMix(seed)
        let runs = seed % 2 == 0 ? 4 : 0
        var rig = CacheRig()
        var cache = try await open(rig, runs: runs)
        var model = Model()
        var (clock, invalidated) = (10 as UInt64, 0 as UInt64)
        let prefixes = ["", "a", "a/", "b/", "b/1"]
        for step in 0..<1200 {
            let message: Comment = "seed \(seed), step \(step)"
            clock += random.next() % 2
            let key = "\(random.next() % 2 == 0 ? "a" : "b")/\(random.next() % 60)"
            switch random.next() % 40 {
            case 0..<24:
                let version = random.next() % 3 == 0 ? nil : clock + random.next() % 8 - 4
                let tags = random.next() % 4 == 0 ? ["t\(random.next() % 3)"] : []
                let options = EntryOptions(tags: tags, sourceVersion: version, isPinned: random.next() % 4 == 0)
                try await set(key, step, options, cache, &model, message)
            case 24..<30:
                #expect(try await cache.value(for: key) == model.entries[key]?.value, message)
            case 30:
                try await cache.remove(key)
                model.entries[key] = nil
            case 31:
                let tag = "t\(random.next() % 3)"
                try await cache.remove(taggedWith: tag)
                model.entries = model.entries.filter { $0.value.tag != tag }
            case 32:
                let prefix = prefixes[Int(random.next() % 5)]
                let version = clock - random.next() % 6
                try await cache.removeOlder(withPrefix: prefix, than: version)
                model.raise(prefix, to: version)
            case 33..<36: try await cache.store.engine?.flush()
            case 36, 37:
                try settle(cache)
            case 38:
                try await cache.store.engine?.flush()
                try await cache.store.engine?.compact()
                #expect(try cache.keysOnDisk() == Set(model.entries.keys), message)
            default:
                invalidated += cache.store.engine?.statistics.entriesInvalidated ?? 0
                if random.next() % 2 == 0 { try await cache.store.close() }
                rig.files = rig.files.killProcess()
                cache = try await open(rig, runs: runs)
                for key in (0..<120).map({ "\($0 < 60 ? "a" : "b")/\($0 % 60)" }) {
                    #expect(try await cache.value(for: key) == model.entries[key]?.value, message)
                }
            }
        }
        invalidated += cache.store.engine?.statistics.entriesInvalidated ?? 0
        #expect(invalidated > 50, "seed \(seed): \(invalidated)")
        try await cache.store.close()
    }
}
