import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Loading registers from sources that have a value for each, or none.
extension HistoryClient {
    /// What a source answers for a key, some while after it was asked.
    struct Answer: Sendable {
        var options: EntryOptions
        var isNone: Bool
        var fails: Bool
        var yields: UInt64

        func give(_ key: String, _ recorder: HistoryRecorder) async throws -> Loaded<Int> {
            if fails {
                for _ in 0..<yields { await Task.yield() }
                throw HistoryOrigin.Down()
            }
            let value = recorder.newValue(
                tags: Set(options.tags), sourceVersion: options.sourceVersion, isAbsence: isNone)
            if let span = options.expiry?.usable { recorder.setLifetime(span.clampedNanoseconds, of: value) }
            let began = recorder.tick()
            recorder.record(HistoryOperation(.loadBegan(value), from: began, to: began), on: key)
            for _ in 0..<yields { await Task.yield() }
            // A write of the loader's durability: what it is takes part in no promise here.
            recorder.record(HistoryOperation(.loadStored(value), from: recorder.tick(), to: nil), on: key)
            return Loaded(isNone ? nil : value, options)
        }
    }

    private mutating func answer() -> Answer {
        var answer = Answer(options: choose().options, isNone: chance(4), fails: false, yields: random.next() % 30)
        if plan.sourcesFail { answer.fails = chance(3) }
        // Tags are an entry's, and there is none.
        if answer.isNone, !plan.remembersAbsence, answer.options.expiry?.usable == nil { answer.options.tags = [] }
        return answer
    }

    private mutating func loader() -> Cache<String, Int>.Loader {
        let (answer, recorder) = (answer(), recorder)
        return { key in try await answer.give(key, recorder) }
    }

    mutating func load(_ key: String) async {
        let (loader, isCancelled, patience) = (loader(), chance(6), random.next() % 20)
        _ = await record(
            [key],
            body: {
                let call = Task { [cache] in try await cache.value(for: key, loading: loader) }
                if isCancelled {
                    for _ in 0..<patience { await Task.yield() }
                    call.cancel()
                }
                return try await call.value
            }, saw: { .loaded($0) })
    }

    mutating func refresh(_ key: String) async {
        let loader = loader()
        _ = await record([key], body: { try await cache.refresh(key, loading: loader) }, saw: { .loaded($0) })
    }

    mutating func loadMany() async {
        let keys = plan.registers.filter { _ in chance(2) }
        let answers = Dictionary(uniqueKeysWithValues: keys.map { ($0, answer()) })
        let recorder = recorder
        let from = recorder.tick()
        let found = try? await cache.values(
            for: keys,
            loading: { asked in
                try await withThrowingTaskGroup(of: (String, Loaded<Int>?).self) { group in
                    for key in asked { group.addTask { (key, try await answers[key]?.give(key, recorder)) } }
                    return try await group.reduce(into: [String: Loaded<Int>]()) { $0[$1.0] = $1.1 }
                }
            })
        let to = recorder.tick()
        guard let found else { return }
        for key in keys {
            recorder.record(HistoryOperation(.loaded(found[key]), from: from, to: to), on: key)
            note(.loaded(found[key]))
        }
    }

    /// The source has a key no more. While nobody else is there nothing stands in the way of its removal.
    func findGone(_ key: String) async {
        // Nobody waits any more for some that go on.
        while cache.loadsUnderWay.count > 0 { await Task.yield() }
        _ = await record(
            [key], body: { try await cache.refresh(key, loading: { _ in Loaded(nil) }) }, saw: { _ in .remove })
    }
}
