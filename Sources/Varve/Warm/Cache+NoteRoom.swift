internal import Synchronization
internal import VarveEngine

extension Cache {
    /// What a shard's next start needs, as far as there is room; what has none goes, older states of it as well.
    func states(
        of shard: Int, keys: [Key], policy: [UInt8], _ warm: WarmKeeper
    ) -> [WarmState] {
        let room = warm.state.withLock { $0.room }
        let (number, of) = (UInt16(shard), UInt16(memory.shardCount))
        let known = WarmState(kind: .policy, shard: number, of: of, body: policy)
        let fits = room.fits(policy: policy.count)
        let list = WarmState.list(
            keys.lazy.map { self.keyBytes($0) }, atMost: room.listBytes(beside: fits ? known : nil))
        var states: [WarmState] = []
        if room.fits(list.body.count) {
            states.append(WarmState(kind: .keys, shard: number, of: of, body: list.body))
        }
        if fits { states.append(known) }
        let present = Set(states.map(\.kind))
        for kind in [WarmNote.Kind.keys, .policy] where !present.contains(kind) {
            let subject = WarmState.Subject(kind: kind, shard: number)
            warm.state.withLock { $0.round.written[subject]?.whole = nil }
            remove(room.pieces(of: subject), warm)
        }
        warm.state.withLock { state in
            state.room.leftOut[shard] = NoteRoom.LeftOut(
                keys: keys.count - (present.contains(.keys) ? list.count : 0), policy: !fits)
            state.statistics.keysUnnoted = state.room.leftOut.values.reduce(0) { $0 + $1.keys }
            state.statistics.policiesUnnoted = state.room.leftOut.values.reduce(0) { $0 + ($1.policy ? 1 : 0) }
        }
        return states
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
