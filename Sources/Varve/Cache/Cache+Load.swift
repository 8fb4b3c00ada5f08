internal import VarveEngine

extension Cache {
    /// Brings a value home from where the cache's values come from.
    public typealias Loader = @Sendable (Key) async throws -> Loaded<Value>

    /// The value of a key; where the cache has none, it is loaded, stored and returned. Any number of callers of one key
    /// share one load. A caller that is cancelled leaves the others theirs; the last one to leave cancels it.
    ///
    /// A load that began before its key was written, removed or invalidated returns its value to those who waited for it,
    /// and is not stored. A hit in memory suspends nowhere.
    /// - Throws: what `load` throws; `LoadTimeout` and `LoadRefused` as the options say; `VarveError` of the disk.
    @inlinable
    public func value(
        for key: Key, load: @escaping @Sendable (Key) async throws -> Value
    ) async throws -> Value {
        let answer = memory.lookUp(key)
        if case .hit(let value) = answer { return value }
        let value = try await loadedValue(for: key, answer) { Loaded(try await load($0)) }
        guard let value else { throw ValueAbsent() }
        return value
    }

    /// The same for a loader that says more than a value: its expiry, tags, source version, or that there is none. Nil
    /// where the source has none.
    @inlinable
    public func value(for key: Key, loading load: @escaping Loader) async throws -> Value? {
        let answer = memory.lookUp(key)
        if case .hit(let value) = answer { return value }
        return try await loadedValue(for: key, answer, load)
    }

    /// Loads a key anew and stores what comes, whatever the cache holds.
    @discardableResult
    public func refresh(_ key: Key, loading load: @escaping Loader) async throws -> Value? {
        let hash = memory.hash(key)
        return try await join(key, hash, skipsDisk: true, load).wait(atMost: nil)
    }

    /// After memory had no fresh value.
    @usableFromInline
    func loadedValue(
        for key: Key, _ answer: MemoryAnswer<Value>, _ load: @escaping Loader
    ) async throws -> Value? {
        let hash = memory.hash(key)
        switch answer {
        case .hit(let value): return value
        case .absent: return nil
        case .stale(let value): return try await refreshed(key, hash, value, load)
        case .miss: break
        }
        // What the disk can tell without waiting needs no task of its own.
        if let entry = try fetchWithoutWaiting(key, hash) {
            guard let value = entry.value else { return nil }
            if entry.deadlines.freshUntil > store.clock.now() { return value }
            return try await refreshed(key, hash, value, load)
        }
        return try await join(key, hash, skipsDisk: false, load).wait(atMost: nil)
    }

    /// A stale value, or the fresh one if that comes soon enough.
    private func refreshed(_ key: Key, _ hash: UInt64, _ stale: Value, _ load: @escaping Loader) async throws -> Value?
    {
        if options.loading.softTimeout == .zero {
            // The refresh keeps the creator's place until it has ended: nobody waits for it, and nobody abandons it.
            _ = joinUnderWay(key, hash, isBackground: true, skipsDisk: true, load)
            counts.add(.staleServed)
            return stale
        }
        do {
            return try await join(key, hash, skipsDisk: true, load).wait(atMost: options.loading.softTimeout)
        } catch is CancellationError where Task.isCancelled {
            throw CancellationError()
        } catch {
            counts.add(.staleServed)
            return stale
        }
    }

    private func join(_ key: Key, _ hash: UInt64, skipsDisk: Bool, _ load: @escaping Loader) -> Load<Value> {
        joinUnderWay(key, hash, isBackground: false, skipsDisk: skipsDisk, load)
    }

    /// The load of a key that is under way, with a place in it, or a new one. In the background: without a place, unless
    /// it is new.
    private func joinUnderWay(
        _ key: Key, _ hash: UInt64, isBackground: Bool, skipsDisk: Bool, _ load: @escaping Loader
    ) -> Load<Value> {
        place(key, hash, isBackground: isBackground, skipsDisk: skipsDisk, load).load
    }

    /// The same, and whether it is new.
    func place(
        _ key: Key, _ hash: UInt64, isBackground: Bool = false, skipsDisk: Bool, _ load: @escaping Loader
    ) -> (load: Load<Value>, isNew: Bool) {
        let (shared, isNew) = memory.withShard(hash) { shard in
            if let present = shard.loads[key] {
                if isBackground || present.join() { return (present, false) }
            }
            let new = Load<Value>()
            shard.loads[key] = new
            shard.beginFlight(key)
            return (new, true)
        }
        if isNew {
            shared.begin(Task { await self.carryOut(shared, key, hash, isBackground, skipsDisk, load) })
        } else if !isBackground {
            counts.add(.joined)
        }
        return (shared, isNew)
    }

    private func carryOut(
        _ shared: Load<Value>, _ key: Key, _ hash: UInt64, _ isBackground: Bool, _ skipsDisk: Bool,
        _ load: @escaping Loader
    ) async {
        var outcome: Load<Value>.Outcome
        var isStale = false
        do {
            let held = skipsDisk ? nil : try await fetch(key, isForLoad: true)
            if let held, held.deadlines.freshUntil > store.clock.now() {
                outcome = .success(held.value)
            } else if let stale = held?.value, options.loading.softTimeout == .zero {
                outcome = .success(stale)
                isStale = true
            } else {
                let isFirst = held == nil && !skipsDisk
                outcome = await Result { try await loadAndStore(key, hash, isFirst: isFirst, load) }
                // What is stale may be had when nothing better comes; nobody waits any more where the load was cancelled.
                if case .failure(let error) = outcome, !(error is CancellationError), let stale = held?.value {
                    outcome = .success(stale)
                    counts.add(.staleServed)
                }
            }
        } catch {
            outcome = .failure(error)
        }
        memory.withShard(hash) { shard in
            if shard.loads[key] === shared { shard.loads[key] = nil }
            shard.endFlight(key)
        }
        shared.finish(outcome)
        if isBackground { shared.leave() }
        if isStale {
            counts.add(.staleServed)
            _ = joinUnderWay(key, hash, isBackground: true, skipsDisk: true, load)
        }
    }

    /// One load, guarded and timed, and its result stored unless something newer has come.
    /// `isFirst`: the disk holds nothing of the key that the result would have to replace.
    private func loadAndStore(
        _ key: Key, _ hash: UInt64, isFirst: Bool, _ load: @escaping Loader
    ) async throws -> Value? {
        do throws(LoadRefused) { try loadGuard.admit(key, at: store.clock.now()) } catch {
            counts.add(.loadRefused)
            throw error
        }
        // Everything up to here is visible to whatever the source is asked: what comes later outdates the result.
        let visible = memory.change(hash) { shard, discarded in
            let visible = disk?.visible.rawValue ?? store.presentVersion
            if disk != nil { shard.beginLoad(key, hash, at: visible, &discarded) }
            return visible
        }
        let began = memory.context.tags.beginLoad(at: visible)
        let start = Latencies.now()
        counts.add(.load)
        let loaded: Loaded<Value>
        do {
            defer { latencies.load.add(since: start) }
            loaded = try await bounded(key, load)
        } catch {
            if error is CancellationError {
                loadGuard.noteCancelled()
            } else {
                counts.add(.loadFailure)
                loadGuard.noteFailure(key, error, at: store.clock.now())
            }
            throw error
        }
        loadGuard.noteSuccess(key)
        let took = Latencies.now() &- start
        try await keep(loaded, key, hash, began: began, took: took, isFirst: isFirst)
        return loaded.value
    }

    /// The loader's result, or `LoadTimeout` after the hard timeout.
    private func bounded(_ key: Key, _ load: @escaping Loader) async throws -> Loaded<Value> {
        guard let limit = options.loading.hardTimeout else { return try await load(key) }
        return try await withThrowingTaskGroup(of: Loaded<Value>?.self) { group in
            group.addTask { try await load(key) }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let loaded = first else {
                counts.add(.loadTimeout)
                throw LoadTimeout(isSoft: false)
            }
            return loaded
        }
    }

    /// Stores what a load brought, unless its key was written or removed since it began.
    private func keep(
        _ loaded: Loaded<Value>, _ key: Key, _ hash: UInt64, began: UInt64, took: Int64, isFirst: Bool
    ) async throws {
        var entry = loaded.options
        if loaded.value == nil {
            guard let absence = entry.expiry?.usable ?? options.loading.absence else { return }
            entry.expiry = .after(absence)
        }
        let change = try change(loaded.value, entry, .loaded, loadNanoseconds: took)
        guard case .entry(let new) = change else { return }
        if isFirst, let disk, !new.isPinned, !disk.admits(key) {
            keepInMemory(new, key, hash, began: began)
            counts.add(.diskWriteAvoided)
            return
        }
        do throws(VarveError) {
            if try await !store(new, key, hash, began: began, entry.durability) { counts.add(.loadOutdated) }
        } catch {
            guard error.isPassing else { throw error }
            // The value is good, only the disk could not take it: it lives in memory until it is evicted.
            keepInMemory(new, key, hash, began: began)
            counts.add(.loadUnstored)
        }
    }

    /// Where the disk holds nothing of the key, as far as it can tell at once: what it holds would show again when memory
    /// has forgotten this.
    private func keepInMemory(_ new: NewEntry, _ key: Key, _ hash: UInt64, began: UInt64) {
        guard let disk, case .absent? = try? key.withKeyBytes({ try disk.probe($0) }) else { return }
        memory.change(hash) { shard, discarded in
            if shard.mayBeOutdated(key, since: began) { return }
            _ = shard.publish(makeEntry(new, key, hash, began, []), .load, &discarded)
        }
    }

    /// Commits a load's result; false, with nothing written, where its key was written or removed since the load began.
    ///
    /// Who writes or removes a key says so before (a flight that writes, a tag's drop, a removal of many). So what a look
    /// at memory does not show has not been committed by then, and everything that is committed after the look the
    /// engine finds by itself.
    private func store(
        _ new: NewEntry, _ key: Key, _ hash: UInt64, began: UInt64, _ durability: Durability?
    ) async throws(VarveError) -> Bool {
        while true {
            let looked = disk?.visible.rawValue ?? store.presentVersion
            let isOutdated = memory.withShard(hash) { $0.mayBeOutdated(key, since: began) }
            guard !isOutdated, memory.context.tags.keeps(new.tags, version: began + 1, evenIfPending: false) else {
                return false
            }
            let demand = Demand.unchanged(since: disk == nil ? began : looked, notOlder: new.sourceVersion)
            do throws(VarveError) {
                _ = try await commit(key, .entry(new), demand, durability)
                return true
            } catch {
                guard error.code == .conditionFailed else { throw error }
                // A flush hides from the engine what was written lately: look again, once it can be seen.
                guard case .changed = error.failedCondition?.reason else { return false }
                try await disk?.engine.settle()
            }
        }
    }

    /// An entry that the disk can tell without waiting, brought to memory.
    private func fetchWithoutWaiting(_ key: Key, _ hash: UInt64) throws(VarveError) -> MemoryEntry<Key, Value>? {
        guard let disk else { return nil }
        memory.withShard(hash) { $0.beginFlight(key) }
        defer { memory.withShard(hash) { $0.endFlight(key) } }
        let began = Latencies.now()
        let probe = try key.withKeyBytes { (bytes) throws(VarveError) in try disk.probe(bytes) }
        guard case .entry(let stored) = probe, let entry = admit(stored, key, hash) else { return nil }
        counts.add(.diskHit)
        latencies.diskRead.add(since: began)
        return entry
    }
}

extension Result where Failure == any Error {
    /// What an async body returns or throws.
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

/// The source has no value for a key, as was found before; only where a loader that can say so filled the cache.
public struct ValueAbsent: Error, Sendable, CustomStringConvertible {
    @usableFromInline init() {}
    public var description: String { "the source is known to have no value for the key" }
}

extension VarveError {
    /// Whether a write that failed so may succeed later, and the store is sound.
    var isPassing: Bool { [.diskFull, .stalled].contains(code) }
}
