import Testing
import VarveTestSupport

@testable import Varve

/// What a source is asked and what callers get, held against a model over random mixtures of answers, absences, failures
/// and silence, of timeouts, back-off and circuit breaker, and of time.
struct LoadingModelTests {
    @Test("Without limits to a load", arguments: CacheRig.Home.allCases, 1...10 as ClosedRange<UInt64>)
    func unlimited(_ home: CacheRig.Home, seed: UInt64) async throws {
        var run = try await LoadingRun(seed: seed, home: home) { options, random in
            options.softTimeout = random.next() % 2 == 0 ? .zero : nil
        }
        try await run.run(steps: 150)
    }

    @Test("With callers who wait for so long", arguments: CacheRig.Home.allCases, 1...6 as ClosedRange<UInt64>)
    func softTimeout(_ home: CacheRig.Home, seed: UInt64) async throws {
        var run = try await LoadingRun(seed: seed, home: home) { options, _ in
            options.softTimeout = .milliseconds(1)
        }
        try await run.run(steps: 80)
    }

    @Test("With loads that are given up", arguments: CacheRig.Home.allCases, 1...6 as ClosedRange<UInt64>)
    func hardTimeout(_ home: CacheRig.Home, seed: UInt64) async throws {
        var run = try await LoadingRun(seed: seed, home: home) { options, random in
            options.softTimeout = random.next() % 2 == 0 ? .zero : nil
            options.hardTimeout = .milliseconds(5)
        }
        try await run.run(steps: 80)
    }
}

/// A real cache and its source beside the model. Early refresh by chance goes by how long a load took on a real clock, which
/// is long where the machine is busy: it is switched off.
private struct LoadingRun {
    private struct SourceDown: Error {}

    private let seed: UInt64
    private let home: CacheRig.Home
    private var random: SplitMix
    private let rig = CacheRig()
    private var options = CacheOptions()
    private var cache: Cache<String, Int>
    private var model: LoadingModel
    private var values = 0
    private static let keys = 6
    private static let unit: Int64 = 10_000_000_000

    init(seed: UInt64, home: CacheRig.Home, _ adjust: (inout LoadOptions, inout SplitMix) -> Void) async throws {
        (self.seed, self.home) = (seed, home)
        random = SplitMix(course: seed)
        options.loading.earlyRefresh = 0
        adjust(&options.loading, &random)
        if random.next() % 2 == 0 { options.loading.absence = .seconds(10 * (1 + Int64(random.next() % 5))) }
        if random.next() % 2 == 0 { options.loading.backOff = .init(initial: .seconds(10), maximum: .seconds(60)) }
        if random.next() % 2 == 0 { options.loading.breaker = .init(failures: 3, pause: .seconds(30)) }
        // On disk memory has no room for all of them.
        if home == .disk { options.memory = .entries(3) }
        options.warmRestart = nil
        model = LoadingModel(options.loading)
        cache = try await rig.cache(home, Int.self, options)
    }

    private mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    private var now: Int64 { cache.store.clock.now() }

    mutating func run(steps: Int) async throws {
        for step in 0..<steps {
            let key = draw(LoadingRun.keys)
            switch draw(20) {
            case 0:
                let (value, expiry) = (nextValue(), nextExpiry())
                try await cache.set(value, for: "\(key)", EntryOptions(expiry: expiry))
                model.set(key, value, expiry, at: now)
            case 1:
                try await cache.remove("\(key)")
                model.remove(key)
            case 2 where home == .disk && draw(3) == 0:
                try await cache.close()
                cache = try await rig.cache(home, Int.self, options)
                model.restart()
            case ..<8: rig.clock.advance(by: .nanoseconds(LoadingRun.unit * Int64(1 + draw(4))))
            case ..<10: try await ask(key, step, refreshes: true)
            default: try await ask(key, step, refreshes: false)
            }
            let left = try await cache.value(for: "\(key)")
            #expect(left == model.live(key, at: now)?.value, "seed \(seed), step \(step), key \(key)")
        }
        try await cache.close()
    }

    private mutating func nextValue() -> Int {
        values += 1
        return values
    }

    private mutating func nextExpiry() -> Expiry {
        let usable = 1 + draw(10)
        return Expiry(
            usable: .seconds(10 * usable), fresh: draw(3) == 0 ? nil : .seconds(10 * (1 + draw(usable))))
    }

    private mutating func nextSource() -> LoadingModel.Source {
        // Where somebody may go meanwhile, the order of what happens is nobody's to tell.
        let mayTakeTime = options.loading.softTimeout == nil && options.loading.hardTimeout == nil
        let span = mayTakeTime && draw(3) == 0 ? LoadingRun.unit * Int64(1 + draw(3)) : 0
        switch draw(8) {
        case 0: return .absent(after: span)
        case 1, 2, 3: return .fails(after: span)
        case 4 where options.loading.hardTimeout != nil: return .hangs
        // Some are over when they come.
        default: return .value(nextValue(), draw(6) == 0 ? .seconds(-draw(2)) : nextExpiry(), after: span)
        }
    }

    /// One request, and the end of whatever it began.
    private mutating func ask(_ key: Int, _ step: Int, refreshes: Bool) async throws {
        let source = nextSource()
        let began = now
        let isLimited = options.loading.softTimeout.map { $0 > .zero } ?? false
        // A source that answers only after the caller has gone: for who has something stale to go with.
        let isSlow = isLimited && !refreshes && model.isStale(key, at: began) && draw(2) == 0
        let (calls, door) = (Tally(), Door())
        if !isSlow { await door.open() }
        let load = loader(source, calls, door)
        let timeouts = cache.statistics.loadTimeouts
        let answer = await LoadingRun.answer {
            refreshes
                ? try await cache.refresh("\(key)", loading: load)
                : try await cache.value(for: "\(key)", loading: load)
        }
        await door.open()
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        // A machine that is busy elsewhere may make any source seem silent.
        let wasGivenUp = cache.statistics.loadTimeouts > timeouts
        let stale = model.live(key, at: began)?.value
        let before = model.counts
        let actual = wasGivenUp ? .hangs : source
        let right =
            refreshes ? model.refresh(key, actual, at: began) : model.ask(key, actual, at: began)
        if right.count > 1, answer == .value(stale) { model.noteStaleServed() }
        let place = "seed \(seed), step \(step), key \(key), \(source)"
        #expect(right.contains(answer), "\(place): \(answer) of \(right)")
        if isSlow { #expect(answer == .value(stale), "\(place): the caller did not wait") }
        // A load that was given up may not have come to its loader yet.
        if !wasGivenUp {
            #expect(await calls.count == Int(model.counts.loads - before.loads), "\(place): calls of the loader")
        }
        #expect(counts == model.counts, "\(place)")
    }

    private func loader(_ source: LoadingModel.Source, _ calls: Tally, _ door: Door) -> Cache<String, Int>.Loader {
        let clock = rig.clock
        return { _ in
            await calls.add()
            await door.pass()
            switch source {
            case .value(let value, let expiry, let span):
                clock.advance(by: .nanoseconds(span))
                return Loaded(value, EntryOptions(expiry: expiry))
            case .absent(let span):
                clock.advance(by: .nanoseconds(span))
                return Loaded(nil)
            case .fails(let span):
                clock.advance(by: .nanoseconds(span))
                throw SourceDown()
            case .hangs:
                try await Task.sleep(for: .seconds(1000))
                throw SourceDown()
            }
        }
    }

    private static func answer(_ ask: () async throws -> Int?) async -> LoadingModel.Answer {
        do { return .value(try await ask()) } catch {
            switch error {
            case let refused as LoadRefused: return refused.reason == .backingOff ? .backingOff : .circuitOpen
            case is LoadTimeout: return .timeout
            default: return .failure
            }
        }
    }

    private var counts: LoadingModel.Counts {
        let statistics = cache.statistics
        return LoadingModel.Counts(
            loads: statistics.loads, failures: statistics.loadFailures, timeouts: statistics.loadTimeouts,
            refused: statistics.loadsRefused, staleServed: statistics.staleServed)
    }
}
