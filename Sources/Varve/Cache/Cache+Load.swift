public import VarveEngine

extension Cache {
    /// Brings a value home from where the cache's values come from.
    public typealias Loader = @Sendable (Key) async throws -> Loaded<Value>

    /// The value of a key; where the cache has none, it is loaded, stored and returned. Any number of callers of one key
    /// share one load. A caller that is cancelled leaves the others theirs; the last one to leave cancels it.
    ///
    /// A load that began before its key was written, removed or invalidated returns its value to those who waited for it,
    /// and is not stored. A hit in memory suspends nowhere.
    /// - Throws: what `load` throws; `ValueAbsent` where the source is known to have none, as only a loader that can say so
    ///   leaves behind; `LoadTimeout` and `LoadRefused` as the options say; `CancellationError` where the caller's task is
    ///   cancelled while he waits; `VarveError` of the disk: `.io` and `.corruption` where what it has of the key cannot be
    ///   read, `.closed`. That what was loaded cannot be stored throws nothing.
    @inlinable @inline(__always)
    public func value(
        for key: Key, load: @escaping @Sendable (Key) async throws -> Value
    ) async throws -> Value {
        let answer = memory.lookUp(key)
        if case .hit(let value) = answer { return value }
        if case .absent = answer { throw ValueAbsent() }
        let found = try foundAtOnce(key, answer)
        if let value = found.fresh { return value }
        let value = try await loadedValue(for: key, answer, found.entry) { Loaded(try await load($0)) }
        guard let value else { throw ValueAbsent() }
        return value
    }

    /// The same for a loader that says more than a value: its expiry, tags, source version, or that there is none. Nil
    /// where the source has none.
    /// - Throws: as `value(for:load:)`, `ValueAbsent` aside.
    @inlinable @inline(__always)
    public func value(for key: Key, loading load: @escaping Loader) async throws -> Value? {
        let answer = memory.lookUp(key)
        if case .hit(let value) = answer { return value }
        if case .absent = answer { return nil }
        let found = try foundAtOnce(key, answer)
        if let value = found.fresh { return value }
        return try await loadedValue(for: key, answer, found.entry, load)
    }

    /// Asks the source for a key anew and stores what comes, whatever the cache holds. A call to the source that is under
    /// way already is shared. Nil where the source has none.
    /// - Throws: as `value(for:loading:)`, though the cache holds a value: that stays then.
    @discardableResult
    public func refresh(_ key: Key, loading load: @escaping Loader) async throws -> Value? {
        let hash = memory.hash(key)
        while true {
            let found = try await outcome(key, hash, skipsDisk: true, load)
            // It may have been the load of somebody whom what lies on disk is good enough for.
            if !found.isFromDisk { return found.value }
        }
    }

    /// What the disk can tell of a key that memory has not, without waiting and without a task: the entry, and its value if
    /// that may be served as it is.
    @inlinable
    func foundAtOnce(
        _ key: Key, _ answer: MemoryAnswer<Value>
    ) throws(VarveError) -> (entry: MemoryEntry<Key, Value>?, fresh: Value?) {
        guard case .miss = answer, case .entry(let entry) = try fetchAtOnce(key, memory.hash(key), for: .loadCaller)
        else {
            return (nil, nil)
        }
        let until = entry.back.deadlines.freshUntil
        return (entry, until == .max || until > memory.context.now() ? entry.front.value : nil)
    }

    /// After memory had no fresh value. `found`: what the disk told at once.
    @usableFromInline
    func loadedValue(
        for key: Key, _ answer: MemoryAnswer<Value>, _ found: MemoryEntry<Key, Value>?, _ load: @escaping Loader
    ) async throws -> Value? {
        let hash = memory.hash(key)
        switch answer {
        case .hit(let value): return value
        case .absent: return nil
        case .due(let value):
            refreshBehind(key, hash, load)
            return value
        case .stale: if let stale = stale(key, hash) { return try await refreshed(key, hash, stale, load) }
        case .miss: break
        }
        if let found {
            guard found.deadlines.freshUntil <= store.clock.now(), let stale = Servable(found, isStale: true) else {
                return found.value
            }
            return try await refreshed(key, hash, stale, load)
        }
        let seat = try place(key, hash, skipsDisk: false, load)
        defer { seat.load.leave() }
        let looked = try await look(key, hash, in: seat)
        let found: Load<Value>.Found
        if let looked { found = looked } else { found = try await outcome(key, hash, of: seat, skipsDisk: false, load) }
        guard found.isStale, let stale = Servable(found) else { return found.value }
        // What he found beside a refresh that one is for.
        return try await refreshed(key, hash, stale, in: looked == nil ? nil : seat, load)
    }

    /// What memory has, with its deadline; nil where it is gone since it was found: the disk may have it yet.
    private func stale(_ key: Key, _ hash: UInt64) -> Servable<Value>? {
        memory.withShard(hash) { $0.peek(key, hash) }.flatMap { Servable($0, isStale: true) }
    }

    /// Has a key loaded anew that nobody waits for. Not where that would be refused: each hit would begin it.
    private func refreshBehind(_ key: Key, _ hash: UInt64, _ load: @escaping Loader) {
        if loadGuard.refuses(key, at: store.clock.now()) { return }
        // Nobody abandons it. Where the cache is just being closed there is none.
        _ = try? place(key, hash, isBackground: true, skipsDisk: true, load)
    }

    /// A stale value, or the fresh one if that comes soon enough. Whether the stale one may be served is judged when it
    /// is. `own`: the caller's place in the refresh, if he has one, which he gives back himself; no other is begun, however
    /// that one ended, unless what it brought is outdated for him.
    private func refreshed(
        _ key: Key, _ hash: UInt64, _ stale: Servable<Value>, in own: Seat? = nil, _ load: @escaping Loader
    ) async throws -> Value? {
        let timeout = options.loading.softTimeout
        if timeout == .zero, store.clock.now() < stale.until {
            if let own { own.load.goOn() } else { refreshBehind(key, hash, load) }
            counts.add(.staleServed)
            return stale.value
        }
        let asked = Latencies.now()
        if own != nil { counts.add(.joined) }
        var (first, outdated) = (own, Successor<Value>?.none)
        while true {
            let isOwn = first != nil
            let seat = try first ?? place(key, hash, skipsDisk: true, after: outdated, load)
            first = nil
            let shared = seat.load
            defer { if !isOwn { shared.leave() } }
            guard let found = try await fresh(in: shared, over: stale, since: asked) else {
                counts.add(.staleServed)
                return stale.value
            }
            outdated = outdated == nil && isOutdated(found, for: seat) ? seat.successor : nil
            if outdated == nil, !found.isFromDisk || !found.isStale { return found.value }
        }
    }

    /// What a load finds for one who has a stale value; nil: he is served that, since the load takes longer than the soft
    /// timeout, and goes on, or has failed. `asked`: when he came.
    func fresh(
        in load: Load<Value>, over stale: Servable<Value>, since asked: Int64
    ) async throws -> Load<Value>.Found? {
        do {
            let waited = Duration.nanoseconds(Latencies.now() &- asked)
            let timeout = options.loading.softTimeout.map { max(.zero, $0 - waited) }
            if let found = try await load.wait(atMost: timeout) { return found }
            guard store.clock.now() < stale.until else { return try await load.wait() }
            load.goOn()
            return nil
        } catch {
            if Task.isCancelled || store.clock.now() >= stale.until { throw error }
            return nil
        }
    }

    /// What the key's load finds, or that of one more where it was outdated before this caller came.
    private func outcome(
        _ key: Key, _ hash: UInt64, skipsDisk: Bool, _ load: @escaping Loader
    ) async throws -> Load<Value>.Found {
        let seat = try place(key, hash, skipsDisk: skipsDisk, load)
        defer { seat.load.leave() }
        return try await outcome(key, hash, of: seat, skipsDisk: skipsDisk, load)
    }

    /// The same where the caller has his place, and gives it back himself.
    private func outcome(
        _ key: Key, _ hash: UInt64, of seat: Seat, skipsDisk: Bool, _ load: @escaping Loader
    ) async throws -> Load<Value>.Found {
        let found = try await seat.load.wait()
        guard isOutdated(found, for: seat) else { return found }
        let next = try place(key, hash, skipsDisk: skipsDisk, after: seat.successor, load)
        defer { next.load.leave() }
        return try await next.load.wait()
    }

    /// Whether what was found on disk has expired since, or a tag of what was found was dropped after its load began and
    /// before the caller came, who must not get it then. Any load that begins after this one's end is good enough: it begins
    /// after the caller came.
    func isOutdated(_ found: Load<Value>.Found, for seat: Seat) -> Bool {
        found.usableUntil <= store.clock.now()
            || memory.context.tags.wasDropped(
                found.tags, from: found.version, after: seat.load.drops, upTo: seat.drops)
    }

    /// A caller's place in a load, to be given back.
    struct Seat: Sendable {
        let load: Load<Value>
        /// Where the next load stands, should this one be outdated for the caller.
        let successor: Successor<Value>
        /// Whether the load was begun for this caller.
        let isNew: Bool
        /// How many drops of tags there had been when the caller came. A load's tags are known when it has ended, so
        /// all share it until then.
        let drops: UInt64
        /// Whether the caller looks at the disk before he waits: what lies there is good enough for him, and the load under
        /// way does not ask it. He has his place meanwhile: it is his refresh of what he finds stale, and where there is
        /// nothing he shares it, though it has ended.
        var looksFirst = false
    }

    /// A place in the load of a key that is under way, or in a new one, which is begun.
    func place(
        _ key: Key, _ hash: UInt64, isBackground: Bool = false, skipsDisk: Bool,
        after outdated: Successor<Value>? = nil, _ load: @escaping Loader
    ) throws(VarveError) -> Seat {
        let seat = try seat(key, hash, isBackground: isBackground, skipsDisk: skipsDisk, after: outdated)
        if seat.isNew { begin(Begun(load: seat.load, key: key, hash: hash), load) }
        return seat
    }

    /// The same, where the caller has to begin what is new. In the background: without a place, and in one that goes on by
    /// itself where it is new. `after`: in the one that began after the end of an outdated one.
    func seat(
        _ key: Key, _ hash: UInt64, isBackground: Bool = false, skipsDisk: Bool, after outdated: Successor<Value>? = nil
    ) throws(VarveError) -> Seat {
        if gate.isClosed { throw OperationGate.refusal }
        let now = store.clock.now()
        let drops = memory.context.tags.generation
        // The former one may be the last of a value's owners, and ends when the lock is free.
        let (seat, _) = memory.withShard(hash) { shard -> (Seat, Load<Value>?) in
            let former = outdated?.load
            if let former, let next = former.join(at: now) {
                return (Seat(load: former, successor: next, isNew: false, drops: drops), former)
            }
            if let present = shard.loads[key], let next = present.join(at: now, isBackground: isBackground) {
                outdated?.load = present
                // Who comes from an outdated load waits for the source anyway.
                let looksFirst = present.skipsDisk && !skipsDisk && disk != nil && outdated == nil
                let seat = Seat(load: present, successor: next, isNew: false, drops: drops, looksFirst: looksFirst)
                return (seat, former)
            }
            let next = Successor<Value>()
            let new = Load<Value>(goesOn: isBackground, drops: drops, skipsDisk: skipsDisk, successor: next)
            shard.loads[key] = new
            outdated?.load = new
            shard.beginFlight(key)
            return (Seat(load: new, successor: next, isNew: true, drops: drops), former)
        }
        let shared = seat.load
        if !seat.isNew {
            // Who waits for another in the end is counted once; who looks at the disk first, where he waits after all.
            if !isBackground, outdated == nil, !seat.looksFirst { counts.add(.joined) }
            return seat
        }
        if !loadsUnderWay.add(shared) {
            // The cache was closed meanwhile.
            shared.abort(OperationGate.refusal)
            memory.withShard(hash) { shard in
                if shard.loads[key] === shared { shard.loads[key] = nil }
                shard.endFlight(key)
            }
            throw OperationGate.refusal
        }
        return seat
    }
}

extension Result where Failure == any Error {
    /// What an async body returns or throws.
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

/// The source has no value for a key, as a loader that can say so found.
public struct ValueAbsent: Error, Sendable, CustomStringConvertible {
    @usableFromInline init() {}
    /// For people.
    public var description: String { "the source has no value for the key" }
}
