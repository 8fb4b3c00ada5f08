import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Loads that are under way while tags are dropped: what they will carry is known only when they end.
struct LoadsBesideDropsTests {
    /// A source whose first answer waits at a door, and whose answers are the numbers of its calls.
    private struct Source: Sendable {
        let calls = Tally()
        let door = Door()
        var tags = ["t"]
        var isNone = false

        func answer() async -> Loaded<Int> {
            let number = await calls.next()
            if number == 1 { await door.pass() }
            return Loaded(isNone ? nil : number, EntryOptions(tags: tags))
        }
    }

    enum Asking: CaseIterable, Sendable {
        case value, refresh, values
    }

    private func ask(_ cache: Cache<String, Int>, _ asking: Asking, _ source: Source) async throws -> Int? {
        switch asking {
        case .value: try await cache.value(for: "a", loading: { _ in await source.answer() })
        case .refresh: try await cache.refresh("a", loading: { _ in await source.answer() })
        case .values: try await cache.values(for: ["a"], loading: { _ in ["a": await source.answer()] })["a"]
        }
    }

    /// Somebody more who asks. When this returns, that one is waiting for a load, has had another begun, or has its answer.
    private func begin(
        _ cache: Cache<String, Int>, _ asking: Asking, _ source: Source
    ) async -> Task<Int?, any Error> {
        func places() -> UInt64 { cache.statistics.loadsShared + UInt64(cache.loadsUnderWay.count) }
        let before = places()
        let hasAnswer = Watched(false)
        let task = Task {
            defer { hasAnswer.update { $0 = true } }
            return try await ask(cache, asking, source)
        }
        while places() == before, !hasAnswer.current { await Task.yield() }
        return task
    }

    @Test(
        "One load runs for any number of callers, while other tags are dropped between them",
        arguments: CacheRig.Home.allCases, Asking.allCases)
    func foreignTags(_ home: CacheRig.Home, _ asking: Asking) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let source = Source()
        var callers = [await begin(cache, asking, source)]
        await source.door.arrived(1)
        for number in 0..<50 {
            try await cache.remove(taggedWith: "other \(number % 5)")
            callers.append(await begin(cache, asking, source))
        }
        await source.door.open()
        for caller in callers { #expect(try await caller.value == 1) }
        #expect(await source.calls.count == 1)
        #expect(try await cache.value(for: "a") == 1)
        try await cache.close()
    }

    @Test(
        "Who comes after the drop of a tag that the value turns out to carry has it loaded again, once for all of them",
        arguments: CacheRig.Home.allCases, Asking.allCases)
    func ownTag(_ home: CacheRig.Home, _ asking: Asking) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let source = Source()
        var early = [await begin(cache, asking, source)]
        await source.door.arrived(1)
        try await cache.remove(taggedWith: "other")
        early.append(await begin(cache, asking, source))
        try await cache.remove(taggedWith: "t")
        var late: [Task<Int?, any Error>] = []
        for _ in 0..<50 { late.append(await begin(cache, asking, source)) }
        try await cache.remove(taggedWith: "other")
        await source.door.open()
        for caller in early { #expect(try await caller.value == 1) }
        for caller in late { #expect(try await caller.value == 2) }
        #expect(await source.calls.count == 2)
        #expect(try await cache.value(for: "a") == 2)
        try await cache.close()
    }

    @Test("The keys of a batch that must be loaded again are asked for in one call", arguments: CacheRig.Home.allCases)
    func batch(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self)
        let (door, calls) = (Door(), Tally())
        let keys = (0..<20).map { "\($0)" }
        let load: Cache<String, Int>.BatchLoader = { keys in
            let number = await calls.next()
            if number == 1 { await door.pass() }
            return Dictionary(
                uniqueKeysWithValues: keys.map { ($0, Loaded(number, EntryOptions(tags: $0 == "7" ? [] : ["t"]))) })
        }
        let early = Task { try await cache.values(for: keys, loading: load) }
        await door.arrived(1)
        try await cache.remove(taggedWith: "t")
        let late = Task { try await cache.values(for: keys, loading: load) }
        while cache.statistics.loadsShared < 20, await calls.count == 1 { await Task.yield() }
        await door.open()
        #expect(try await early.value == Dictionary(uniqueKeysWithValues: keys.map { ($0, 1) }))
        #expect(try await late.value == Dictionary(uniqueKeysWithValues: keys.map { ($0, $0 == "7" ? 1 : 2) }))
        #expect(await calls.count == 2)
        try await cache.close()
    }

    @Test(
        "What carries none of the dropped tags is for all, be it a value or that there is none",
        arguments: [true, false], ["t", "u"])
    func untagged(_ isNone: Bool, _ tag: String) async throws {
        var options = CacheOptions()
        options.loading.absence = .seconds(60)
        let cache = try await CacheRig().cache(.disk, Int.self, options)
        let source = Source(tags: [tag], isNone: isNone)
        let first = await begin(cache, .value, source)
        await source.door.arrived(1)
        try await cache.remove(taggedWith: "t")
        let second = await begin(cache, .value, source)
        await source.door.open()
        let isAgain = tag == "t"
        #expect(try await first.value == (isNone ? nil : 1))
        #expect(try await second.value == (isNone ? nil : isAgain ? 2 : 1))
        #expect(await source.calls.count == (isAgain ? 2 : 1))
        #expect(try await ask(cache, .value, source) == (isNone ? nil : isAgain ? 2 : 1))
        #expect(await source.calls.count == (isAgain ? 2 : 1))
        try await cache.close()
    }

    @Test("Where all who came after the drop have gone, nothing is loaded again")
    func cancelled() async throws {
        let cache = try await CacheRig().cache(.memory, Int.self)
        let source = Source()
        let first = await begin(cache, .value, source)
        await source.door.arrived(1)
        try await cache.remove(taggedWith: "t")
        let late = await begin(cache, .value, source)
        late.cancel()
        await #expect(throws: CancellationError.self) { try await late.value }
        await source.door.open()
        #expect(try await first.value == 1)
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        #expect(await source.calls.count == 1)
        #expect(try await cache.value(for: "a") == nil)
        try await cache.close()
    }

    @Test("What a load found on disk before the drop of a tag that it carries is not for those who came after")
    func fromDisk() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let version = try await cache.set(1, for: "a", EntryOptions(tags: ["t"]))
        // A load that has found it and not come back yet.
        let hash = cache.memory.hash("a")
        let present = Load<Int>(drops: cache.memory.context.tags.generation)
        cache.memory.withShard(hash) { $0.loads["a"] = present }
        try await cache.remove(taggedWith: "other")
        let early = try cache.place("a", hash, skipsDisk: false) { _ in Loaded(3) }
        try await cache.remove(taggedWith: "t")
        let late = Task { try await cache.value(for: "a") { _ in 2 } }
        while cache.statistics.loadsShared < 2 { await Task.yield() }
        cache.memory.withShard(hash) { $0.loads["a"] = nil }
        let found = Load<Int>.Found(
            value: 1, isFromDisk: true, tags: [TagRegistry.id(of: "t")], version: version.number)
        present.finish(.success(found))
        #expect(!cache.isOutdated(found, for: early))
        #expect(try await early.load.wait().value == 1)
        #expect(try await late.value == 2)
        try await cache.close()
    }

    @Test("A load that somebody still holds keeps the next one alive, and none after that")
    func chain() throws {
        let first = Load<Int>()
        let afterFirst = try #require(first.join(at: 0))
        first.finish(.success(.init(value: 1)))
        weak var third: Load<Int>?
        do {
            let second = Load<Int>()
            afterFirst.load = second
            let afterSecond = try #require(second.join(at: 0))
            second.finish(.success(.init(value: 2)))
            let last = Load<Int>()
            afterSecond.load = last
            third = last
            #expect(third != nil)
        }
        #expect(third == nil)
        #expect(afterFirst.load != nil)
    }

    @Test("A registry knows between which drops a tag was dropped, and where it cannot tell says that it was")
    func betweenDrops() {
        let tags = TagRegistry()
        let first = tags.generation
        tags.note(7, at: 5)
        tags.note(8, at: 6)
        let last = tags.generation
        tags.note(7, at: 9)
        // What is of this version or a later one outlived it.
        #expect(!tags.wasDropped([7], from: 10, after: first, upTo: last))
        #expect(tags.wasDropped([7], from: 9, after: first, upTo: last))
        #expect(!tags.wasDropped([7], from: 9, after: first + 1, upTo: last))
        #expect(tags.wasDropped([7], from: 9, after: last, upTo: last + 1))
        #expect(tags.wasDropped([1, 8], from: 3, after: first, upTo: last))
        #expect(!tags.wasDropped([1], from: 3, after: first, upTo: last))
        #expect(!tags.wasDropped([], from: 3, after: first, upTo: last))
        #expect(!tags.wasDropped([7], from: 9, after: last, upTo: first))
        for number in 0..<10_000 { tags.note(100 + UInt64(number % 3), at: 20 + UInt64(number)) }
        #expect(tags.wasDropped([7], from: 9, after: first + 1, upTo: last))
        #expect(!tags.wasDropped([7], from: 10, after: first, upTo: last))
        #expect(!tags.wasDropped([1], from: 3, after: first, upTo: last))
    }
}

extension Tally {
    /// One more, and how many there are with it.
    fileprivate func next() -> Int {
        add()
        return count
    }
}
