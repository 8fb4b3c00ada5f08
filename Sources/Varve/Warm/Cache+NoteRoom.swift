internal import Synchronization
internal import VarveEngine

extension Cache {
    /// The list of a shard's hottest keys, as far as there is room; where there is none for any, older lists go as well.
    func state(of shard: Int, keys: [Key], _ warm: WarmKeeper) -> WarmState? {
        let room = warm.state.withLock { $0.room }
        let list = WarmState.list(
            keys.lazy.map { self.keyBytes($0) }, atMost: room.listBytes(besidePolicy: room.policies[shard]))
        let state = WarmState(
            kind: .keys, shard: UInt16(shard), of: UInt16(memory.shardCount), body: list.body)
        let fits = room.fits(list.body.count)
        if !fits { leaveOut(state.subject, warm) }
        warm.state.withLock { $0.room.leftOut[shard, default: .init()].keys = keys.count - (fits ? list.count : 0) }
        sumLeftOut(warm)
        return fits ? state : nil
    }

    /// What a shard's policy knows; where there is no room for it, what was noted of that goes as well.
    func state(of shard: Int, policy: [UInt8], _ warm: WarmKeeper) -> WarmState? {
        let state = WarmState(
            kind: .policy, shard: UInt16(shard), of: UInt16(memory.shardCount), body: policy)
        let fits = warm.state.withLock { state in
            let before = state.room.listBytes(besidePolicy: state.room.policies[shard])
            state.room.policies[shard] = policy.count
            // The list of keys is to be another, whether or not anything happened there.
            if state.room.listBytes(besidePolicy: policy.count) != before { state[.keys].activity[shard] = nil }
            let fits = state.room.fits(policy: policy.count)
            state.room.leftOut[shard, default: .init()].policy = !fits
            return fits
        }
        if !fits { leaveOut(state.subject, warm) }
        sumLeftOut(warm)
        return fits ? state : nil
    }

    private func leaveOut(_ subject: WarmState.Subject, _ warm: WarmKeeper) {
        let pieces = warm.state.withLock { state in
            state.written[subject]?.whole = nil
            return state.room.pieces(of: subject)
        }
        remove(pieces, warm)
    }

    private func sumLeftOut(_ warm: WarmKeeper) {
        warm.state.withLock { state in
            state.statistics.keysUnnoted = state.room.leftOut.values.reduce(0) { $0 + $1.keys }
            state.statistics.policiesUnnoted = state.room.leftOut.values.reduce(0) { $0 + ($1.policy ? 1 : 0) }
        }
    }

    /// Removes notes that no longer count, until one stays.
    func remove(_ pieces: [NoteRoom.Piece], _ warm: WarmKeeper) {
        for piece in pieces {
            // What stays is tried again when its place is next written.
            guard (try? warm.notes.remove(piece)) != nil else { return }
            warm.state.withLock { $0.room.remove(piece) }
        }
    }

    /// Removes what was noted when the cache had a warm restart: at once, or as soon as the disk takes writes. Blocks.
    func clear(_ notes: WarmNotes) {
        let retries = NoteClearing()
        if case .never = clearSlice(notes, retries, at: store.clock.now()) { return }
        store.warm { [weak self] now in self?.clearSlice(notes, retries, at: now) ?? .never }
    }

    private func clearSlice(_ notes: WarmNotes, _ retries: NoteClearing, at now: Int64) -> BackgroundWork.Next {
        // When this cache is closed the next one may note for itself.
        do throws(VarveError) { try gate.enter() } catch { return .never }
        defer { gate.leave() }
        // The first try after a return waits for nothing: in memory none is made, and the disk has room again.
        guard retries.isDue(at: now, returns: store.degraded?.counts.returns ?? 0) else { return .later }
        guard let isOver = onDisk({ removeAll(notes) }) else { return .later }
        if isOver { return .never }
        retries.failed(at: now)
        return .later
    }

    private func removeAll(_ notes: WarmNotes) -> Bool {
        guard notes.engine.hasRoomForWrites else { return false }
        // What cannot be read is left to the next opening.
        guard let names = try? notes.names() else { return true }
        for name in names where (try? notes.remove(name)) == nil { return false }
        return true
    }
}

/// When notes that could not be removed are tried again.
private final class NoteClearing: Sendable {
    private struct State: Sendable {
        var schedule = RetrySchedule()
        /// How often the store had returned to disk when it was last asked.
        var returns: UInt64
    }

    private let state = Mutex(State(returns: 0))

    func isDue(at now: Int64, returns: UInt64) -> Bool {
        state.withLock { state in
            if state.returns != returns { state = State(returns: returns) }
            return state.schedule.isDue(at: now)
        }
    }

    func failed(at now: Int64) { state.withLock { $0.schedule.refused(at: now) } }
}
