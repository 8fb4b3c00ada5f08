internal import VarveEngine

/// Looks at the disk beside a load that asks the source alone.
///
/// All who come to that load while a look is under way share it: whatever outdates what it reads takes the load away from
/// those who come later, drops of tags and deadlines aside, which each judges for himself. They keep their places in the load
/// meanwhile.
extension Cache {
    private struct NothingThere: Error {}

    /// What a caller finds who looks before he waits, or what the load brings if that comes sooner. Nil: he is to wait for the
    /// load, since he need not look, nothing is there that may be served, or it cannot be read.
    func look(_ key: Key, _ hash: UInt64, in seat: Seat) async throws -> Load<Value>.Found? {
        guard seat.looksFirst, let disk else { return nil }
        // It may have come between the caller's look at memory and his place.
        if let held = heldInMemory(key, hash) { return Load.Found(held, at: store.clock.now()) }
        let began = Latencies.now()
        let (look, isNew) = seat.load.look()
        if isNew {
            Task {
                let outcome = await Load<Value>.Outcome {
                    guard let held = try await fetchInFlight(key, hash, disk, for: .look) else { throw NothingThere() }
                    return Load.Found(held, at: store.clock.now())
                }
                seat.load.endLook(outcome)
            }
        }
        do {
            let found = try await look.wait()
            if !isOutdated(found, for: seat) {
                if found.isFromDisk { noteDiskHit(since: began) } else { counts.add(.joined) }
                return found
            }
        } catch { try Task.checkCancellation() }
        counts.add(.joined)
        return nil
    }
}

extension Load.Found {
    /// An entry that stands in memory or on disk, as a load finds it.
    init<Key: CacheKey>(_ held: MemoryEntry<Key, Value>, at now: Int64) {
        self.init(
            value: held.value, isFromDisk: true, isStale: held.value != nil && held.deadlines.freshUntil <= now,
            usableUntil: held.deadlines.usableUntil, tags: held.tags, version: held.version)
    }
}
