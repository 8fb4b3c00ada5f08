import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// One of many clients that do everything to a cache's registers at once, and write down what they saw.
struct HistoryClient {
    let cache: Cache<String, Int>
    let recorder: HistoryRecorder
    let plan: HistoryPlan
    let clock: ManualClock
    let origin: HistoryOrigin
    /// The process' number to the origin.
    let life: Int
    var random: SplitMix
    /// What this client knows of registers: for conditional writes.
    private var known: [String: (value: Int, version: EntryVersion)] = [:]

    init(
        _ cache: Cache<String, Int>, _ recorder: HistoryRecorder, _ plan: HistoryPlan, _ clock: ManualClock,
        _ origin: HistoryOrigin, life: Int, seed: UInt64
    ) {
        (self.cache, self.recorder, self.plan, self.clock) = (cache, recorder, plan, clock)
        (self.origin, self.life) = (origin, life)
        random = SplitMix(seed)
    }

    mutating func chance(_ oneIn: UInt64) -> Bool { random.next() % oneIn == 0 }
    mutating func pick<T>(_ items: [T]) -> T { items[Int(random.next() % UInt64(items.count))] }

    mutating func run(_ operations: Int) async {
        for _ in 0..<operations {
            if Task.isCancelled { return }
            if !plan.origins.isEmpty, chance(2) {
                await useOrigin(pick(plan.origins))
                continue
            }
            let key = pick(plan.registers)
            switch random.next() % 32 {
            case 0..<6: await read(key)
            case 6..<11: await set(key)
            case 11..<13: if plan.isVersioned, chance(2) { await removeOlder(key) } else { await remove(key) }
            case 13..<16: if chance(4) { await compareAndRemove(key) } else { await compareAndSet(key) }
            case 16: await add(key)
            case 17: await replace(key)
            case 18..<20: await take(key)
            case 20..<25: await load(key)
            case 25: await refresh(key)
            case 26: await loadMany()
            case 27: await drop()
            case 28:
                if chance(2) { if plan.isVersioned, chance(2) { await removeAllOlder() } else { await removeAll() } }
            default: await increment(pick(plan.counters))
            }
            if chance(3) { await Task.yield() }
        }
    }

    /// Reads everything, while nobody else is there: what is left is judged too. And what the source has no more is gone.
    mutating func readAll() async {
        for key in plan.keys {
            await read(key)
            guard plan.registers.contains(key), chance(2) else { continue }
            await findGone(key)
            await read(key)
        }
    }

    // MARK: Writing down

    /// Does something and records it, on every key that it covers. `attempted`: what may have happened where it threw.
    func record<R>(
        _ keys: [String], isSynced: Bool = false, attempted: HistoryOperation.Action? = nil, body: () async throws -> R,
        saw: (R) -> HistoryOperation.Action?
    ) async -> R? {
        let from = recorder.tick()
        do {
            let result = try await body()
            let to = recorder.tick()
            if let action = saw(result) {
                note(action)
                for key in keys {
                    recorder.record(HistoryOperation(action, from: from, to: to, isSynced: isSynced), on: key)
                }
            }
            return result
        } catch {
            if let action = refusing(error) {
                let to = recorder.tick()
                for key in keys {
                    recorder.record(HistoryOperation(action, from: from, to: to, isSynced: isSynced), on: key)
                }
            }
            let isKnown = (error as? VarveError)?.leavesNothingWritten ?? false
            if let attempted, !isKnown {
                for key in keys {
                    recorder.record(HistoryOperation(attempted, from: from, to: nil, isSynced: isSynced), on: key)
                }
            }
            return nil
        }
    }

    /// What it means that a source version was refused: what is known of the key itself did it, or floors that keys share,
    /// and then what was there is gone.
    private func refusing(_ error: any Error) -> HistoryOperation.Action? {
        guard case .olderSourceVersion(let given, _, let isShared)? = (error as? VarveError)?.failedCondition?.reason
        else { return nil }
        return isShared ? .displaced : .refused(given)
    }

    struct Choice: Sendable {
        var value: Int
        var options: EntryOptions
        var isSynced: Bool { options.durability == .synced }
    }

    mutating func choose(isVersioned: Bool = true) -> Choice {
        let tags = plan.tags.filter { _ in chance(3) }
        var options = EntryOptions(tags: tags, durability: pick(plan.durabilities))
        if plan.expires, chance(2) { options.expiry = .after(.milliseconds(5)) }
        if plan.refreshes != nil, chance(2) {
            options.expiry = Expiry(usable: options.expiry?.usable, fresh: .milliseconds(2))
        }
        if isVersioned, plan.isVersioned, !chance(4) { options.sourceVersion = sourceVersion() }
        let value = recorder.newValue(tags: Set(tags), sourceVersion: options.sourceVersion)
        return Choice(value: value, options: options)
    }

    /// One that is new, or late.
    private mutating func sourceVersion() -> UInt64 {
        let late = chance(2) ? Int(random.next() % 120) : 0
        return UInt64(max(1, recorder.tick() - late))
    }

    /// A value was written at this time at the latest.
    private func note(_ choice: Choice) {
        guard let span = choice.options.expiry?.usable else { return }
        recorder.setDeadline(Deadlines.add(span.clampedNanoseconds, to: cache.store.clock.now()), of: choice.value)
    }

    /// A value that was loaded and seen was stored at this time at the latest.
    func note(_ action: HistoryOperation.Action) {
        switch action {
        case .read(let value?), .loaded(let value?): recorder.saw(value, by: cache.store.clock.now())
        default: break
        }
    }

    // MARK: Operations

    mutating func read(_ key: String) async {
        if chance(2) {
            _ = await record([key], body: { try await cache.value(for: key) }, saw: { .read($0) })
        } else if chance(4) {
            _ = await record([key], body: { cache.valueInMemory(for: key) }, saw: { $0.map { .read($0) } })
        } else {
            let entry = await record([key], body: { try await cache.entry(for: key) }, saw: { .read($0?.value) })
            known[key] = entry.flatMap { $0 }.map { ($0.value, $0.version) }
        }
    }

    mutating func set(_ key: String) async {
        let choice = choose()
        let version = await record(
            [key], isSynced: choice.isSynced, attempted: .set(choice.value),
            body: { try await cache.set(choice.value, for: key, choice.options) }, saw: { _ in .set(choice.value) })
        note(choice)
        known[key] = version.map { (choice.value, $0) }
    }

    mutating func remove(_ key: String) async {
        let durability = pick(plan.durabilities)
        _ = await record(
            [key], isSynced: durability == .synced, attempted: .remove,
            body: { try await cache.remove(key, durability: durability) }, saw: { .remove })
    }

    private mutating func removeOlder(_ key: String) async {
        let (durability, version) = (pick(plan.durabilities), sourceVersion())
        _ = await record(
            [key], isSynced: durability == .synced, attempted: .removeOlder(than: version),
            body: { try await cache.remove(key, olderThan: version, durability: durability) },
            saw: { $0 ? .removeOlder(than: version) : nil })
    }

    private mutating func compareAndSet(_ key: String) async {
        if known[key] == nil { await read(key) }
        guard let expected = known[key] else { return }
        let choice = choose()
        let version = await record(
            [key], isSynced: choice.isSynced,
            attempted: .compareAndSet(expected: expected.value, to: choice.value, succeeded: true),
            body: { try await cache.set(choice.value, for: key, ifVersion: expected.version, choice.options) },
            saw: { .compareAndSet(expected: expected.value, to: choice.value, succeeded: $0 != nil) })
        note(choice)
        known[key] = version.flatMap { $0 }.map { (choice.value, $0) }
    }

    private mutating func compareAndRemove(_ key: String) async {
        if known[key] == nil { await read(key) }
        guard let expected = known[key] else { return }
        let durability = pick(plan.durabilities)
        _ = await record(
            [key], isSynced: durability == .synced,
            attempted: .compareAndRemove(expected: expected.value, succeeded: true),
            body: { try await cache.remove(key, ifVersion: expected.version, durability: durability) },
            saw: { .compareAndRemove(expected: expected.value, succeeded: $0) })
        known[key] = nil
    }

    private mutating func add(_ key: String) async {
        let choice = choose()
        _ = await record(
            [key], isSynced: choice.isSynced,
            attempted: .compareAndSet(expected: nil, to: choice.value, succeeded: true),
            body: { try await cache.add(choice.value, for: key, choice.options) },
            saw: { .compareAndSet(expected: nil, to: choice.value, succeeded: $0 != nil) })
        note(choice)
    }

    private mutating func replace(_ key: String) async {
        let choice = choose()
        _ = await record(
            [key], isSynced: choice.isSynced, attempted: .replace(with: choice.value, succeeded: true),
            body: { try await cache.replace(choice.value, for: key, choice.options) },
            saw: { .replace(with: choice.value, succeeded: $0 != nil) })
        note(choice)
    }

    private mutating func take(_ key: String) async {
        let durability = pick(plan.durabilities)
        _ = await record(
            [key], isSynced: durability == .synced, attempted: .remove,
            body: { try await cache.take(key, durability: durability) }, saw: { .take($0) })
    }

    private mutating func increment(_ key: String) async {
        let durability = pick(plan.durabilities)
        // What it would have made of the counter is not known where it failed: such a history says nothing of it.
        _ = await record(
            [key], isSynced: durability == .synced, attempted: .incrementUnanswered(by: 1),
            body: { try await cache.increment(key, by: 1, EntryOptions(durability: durability)) },
            saw: { .increment(by: 1, result: $0) })
    }

    private mutating func drop() async {
        guard !plan.tags.isEmpty else { return }
        let (tag, durability) = (pick(plan.tags), pick(plan.durabilities))
        _ = await record(
            plan.registers + plan.origins, isSynced: durability == .synced, attempted: .drop(tag: tag),
            body: { try await cache.remove(taggedWith: tag, durability: durability) }, saw: { .drop(tag: tag) })
    }

    private mutating func removeAllOlder() async {
        let version = sourceVersion()
        let prefix = pick(plan.prefixes)
        _ = await record(
            plan.keys.filter { $0.hasPrefix(prefix) }, isSynced: true, attempted: .removeAllOlder(than: version),
            body: { try await cache.removeAll(withPrefix: prefix, olderThan: version) },
            saw: { .removeAllOlder(than: version) })
    }

    private mutating func removeAll() async {
        let durability = pick(plan.durabilities)
        let prefix = pick(plan.prefixes)
        _ = await record(
            plan.keys.filter { $0.hasPrefix(prefix) }, isSynced: durability == .synced, attempted: .remove,
            body: { try await cache.removeAll(withPrefix: prefix, durability: durability) }, saw: { .remove })
    }
}
