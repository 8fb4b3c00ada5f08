import Synchronization
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Writing through to an origin, and loading from it.
///
/// A write through counts as two changes: the removal, which is durable before the origin is asked, and then what the call
/// leaves in the cache between the origin's answer and its own return: the new value, or none.
extension HistoryClient {
    mutating func useOrigin(_ key: String) async {
        switch random.next() % 16 {
        case 0..<5: await setThrough(key)
        case 5: await completeThrough(key)
        case 6..<8: await removeThrough(key)
        case 8..<11: await loadFromOrigin(key)
        case 11: await refreshFromOrigin(key)
        case 12..<14: await read(key)
        case 14: await set(key)
        default: await remove(key)
        }
    }

    /// When the origin was asked and when it answered, as ticks.
    private final class Call: Sendable {
        struct Times {
            var asked: Int?
            var answered: Int?
        }
        let times = Mutex(Times())
        let origin: HistoryOrigin
        let life: Int
        let recorder: HistoryRecorder
        let fate: HistoryOrigin.Fate
        let (before, after): (UInt64, UInt64)

        init(_ client: inout HistoryClient) {
            (origin, life, recorder) = (client.origin, client.life, client.recorder)
            fate = client.chance(3) ? client.pick(HistoryOrigin.Fate.allCases) : .done
            before = client.random.next() % 20
            after = client.random.next() % 20
        }

        func write(_ row: Int?, _ key: String) async throws {
            let asked = recorder.tick()
            times.withLock { $0.asked = asked }
            defer {
                let answered = recorder.tick()
                times.withLock { $0.answered = answered }
            }
            for _ in 0..<before { await Task.yield() }
            try Task.checkCancellation()
            let outcome = Result { try origin.write(row, key, fate, life: life) }
            for _ in 0..<after { await Task.yield() }
            try outcome.get()
            try Task.checkCancellation()
        }
    }

    /// What of a call is known once it has returned.
    private enum Outcome {
        case stored
        /// Nobody can tell from the answer.
        case storedOrAbsent
        case absent
        case failed(any Error)
    }

    private mutating func setThrough(_ key: String) async {
        let (choice, call) = (choose(), Call(&self))
        await writeThrough(key, choice, call) { cache in
            let version = try await cache.set(choice.value, for: key, choice.options) { key, value in
                try await call.write(value, key)
            }
            return version == nil ? .absent : .stored
        }
    }

    private mutating func completeThrough(_ key: String) async {
        // A miss afterwards is right only where misses are.
        guard plan.mayForget else { return }
        var choice = choose(isVersioned: false)
        choice.options.durability = nil
        let call = Call(&self)
        await writeThrough(key, choice, call) { [choice] cache in
            let brought = try await cache.write(key) { key in
                try await call.write(choice.value, key)
                return Loaded(choice.value, choice.options)
            }
            return brought == choice.value ? .storedOrAbsent : .absent
        }
    }

    private mutating func removeThrough(_ key: String) async {
        let call = Call(&self)
        await writeThrough(key, nil, call) { cache in
            try await cache.remove(key) { try await call.write(nil, $0) }
            return .absent
        }
    }

    private mutating func writeThrough(
        _ key: String, _ choice: Choice?, _ call: Call,
        _ body: @escaping @Sendable (Cache<String, Int>) async throws -> Outcome
    ) async {
        let (isCancelled, patience) = (chance(8), random.next() % 40)
        let from = recorder.tick()
        let task = Task { [cache] in try await body(cache) }
        if isCancelled {
            for _ in 0..<patience { await Task.yield() }
            task.cancel()
        }
        let outcome: Outcome
        do { outcome = try await task.value } catch { outcome = .failed(error) }
        let to = recorder.tick()
        record(key, choice, outcome, call, from: from, to: to)
    }

    private func record(
        _ key: String, _ choice: Choice?, _ outcome: Outcome, _ call: Call, from: Int, to: Int
    ) {
        func note(_ action: HistoryOperation.Action, _ from: Int, _ to: Int?, isSynced: Bool = false) {
            recorder.record(HistoryOperation(action, from: from, to: to, isSynced: isSynced), on: key)
        }
        let times = call.times.withLock { $0 }
        guard let asked = times.asked, let answered = times.answered else {
            // The origin was not asked: the key is gone, or as it was.
            if case .failed(let error as VarveError) = outcome, !error.leavesNothingWritten {
                note(.remove, from, nil, isSynced: true)
            }
            return
        }
        note(.remove, from, asked, isSynced: true)
        switch outcome {
        case .stored, .storedOrAbsent:
            if let choice { note(.set(choice.value), answered, to, isSynced: choice.isSynced) }
        case .absent, .failed:
            // It may have been stored in passing (by one who is cancelled, or dead by now), as what a load brings is: unless
            // anybody changed the key since, and not beyond the end.
            if let choice {
                note(.loadBegan(choice.value), answered, answered)
                note(.loadStored(choice.value), answered, nil)
            }
            // Where the disk refuses the removal too, nobody knows.
            let isRefused = if case .failed(let error) = outcome { error is VarveError } else { false }
            note(.remove, answered, isRefused ? nil : to)
        }
    }

    // MARK: Loading

    private mutating func originLoader() -> Cache<String, Int>.Loader {
        let (options, before, after) = (choose().options, random.next() % 10, random.next() % 30)
        return { [origin, recorder, remembersAbsence = plan.remembersAbsence] key in
            for _ in 0..<before { await Task.yield() }
            let (value, isNone) = origin.load(key, options, remembersAbsence: remembersAbsence, recorder)
            for _ in 0..<after { await Task.yield() }
            recorder.record(HistoryOperation(.loadStored(value), from: recorder.tick(), to: nil), on: key)
            return Loaded(isNone ? nil : value, options)
        }
    }

    private mutating func loadFromOrigin(_ key: String) async {
        let loader = originLoader()
        _ = await record(
            [key], body: { try await cache.value(for: key, loading: loader) }, saw: { .loaded($0) })
    }

    private mutating func refreshFromOrigin(_ key: String) async {
        let loader = originLoader()
        _ = await record(
            [key], body: { try await cache.refresh(key, loading: loader) }, saw: { .loaded($0) })
    }
}
