extension Cache {
    /// Brings home the values of many keys in one call. A key that is missing from what it returns is one that the source
    /// has not.
    public typealias BatchLoader = @Sendable ([Key]) async throws -> [Key: Loaded<Value>]

    /// The values of many keys; those that the cache has not are asked for in one call of `load` and stored. Keys that
    /// it brings no value for are left out. Keys whose load is under way already are waited for, not asked for again.
    /// Stale values are asked for in the same call; for how long the fresh ones are waited for says the soft timeout, as for
    /// one key. What expires before the call returns is loaded too.
    ///
    /// To the circuit breaker the call is one, and so is its failure; back-off goes by key: a key that is to be left
    /// alone is not asked for, the others are. The call is cancelled when nobody waits any more for any of its keys. One that
    /// refreshes keys in the background goes on for those.
    /// - Throws: once every key's load has ended and what came is stored (at once where the task is cancelled): what
    ///   `load` threw, or another's load that was waited for; else `LoadRefused` where a key was left alone;
    ///   `LoadTimeout` and `LoadRefused` as the options say; `CancellationError` where the task is cancelled; `VarveError` of
    ///   the disk. `values(for:)` returns what is there none the less.
    public func values(
        for keys: [Key], load: @escaping @Sendable ([Key]) async throws -> [Key: Value]
    ) async throws -> [Key: Value] {
        try await values(for: keys, loading: { keys in try await load(keys).mapValues { Loaded<Value>($0) } })
    }

    /// The same for a loader that says more than values: their expiry, tags, source versions, or that there are none.
    /// - Throws: as `values(for:load:)`.
    public func values(for keys: [Key], loading load: @escaping BatchLoader) async throws -> [Key: Value] {
        var found: [Key: Servable<Value>] = [:]
        var round = Round()
        for key in Set(keys) { try lookUp(key, &found, &round) }
        var errors: [Key: any Error] = [:]
        while !round.isEmpty {
            if Task.isCancelled {
                if round.waits.isEmpty { break }
                throw CancellationError()
            }
            let outcomes = try await outcomes(of: round, load)
            round = Round()
            for (key, outcome) in outcomes {
                switch outcome {
                case .found(let value): found[key] = value
                case .stale(let value, let asked): take(value, since: asked, for: key, &found, &round)
                case .outdated(let wait): round.waits[key] = wait
                case .failed(let error): errors[key] = error
                }
            }
            // What took its time may have outlived others.
            let now = store.clock.now()
            for (key, value) in found where value.until <= now {
                found[key] = nil
                guard errors.isEmpty else { continue }
                // He waits for it himself now: a load in the background would go on without him.
                round.behind.remove(key)
                round.waits[key] = Wait()
            }
        }
        if let error = worst(keys.compactMap { errors[$0] }) { throw error }
        for value in found.values where value.isStale { counts.add(.staleServed) }
        return found.mapValues(\.value)
    }

    /// What a call asks for next.
    private struct Round {
        var waits: [Key: Wait] = [:]
        /// Keys that are asked for in the same call, and that nobody waits for.
        var behind: Set<Key> = []
        var isEmpty: Bool { waits.isEmpty && behind.isEmpty }
    }

    /// How a key is waited for.
    private struct Wait: Sendable {
        /// Where the next load stands, after one whose result was outdated before this caller came.
        var after: Successor<Value>?
        /// What is served where the fresh one does not come soon enough.
        var stale: Servable<Value>?
        /// From when on the soft timeout counts, where he has waited for a fresh one before; else from the round's begin.
        var asked: Int64?
    }

    /// What has come of a key.
    private enum Outcome: Sendable {
        /// Nil: the source has none.
        case found(Servable<Value>?)
        /// To be refreshed. `asked`: from when on he has waited for that, where he has.
        case stale(Servable<Value>, asked: Int64?)
        /// To be loaded again.
        case outdated(Wait)
        case failed(any Error)
    }

    /// What can be had of a key at once, and what it is to be asked for.
    private func lookUp(_ key: Key, _ found: inout [Key: Servable<Value>], _ round: inout Round) throws(VarveError) {
        let (answer, until) = lookUp(key)
        switch answer {
        case .hit(let value): found[key] = Servable(value: value, until: until)
        // That the source has none is known.
        case .absent: break
        case .due(let value):
            // Fresh yet, and to be refreshed ahead of its deadline.
            found[key] = Servable(value: value, until: until)
            round.behind.insert(key)
        case .stale(let value):
            take(Servable(value: value, until: until, isStale: true), for: key, &found, &round)
        case .miss:
            let (entry, fresh) = try foundAtOnce(key, .miss)
            guard let entry else { return round.waits[key] = Wait() }
            guard let one = Servable(entry, isStale: fresh == nil) else { return }
            if one.isStale { take(one, for: key, &found, &round) } else { found[key] = one }
        }
    }

    /// A stale value is served as it is, or waits for the fresh one. `asked`: from when on it has waited already.
    private func take(
        _ stale: Servable<Value>, since asked: Int64? = nil, for key: Key, _ found: inout [Key: Servable<Value>],
        _ round: inout Round
    ) {
        guard options.loading.softTimeout == .zero else { return round.waits[key] = Wait(stale: stale, asked: asked) }
        found[key] = stale
        // Somebody may have seen to it meanwhile.
        if !isFresh(key) { round.behind.insert(key) }
    }

    /// Whether memory has a value that is due for no refresh.
    private func isFresh(_ key: Key) -> Bool {
        let hash = memory.hash(key)
        guard let held = memory.withShard(hash, { $0.peek(key, hash) }), isLive(held) else { return false }
        return held.deadlines.freshUntil > store.clock.now()
    }

    /// A key's place in its load.
    private struct Taken: Sendable {
        let key: Key
        let hash: UInt64
        let wait: Wait
        let seat: Seat
    }

    /// What has come of the keys that are waited for, once all of their loads have ended, or have taken too long for who has
    /// a stale value.
    private func outcomes(of round: Round, _ load: @escaping BatchLoader) async throws -> [Key: Outcome] {
        let asked = Latencies.now()
        let places = try begin(round, load)
        var looked: [Key: Result<Load<Value>.Found?, any Error>] = [:]
        await sideBySide(places.filter(\.seat.looksFirst)) { place in
            (place.key, await Result { try await self.look(place.key, place.hash, in: place.seat) })
        } take: {
            looked[$0.0] = $0.1
            return true
        }
        var outcomes: [Key: Outcome] = [:]
        // One after the other, since all of them are under way. Who has something stale comes last: what he waits for comes
        // with the others.
        for place in places where place.wait.stale == nil {
            outcomes[place.key] = await ending(of: place, looked: looked[place.key], since: asked)
        }
        for place in places where place.wait.stale != nil {
            outcomes[place.key] = await ending(of: place, looked: nil, since: place.wait.asked ?? asked)
        }
        return outcomes
    }

    /// Takes places, and begins one call for all that is new.
    private func begin(_ round: Round, _ load: @escaping BatchLoader) throws(VarveError) -> [Taken] {
        let now = store.clock.now()
        var begun: [Begun] = []
        var places: [Taken] = []
        // Whatever stops this, what has begun is carried out.
        defer { begin(begun, load) }
        // Not what would be refused: each hit would begin it.
        for key in round.behind where !loadGuard.refuses(key, at: now) {
            let hash = memory.hash(key)
            // Where the cache is just being closed there is none.
            guard let seat = try? seat(key, hash, isBackground: true, skipsDisk: true), seat.isNew else { continue }
            begun.append(Begun(load: seat.load, key: key, hash: hash))
        }
        for (key, wait) in round.waits {
            let hash = memory.hash(key)
            do throws(VarveError) {
                let seat = try seat(key, hash, skipsDisk: wait.stale != nil, after: wait.after)
                if seat.isNew { begun.append(Begun(load: seat.load, key: key, hash: hash)) }
                places.append(Taken(key: key, hash: hash, wait: wait, seat: seat))
            } catch {
                for place in places { place.seat.load.leave() }
                throw error
            }
        }
        return places
    }

    /// `looked`: what he found who looked at the disk before he waits; nil: nothing, or he did not look. `asked`: from when on
    /// the soft timeout counts.
    private func ending(
        of place: Taken, looked: Result<Load<Value>.Found?, any Error>?, since asked: Int64
    ) async -> Outcome {
        let (seat, wait) = (place.seat, place.wait)
        defer { seat.load.leave() }
        do {
            var stale = wait.stale
            if let looked = try looked?.get() {
                let one = Servable(looked)
                guard let one, one.isStale else { return .found(one) }
                // It is being refreshed: that is his, too.
                if options.loading.softTimeout == .zero {
                    seat.load.goOn()
                    return .found(one)
                }
                counts.add(.joined)
                stale = one
            }
            let found: Load<Value>.Found
            if let stale {
                guard let one = try await fresh(in: seat.load, over: stale, since: asked) else { return .found(stale) }
                found = one
            } else {
                found = try await seat.load.wait()
            }
            if wait.after == nil, isOutdated(found, for: seat) {
                return .outdated(Wait(after: seat.successor, stale: stale, asked: asked))
            }
            let one = Servable(found)
            if let one, one.isStale { return .stale(one, asked: stale == nil ? nil : asked) }
            return .found(one)
        } catch {
            return .failed(error)
        }
    }

    /// The first failure of a call, else the first refusal.
    private func worst(_ errors: [any Error]) -> (any Error)? {
        errors.first { !($0 is LoadRefused) } ?? errors.first
    }
}
