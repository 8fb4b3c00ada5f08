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
        if case .never = clearSlice(notes) { return }
        store.warm { [weak self] _ in self?.clearSlice(notes) ?? .never }
    }

    private func clearSlice(_ notes: WarmNotes) -> BackgroundWork.Next {
        // When this cache is closed the next one may note for itself.
        do throws(VarveError) { try gate.enter() } catch { return .never }
        defer { gate.leave() }
        guard store.degraded?.isInMemory != true, notes.engine.hasRoomForWrites else { return .later }
        // What cannot be read is left to the next opening.
        guard let names = try? notes.names(), !names.isEmpty else { return .never }
        for name in names where (try? notes.remove(name)) == nil { return .later }
        return .never
    }
}
