import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What the article on loading promises of callers who overlap, held against a model that says which calls the source may
/// get: callers of one key and of many come and go while tags are dropped, keys are written and removed, and calls fail.
struct SharedLoadTests {
    @Test(
        "Without back-off", .timeLimit(.minutes(15)),
        arguments: CacheRig.Home.allCases, 1...12 as ClosedRange<UInt64>)
    func plain(_ home: CacheRig.Home, seed: UInt64) async throws {
        var run = try await SharedLoadRun(seed: seed, home: home, backOff: nil)
        try await run.run(steps: 150)
    }

    @Test(
        "With keys that are left alone", .timeLimit(.minutes(15)),
        arguments: CacheRig.Home.allCases, 1...8 as ClosedRange<UInt64>)
    func backOff(_ home: CacheRig.Home, seed: UInt64) async throws {
        var run = try await SharedLoadRun(seed: seed, home: home, backOff: .seconds(15))
        try await run.run(steps: 150)
    }
}

/// A source whose calls wait, in the order in which they came, until each is told what it brings.
private final class HeldSource: Sendable {
    struct Down: Error {}
    private struct State {
        var calls: [(keys: Set<String>, asker: CheckedContinuation<[String: Int]?, Never>)] = []
        /// The numbers of calls that were answered, from 1 on.
        var answered: Set<Int> = []
        /// The numbers of those that were cancelled.
        var cancelled: Set<Int> = []
    }
    private let state = Mutex(State())

    var calls: Int { state.withLock { $0.calls.count } }

    func keys(of call: Int) -> Set<String> { state.withLock { $0.calls[call - 1].keys } }

    var cancelled: Set<Int> { state.withLock { $0.cancelled } }

    func areAnswered(_ calls: some Sequence<Int>) -> Bool { state.withLock { $0.answered.isSuperset(of: calls) } }

    func ask(_ keys: [String]) async throws -> [String: Int] {
        let number = Mutex(0)
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { asker in
                let call = state.withLock { state in
                    state.calls.append((Set(keys), asker))
                    return state.calls.count
                }
                number.withLock { $0 = call }
            }
        } onCancel: {
            let call = number.withLock { $0 }
            state.withLock { _ = $0.cancelled.insert(call) }
        }
        guard let answer else { throw Down() }
        return answer
    }

    /// Nil: it fails.
    func answer(_ call: Int, _ answer: [String: Int]?) {
        let asker = state.withLock { state in
            state.answered.insert(call)
            return state.calls[call - 1].asker
        }
        asker.resume(returning: answer)
    }
}

private struct SharedLoadRun {
    /// What a caller got, and what it found in the cache at that moment.
    private struct End: Sendable {
        var result: Result<[String: Int], any Error>
        var left: [String: Int]
        /// Whether all calls that it waited for had been answered.
        var isInTime: Bool
    }

    private struct Caller {
        let keys: [Int]
        let task: Task<End, any Error>
        let waits: Watched<[Int]>
        let hasEnded: Watched<Bool>
    }

    private let seed: UInt64
    private let backOff: Duration?
    private var random: SplitMix
    private let rig = CacheRig()
    private let cache: Cache<String, Int>
    private let source = HeldSource()
    private var model = SharedLoadModel()
    private var callers: [Int: Caller] = [:]
    private var lastCaller = 0
    private var lastValue = 0
    private var place = ""
    private static let names = ["a0", "a1", "a2", "b0", "b1", "b2"]

    init(seed: UInt64, home: CacheRig.Home, backOff: Duration?) async throws {
        (self.seed, self.backOff) = (seed, backOff)
        random = SplitMix(course: seed)
        var options = CacheOptions(memory: .entries(home == .disk ? 3 : 1000), policy: .lru)
        options.warmRestart = nil
        options.loading.backOff = backOff.map { .init(initial: $0, maximum: $0) }
        cache = try await rig.cache(home, Int.self, options)
    }

    private mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    private mutating func nextValue() -> Int {
        lastValue += 1
        return lastValue
    }

    mutating func run(steps: Int) async throws {
        for step in 0..<steps {
            place = "seed \(seed), step \(step)"
            try await act()
            #expect(cache.statistics.loads == UInt64(source.calls), "\(place): calls of the source")
            for (call, open) in model.calls {
                let isWanted = open.callers.values.contains { !$0.isEmpty }
                #expect(source.cancelled.contains(call) == !isWanted, "\(place): call \(call), \(open.callers)")
            }
            for (key, name) in SharedLoadRun.names.enumerated() {
                #expect(try await cache.value(for: name) == model.values[key], "\(place): \(name)")
            }
        }
        while let call = model.calls.keys.min() { await answer(call) }
        #expect(callers.isEmpty, "\(place)")
        try await cache.close()
    }

    private mutating func act() async throws {
        let calls = model.calls.keys.sorted()
        switch draw(100) {
        case ..<25: try await ask([draw(SharedLoadRun.names.count)], many: false)
        case ..<42:
            let keys = SharedLoadRun.names.indices.filter { _ in draw(2) == 0 }
            if !keys.isEmpty { try await ask(keys, many: true) }
        case ..<52: for _ in 0...draw(4) { try await cache.remove(taggedWith: "other \(draw(3))") }
        case ..<62: try await change()
        case ..<70: await leave()
        case ..<74: rig.clock.advance(by: .seconds(10))
        default: if !calls.isEmpty { await answer(calls[draw(calls.count)]) }
        }
    }

    // MARK: Callers

    /// What follows could be compared with nothing.
    private struct OutOfStep: Error {}

    private mutating func ask(_ keys: [Int], many: Bool) async throws {
        lastCaller += 1
        let id = lastCaller
        let refreshes = !many && draw(4) == 0
        let before = (shared: cache.statistics.loadsShared, calls: source.calls)
        let (begun, joined) = model.ask(id, keys, refreshes: refreshes, at: cache.store.clock.now())
        let wanted = before.calls + (begun.isEmpty ? 0 : 1)
        let caller = begin(keys.map { SharedLoadRun.names[$0] }, keys, many: many, refreshes: refreshes)
        callers[id] = caller
        let waits = model.callers[id]?.waits.values.sorted() ?? []
        caller.waits.update { $0 = waits }
        // Until it waits for all that it should wait for, or something else has come of it.
        while !caller.hasEnded.current, source.calls <= wanted, !Task.isCancelled {
            let hasPlaces = cache.statistics.loadsShared == before.shared + UInt64(joined)
            if !waits.isEmpty, hasPlaces, source.calls == wanted, cache.loadsUnderWay.count == model.loads { break }
            await Task.yield()
        }
        #expect(source.calls == wanted, "\(place): \(keys) asked the source \(source.calls - before.calls) times")
        if source.calls == wanted, !begun.isEmpty {
            let asked = source.keys(of: wanted)
            #expect(asked == Set(begun.map { SharedLoadRun.names[$0] }), "\(place): \(asked) was asked for")
        }
        if !waits.isEmpty { #expect(!caller.hasEnded.current, "\(place): nobody had answered") }
        guard source.calls == wanted, waits.isEmpty || !caller.hasEnded.current else { throw OutOfStep() }
        if waits.isEmpty { await end(id) }
    }

    private func begin(_ names: [String], _ keys: [Int], many: Bool, refreshes: Bool) -> Caller {
        let (cache, source) = (cache, source)
        let waits = Watched<[Int]>([])
        let hasEnded = Watched(false)
        let options = EntryOptions(tags: ["own"])
        let task = Task {
            defer { hasEnded.update { $0 = true } }
            let result: Result<[String: Int], any Error>
            do {
                var found: [String: Int] = [:]
                if many {
                    found = try await cache.values(
                        for: names, loading: { try await source.ask($0).mapValues { Loaded($0, options) } })
                } else {
                    let load: Cache<String, Int>.Loader = { Loaded(try await source.ask([$0])[$0], options) }
                    found[names[0]] =
                        refreshes
                        ? try await cache.refresh(names[0], loading: load)
                        : try await cache.value(for: names[0], loading: load)
                }
                result = .success(found)
            } catch {
                result = .failure(error)
            }
            let isInTime = source.areAnswered(waits.current)
            return End(result: result, left: try await cache.values(for: names), isInTime: isInTime)
        }
        return Caller(keys: keys, task: task, waits: waits, hasEnded: hasEnded)
    }

    /// A caller has all that it waited for.
    private mutating func end(_ id: Int) async {
        guard let caller = callers.removeValue(forKey: id), let right = model.callers[id],
            let end = try? await caller.task.value
        else { return }
        model.forget(id)
        let place = "\(place), caller \(id) of \(caller.keys)"
        #expect(end.isInTime, "\(place): it did not wait for all of its loads")
        func named(_ values: [Int: Int]) -> [String: Int] {
            var named: [String: Int] = [:]
            for key in caller.keys { named[SharedLoadRun.names[key]] = values[key] }
            return named
        }
        #expect(end.left == named(model.values), "\(place): what was stored when it returned")
        switch (end.result, right.failure) {
        case (.success(let found), nil): #expect(found == named(right.found), "\(place)")
        case (.failure(let error), .sourceDown?): #expect(error is HeldSource.Down, "\(place): \(error)")
        case (.failure(let error), .refused?): #expect(error is LoadRefused, "\(place): \(error)")
        default: Issue.record("\(place): \(end.result) where \(right)")
        }
    }

    /// A caller is cancelled, and goes at once.
    private mutating func leave() async {
        let ids = callers.keys.sorted()
        guard !ids.isEmpty, let caller = callers.removeValue(forKey: ids[draw(ids.count)]) else { return }
        let id = ids.first { callers[$0] == nil } ?? 0
        caller.task.cancel()
        let end = try? await caller.task.value
        if case .success? = end?.result { Issue.record("\(place): caller \(id) was cancelled and got something") }
        model.leave(id)
    }

    // MARK: What happens meanwhile

    private mutating func change() async throws {
        let key = draw(SharedLoadRun.names.count)
        let name = SharedLoadRun.names[key]
        switch draw(5) {
        case 0:
            let value = nextValue()
            try await cache.set(value, for: name)
            model.change(key, to: value)
        case 1:
            try await cache.removeAll(withPrefix: String(name.prefix(1)))
            for other in SharedLoadRun.names.indices where SharedLoadRun.names[other].first == name.first {
                model.change(other, to: nil)
            }
        default:
            try await cache.remove(name)
            model.change(key, to: nil)
        }
    }

    private mutating func answer(_ call: Int) async {
        var brought: [Int: Int]? = [:]
        for key in model.calls[call]?.callers.keys.sorted() ?? [] where draw(5) > 0 { brought?[key] = nextValue() }
        if draw(4) == 0 { brought = nil }
        let until = backOff.map { cache.store.clock.now() + $0.clampedNanoseconds }
        let done = model.end(call, brought, aloneUntil: until)
        source.answer(
            call, brought.map { Dictionary(uniqueKeysWithValues: $0.map { (SharedLoadRun.names[$0.key], $0.value) }) })
        for id in done { await end(id) }
        while cache.loadsUnderWay.count > model.loads, !Task.isCancelled { await Task.yield() }
    }
}
