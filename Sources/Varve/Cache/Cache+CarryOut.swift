/// How loads are carried out, once they have begun: alone, or several in one call of the source.
extension Cache {
    /// A load that somebody has to carry out.
    struct Begun: Sendable {
        let load: Load<Value>
        let key: Key
        let hash: UInt64
    }

    // MARK: Alone

    func begin(_ begun: Begun, _ load: @escaping Loader) {
        let task = Task {
            let outcome = await Load<Value>.Outcome { try await find(begun, load) }
            end(begun, outcome)
        }
        begun.load.begin { task.cancel() }
    }

    private func find(_ begun: Begun, _ load: @escaping Loader) async throws -> Load<Value>.Found {
        switch try await prepare(begun) {
        case .found(let found): return found
        case .nothing(let began):
            let key = begun.key
            let (loaded, took) = try await ask(for: [key]) { try await load(key) }
            return try await keep(loaded, of: begun, began: began, took: took)
        }
    }

    // MARK: Together

    /// A load that asks the source, and what was visible when it began.
    private struct Asking: Sendable {
        let number: Int
        let begun: Begun
        let began: UInt64
    }

    /// Begins loads whose keys, as far as the disk has none of them, are asked for in one call. That is made when all of them
    /// have begun, and so finds out for each what changed since; it is cancelled when all of them are.
    func begin(_ loads: [Begun], _ load: @escaping BatchLoader) {
        if loads.isEmpty { return }
        let batch = BatchLoad(loads: loads.count)
        for (number, begun) in loads.enumerated() { begun.load.begin { batch.leave(number) } }
        batch.begin(Task { await carryOut(loads, batch, load) })
    }

    private func carryOut(_ loads: [Begun], _ batch: BatchLoad, _ load: @escaping BatchLoader) async {
        var asking: [Asking] = []
        await sideBySide(Array(loads.enumerated())) { number, begun -> Asking? in
            let outcome: Load<Value>.Outcome
            do {
                switch try await self.prepare(begun) {
                case .found(let found): outcome = .success(found)
                case .nothing(let began): return Asking(number: number, begun: begun, began: began)
                }
            } catch { outcome = .failure(error) }
            self.end(begun, outcome)
            batch.leave(number)
            return nil
        } take: {
            if let one = $0 { asking.append(one) }
            return true
        }
        // One that nobody waits for any more is not asked for.
        let keys = asking.filter { !$0.begun.load.isOver }.map(\.begun.key)
        let call = await Result<(answer: [Key: Loaded<Value>], took: Int64), any Error> {
            keys.isEmpty ? ([:], 0) : try await ask(for: keys) { try await load(keys) }
        }
        await sideBySide(asking) { one in
            let begun = one.begun
            let outcome = await Load<Value>.Outcome {
                let (answer, took) = try call.get()
                // Nothing that comes after the load was given up.
                if begun.load.isOver { throw CancellationError() }
                return try await self.keep(answer[begun.key] ?? Loaded(nil), of: begun, began: one.began, took: took)
            }
            self.end(begun, outcome)
            batch.leave(one.number)
        } take: {
            true
        }
    }

    // MARK: The steps of each

    private enum Prepared {
        /// What the cache has, fresh or stale.
        case found(Load<Value>.Found)
        /// The source is to be asked: its answer is outdated by whatever comes later than this.
        case nothing(began: UInt64)
    }

    /// What the disk has, fresh or stale. Who gets a stale value sees to its refresh.
    private func prepare(_ begun: Begun) async throws -> Prepared {
        if begun.load.isOver { throw CancellationError() }
        let (shared, key, hash) = (begun.load, begun.key, begun.hash)
        if !shared.skipsDisk {
            // Another load may have ended between the caller's look at memory and this one's beginning.
            if let held = heldAfterRemovals(key, hash), isLive(held),
                held.deadlines.freshUntil > store.clock.now()
            {
                shared.noteUsable(until: held.deadlines.usableUntil)
                return .found(Load.Found(held, at: store.clock.now()))
            }
            if let held = try await fetch(key, for: .load) {
                shared.noteUsable(until: held.deadlines.usableUntil)
                return .found(Load.Found(held, at: store.clock.now()))
            }
        }
        do throws(LoadRefused) { try loadGuard.check(key, at: store.clock.now()) } catch {
            counts.add(.loadRefused)
            throw error
        }
        // Everything up to here is visible to whatever the source is asked: what comes later outdates the result.
        let visible = memory.change(hash) { shard, discarded in
            let visible = disk?.visible.rawValue ?? store.presentVersion
            if disk != nil { shard.beginLoad(key, hash, of: shared, at: visible, &discarded) }
            return visible
        }
        return .nothing(began: memory.context.tags.beginLoad(at: visible))
    }

    /// Stores what the source said, unless something newer has come.
    private func keep(
        _ loaded: Loaded<Value>, of begun: Begun, began: UInt64, took: Int64
    ) async throws -> Load<Value>.Found {
        try await keep(loaded, of: begun.load, begun.key, begun.hash, began: began, took: took)
        return Load.Found(value: loaded.value, tags: loaded.options.tagNumbers, version: began + 1)
    }

    private func end(_ begun: Begun, _ outcome: Load<Value>.Outcome) {
        memory.withShard(begun.hash) { shard in
            if shard.loads[begun.key] === begun.load { shard.loads[begun.key] = nil }
            shard.endFlight(begun.key)
        }
        loadsUnderWay.remove(begun.load)
        begun.load.finish(outcome)
    }
}
