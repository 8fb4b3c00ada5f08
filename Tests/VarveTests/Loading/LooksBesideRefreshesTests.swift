import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What happens while somebody who came to a refresh looks at the disk, which takes its time.
struct LooksBesideRefreshesTests {
    private typealias Source = RefreshRig.Source

    /// A stale value on disk alone, the refresh that somebody waits for, and one who has come to it and looks.
    private func looking(
        _ rig: RefreshRig, _ asking: RefreshRig.Asking, _ source: Source
    ) async throws -> (refresh: Task<Int?, any Error>, late: Task<Int?, any Error>, reading: RefreshRig.Reading) {
        try await rig.cache.set(1, for: "a")
        rig.clock.advance(by: .seconds(20))
        try await rig.forgetAll()
        let refresh = await rig.refresh(source)
        let reading = rig.holdRead()
        let late = Task { try await rig.ask(asking, source) }
        await reading.began()
        return (refresh, late, reading)
    }

    @Test(
        "Who looks while the refresh ends has the source asked no more",
        arguments: RefreshRig.Asking.allCases, [(Duration?.none, 2), (nil, nil), (.zero, 2), (.zero, nil)])
    func ends(_ asking: RefreshRig.Asking, _ course: (softTimeout: Duration?, brings: Int?)) async throws {
        let rig = try await RefreshRig(softTimeout: course.softTimeout)
        let source = Source(brings: course.brings)
        let (refresh, late, reading) = try await looking(rig, asking, source)
        await source.door.open()
        _ = try? await refresh.value
        reading.letGo()
        #expect(try await late.value == course.brings ?? 1)
        await rig.settled()
        #expect(await source.calls.count == 1)
        #expect(rig.cache.statistics.staleServed == (course.brings == nil ? 1 : 0))
        try await rig.cache.close()
    }

    @Test("Who looks has what the refresh brings, if that comes sooner", arguments: RefreshRig.Asking.allCases)
    func sooner(_ asking: RefreshRig.Asking) async throws {
        let rig = try await RefreshRig()
        let source = Source(brings: 2)
        let (refresh, late, reading) = try await looking(rig, asking, source)
        await source.door.open()
        #expect(try await late.value == 2)
        #expect(try await refresh.value == 2)
        let counts = rig.cache.statistics
        #expect(counts.loadsShared == 1 && counts.diskHits == 0 && counts.staleServed == 0)
        reading.letGo()
        try await rig.cache.close()
        #expect(rig.cache.statistics.diskHits == 0)
    }

    @Test(
        "Who looks and is left alone with the refresh keeps it going",
        arguments: RefreshRig.Asking.allCases, [Duration?.none, .zero])
    func last(_ asking: RefreshRig.Asking, _ softTimeout: Duration?) async throws {
        let rig = try await RefreshRig(softTimeout: softTimeout)
        let source = Source(brings: 2)
        let (refresh, late, reading) = try await looking(rig, asking, source)
        refresh.cancel()
        await #expect(throws: CancellationError.self) { try await refresh.value }
        reading.letGo()
        let waits = softTimeout == nil
        if waits { while rig.cache.statistics.loadsShared == 0, await source.calls.count == 1 { await Task.yield() } }
        if !waits { #expect(try await late.value == 1) }
        await source.door.open()
        #expect(try await late.value == (waits ? 2 : 1))
        await rig.settled()
        #expect(await source.calls.count == 1)
        #expect(try await rig.ask(.value, source) == 2)
        #expect(rig.cache.statistics.staleServed == (waits ? 0 : 1))
        try await rig.cache.close()
    }

    @Test(
        "Who is cancelled while he looks leaves at once, and takes the refresh along where he is the last",
        arguments: RefreshRig.Asking.allCases, [false, true])
    func cancelled(_ asking: RefreshRig.Asking, _ isLast: Bool) async throws {
        let rig = try await RefreshRig()
        let source = Source(brings: 2)
        let (refresh, late, reading) = try await looking(rig, asking, source)
        if isLast { refresh.cancel() }
        if isLast { await #expect(throws: CancellationError.self) { try await refresh.value } }
        late.cancel()
        await #expect(throws: CancellationError.self) { try await late.value }
        await source.door.open()
        if !isLast { #expect(try await refresh.value == 2) }
        await rig.settled()
        reading.letGo()
        #expect(try await rig.cache.value(for: "a") == (isLast ? 1 : 2))
        #expect(await source.calls.count == 1)
        try await rig.cache.close()
    }

    @Test("Who looks while the cache is closed is told so at once", arguments: RefreshRig.Asking.allCases)
    func closed(_ asking: RefreshRig.Asking) async throws {
        let rig = try await RefreshRig()
        let source = Source(brings: 2)
        let (refresh, late, reading) = try await looking(rig, asking, source)
        let closing = Task { try await rig.cache.close() }
        for task in [refresh, late] {
            let error = await #expect(throws: VarveError.self) { try await task.value }
            #expect(error?.code == .closed)
        }
        reading.letGo()
        await source.door.open()
        try await closing.value
    }

    @Test("All who come to a refresh look once", arguments: RefreshRig.Asking.allCases)
    func together(_ asking: RefreshRig.Asking) async throws {
        let rig = try await RefreshRig()
        let source = Source(brings: 2)
        let (refresh, late, reading) = try await looking(rig, asking, source)
        let load = try #require(rig.load)
        let more = (0..<20).map { _ in Task { try await rig.ask(asking, source) } }
        while load.callers < 22 { await Task.yield() }
        let flights = rig.cache.memory.withShard(rig.cache.memory.hash("a")) { $0.flights["a"]?.holders }
        #expect(flights == 2, "the refresh, and one look")
        reading.letGo()
        for caller in more + [late] { #expect(try await caller.value == 1) }
        let counts = rig.cache.statistics
        #expect(counts.diskHits == 21 && counts.staleServed == 21 && counts.loadsShared == 0)
        await source.door.open()
        #expect(try await refresh.value == 2)
        #expect(await source.calls.count == 1)
        try await rig.cache.close()
    }

    @Test("Who cannot read what lies there waits for the refresh", arguments: RefreshRig.Asking.allCases)
    func unreadable(_ asking: RefreshRig.Asking) async throws {
        let rig = try await RefreshRig()
        try await rig.cache.set(1, for: "a")
        try await rig.forgetAll()
        let source = Source(brings: 2)
        let refresh = await rig.refresh(source)
        rig.files.fail(EIO) { $0.operation == .read && $0.path.hasSuffix(".sst") }
        let late = await rig.begin(asking, source)
        #expect(rig.cache.statistics.loadsShared == 1)
        await source.door.open()
        #expect(try await late.value == 2)
        #expect(try await refresh.value == 2)
        #expect(await source.calls.count == 1)
        try await rig.cache.close()
    }

    @Test("Known absence on disk is good enough", arguments: RefreshRig.Asking.allCases)
    func absent(_ asking: RefreshRig.Asking) async throws {
        let rig = try await RefreshRig()
        #expect(try await rig.cache.value(for: "a", loading: { _ in Loaded(nil) }) == nil)
        try await rig.forgetAll()
        let source = Source(brings: 2)
        let refresh = await rig.refresh(source)
        let reading = rig.holdRead()
        let late = Task {
            switch asking {
            case .value: try await rig.cache.value(for: "a", loading: { _ in Loaded(try await source.answer()) })
            case .values: try await rig.ask(asking, source)
            }
        }
        await reading.began()
        reading.letGo()
        #expect(try await late.value == nil)
        #expect(rig.cache.statistics.staleServed == 0 && rig.cache.statistics.loadsShared == 0)
        await source.door.open()
        #expect(try await refresh.value == 2)
        #expect(await source.calls.count == 1)
        try await rig.cache.close()
    }

    @Test("Who comes after the drop of a tag does not get what a look found before it")
    func dropped() async throws {
        let rig = try await RefreshRig()
        let options = EntryOptions(tags: ["t"])
        try await rig.cache.set(1, for: "a", options)
        try await rig.forgetAll()
        let source = Source(brings: 2)
        let refresh = await rig.refresh(source)
        let load = try #require(rig.load)
        // Another's, which has read the value and not told of it.
        let (_, isNew) = load.look()
        #expect(isNew)
        try await rig.cache.remove(taggedWith: "t")
        let late = Task { try await rig.ask(.value, source) }
        while load.callers < 2 { await Task.yield() }
        load.endLook(.success(Load.Found(value: 1, isFromDisk: true, tags: options.tagNumbers, version: 1)))
        await source.door.open()
        #expect(try await late.value == 2)
        #expect(try await refresh.value == 2)
        #expect(await source.calls.count == 1)
        try await rig.cache.close()
    }

    @Test("Who comes when a value has expired does not get what a look found before", arguments: [0, 20])
    func expired(_ age: Int) async throws {
        let rig = try await RefreshRig()
        let cache = rig.cache
        try await cache.set(1, for: "a")
        let hash = cache.memory.hash("a")
        let held = try #require(cache.memory.withShard(hash) { $0.peek("a", hash) })
        try await rig.forgetAll()
        let source = Source(brings: 2)
        let refresh = await rig.refresh(source)
        let load = try #require(rig.load)
        // Another's, which has read the value, be it fresh or stale, and not told of it.
        let (_, isNew) = load.look()
        #expect(isNew)
        rig.clock.advance(by: .seconds(age))
        let found = Load<Int>.Found(held, at: cache.store.clock.now())
        rig.clock.advance(by: .seconds(100 - age))
        let late = Task { try await rig.ask(.value, source) }
        while load.callers < 2 { await Task.yield() }
        load.endLook(.success(found))
        await source.door.open()
        #expect(try await late.value == 2)
        #expect(try await refresh.value == 2)
        #expect(await source.calls.count == 1)
        #expect(cache.statistics.diskHits == 0 && cache.statistics.staleServed == 0)
        try await cache.close()
    }

    @Test("What memory has got by then is not asked of the disk")
    func inMemory() async throws {
        let rig = try await RefreshRig()
        try await rig.forgetAll()
        try await rig.cache.set(1, for: "a")
        try await rig.forgetBlocks()
        let source = Source(brings: 2)
        let refresh = await rig.refresh(source)
        let reading = rig.holdRead()
        reading.letGo()
        // As a caller finds it that missed in memory just before the value came.
        let late = try await rig.cache.loadedValue(for: "a", .miss, nil) { _ in Loaded(try await source.answer()) }
        #expect(late == 1)
        #expect(!reading.first.current.isReached)
        #expect(rig.cache.statistics.memoryHits == 1)
        await source.door.open()
        #expect(try await refresh.value == 2)
        try await rig.cache.close()
    }
}
